"""Packages that coremltools compressed, in every form it has: the same constants as it decompresses itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeclip.reference.mil.interpreter import MilModel
from tests.reference.compressed import FORMS, compress, their_constants
from tests.reference.oracle import floats, integers
from tests.reference.packages import builder, save

pytestmark = pytest.mark.slow

_ROWS, _WIDE, _KERNEL = floats(48, 16, seed=3), floats(64, 16, seed=4), floats(16, 8, 3, 3)
_IDS = np.array([[0, 5, 47, 2]], np.int32)


def _body(variables: dict[str, Any]) -> Any:
    mb = builder()
    x = mb.gather(x=_ROWS, indices=variables["ids"], axis=0)
    x = mb.linear(x=x, weight=_WIDE, name="wide")
    x = mb.conv(x=mb.reshape(x=x, shape=(1, 8, 8, -1)), weight=_KERNEL, pad_type="same")
    return mb.reduce_mean(x=x, axes=(2, 3), name="y")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    inputs = {"ids": (_IDS.shape, "int32")}
    return {opset: save(folder / f"{opset}.mlpackage", inputs, _body, opset) for opset in ("iOS16", "iOS17", "iOS18")}


def _compare(model: MilModel, theirs: dict[str, np.ndarray]) -> int:
    """How many operands are compressed constants, all of them equal to coremltools' to the last bit."""
    compared = 0
    for step in model.program.steps:
        for parameter, source in step.sources.items():
            if source in theirs:
                mine = step.constants[parameter] if parameter in step.constants else model.program.constants[source]
                np.testing.assert_array_equal(mine.numpy(), theirs[source].astype(np.float32))
                compared += 1
    return compared


@pytest.mark.parametrize("name", list(FORMS))
def test_constants_are_those_that_coremltools_decompresses(name: str, sources: dict[str, Path], tmp_path: Path) -> None:
    form = FORMS[name]
    path = compress(sources[form.opset], form, tmp_path / "m.mlpackage")
    theirs, operations = their_constants(path)
    assert operations == form.operations
    model = MilModel.load(path, "fp32")
    assert _compare(model, theirs) == 3
    dense = [theirs[source] for step in model.program.steps for source in step.sources.values() if source in theirs]
    rows, wide, kernel = (torch.from_numpy(part.astype(np.float32)) for part in dense)
    x = torch.nn.functional.linear(rows[torch.from_numpy(_IDS)], wide).reshape(1, 8, 8, -1)
    wanted = torch.nn.functional.conv2d(x, kernel, padding="same").mean((2, 3))
    np.testing.assert_allclose(model.run({"ids": _IDS})["y"], wanted.numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo's image tower for two systems, with float16 weights."""
    from converters.coreml.target import TARGET
    from edgeclip.models import MODELS
    from edgeclip.models.seeded import seeded_pair
    from edgeclip.models.towers import export_tower
    from edgeclip.recipe import Recipe

    folder, spec = tmp_path_factory.mktemp("towers"), MODELS["tinyclip-demo"]
    exported = export_tower(seeded_pair(spec, 0), spec, "image")
    paths = {}
    for opset in ("iOS16", "iOS18"):
        recipe = Recipe(model=spec.name, weights="seeded:0", target="coreml", backend=None, scheme="fp16", min_os=opset)
        paths[opset] = folder / f"{opset}.mlpackage"
        TARGET.lower(exported, recipe, {}, paths[opset])
    return paths


@pytest.mark.parametrize("name", ["iOS16-pal6", "iOS16-sparse", "int4", "sparse-pal4-int8-tables", "sparse-int8"])
def test_constants_of_a_tower(name: str, towers: dict[str, Path], tmp_path: Path) -> None:
    form = FORMS[name]
    path = compress(towers[form.opset], form, tmp_path / "m.mlpackage")
    theirs, operations = their_constants(path)
    assert operations == form.operations
    model = MilModel.load(path, "fp16")
    assert _compare(model, theirs) > 10
    _, _, height, width = model.program.inputs[0].type.shape
    given = {model.program.inputs[0].name: integers(height, width, 3, low=0, high=256).astype(np.uint8)}
    (embedding,) = model.run(given).values()
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-3)
