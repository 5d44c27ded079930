"""Structures of models too large for tests, reduced, through both targets: what no demo model has."""

from __future__ import annotations

import pytest
import torch

from converters.executorch.passes import apply_passes
from converters.layout import for_neural_engine
from edgeclip.manifest import Bundle
from edgeclip.models import MODELS
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import build_tower, prepare_for_export
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from edgeclip.spec import TOWERS
from edgeclip.verify.compare import verify
from tests.support.live import between_input_cosines, pictures, token_ids
from tests.support.reduced import NEW, REDUCED


@pytest.fixture(scope="module", params=REDUCED)
def prepared(request):
    """For each tower the prepared module, inputs and their embeddings."""
    spec = REDUCED[request.param]
    pair = seeded_pair(spec, 0)
    found = {}
    for tower in TOWERS:
        value = pictures(spec, 3) if tower == "image" else token_ids(spec)
        module = prepare_for_export(build_tower(pair, spec, tower))
        with torch.no_grad():
            found[tower] = module, value, module(value)
    return found


@pytest.mark.parametrize("tower", TOWERS)
def test_the_layout_of_the_neural_engine_computes_the_same(prepared, tower):
    module, value, wanted = prepared[tower]
    assert between_input_cosines(wanted).mean() < 0.7, "these inputs prove nothing"
    rewritten = for_neural_engine(module)
    with torch.no_grad():
        assert (rewritten(value) - wanted).abs().max() < 2e-6
    assert not [path for path, part in rewritten.named_modules() if isinstance(part, torch.nn.Linear | torch.nn.LayerNorm)]


@pytest.mark.parametrize("tower", TOWERS)
def test_the_rewrites_for_xnnpack_compute_the_same(prepared, tower):
    module, value, wanted = prepared[tower]
    example = (value[:1],)
    with torch.no_grad():
        rewritten, _ = apply_passes(torch.export.export(module, example, strict=False), example)
        got = torch.cat([rewritten.module()(row[None]) for row in value])
    assert (got - wanted).abs().max() < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_converts_and_verifies(name, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS._items, name, REDUCED[name])
    options = [TargetOptions("coreml"), TargetOptions("executorch")]
    bundle = Bundle.open(convert(name, options, tmp_path / "bundle", weights="seeded:0").bundle)
    assert verify(bundle.path).passed
    image = next(one for one in bundle.manifest.artifacts if (one.tower, one.target) == ("image", "executorch"))
    assert image.delegates == {"XnnpackBackend": 1}
