"""Core AI's integer schemes: what a program decompresses, and weights that stay in float16 for the floor."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converters.coreai.asset import write_asset
from converters.coreai.compression import FLOAT, SCHEMES
from converters.coreai.target import TARGET
from converters.coreai.weights import find_weights
from edgeclip.models import MODELS
from edgeclip.models.towers import build_tower, export_tower
from edgeclip.models.weights import load_model
from edgeclip.recipe import SCHEMES as ASKED
from edgeclip.recipe import TargetOptions
from edgeclip.reference.coreai_runtime import CoreAIRunner
from edgeclip.target import Context, resolved
from edgeclip.verify.metrics import cosines
from tests.support.coreai import artifact_of, needs_coreai
from tests.support.live import pictures

SPEC = MODELS["tinyclip-demo"]


@pytest.mark.parametrize("name", list(SCHEMES))
def test_the_floor_of_a_scheme_leaves_room_below_it(name):
    """For float16 in Core AI's runtime, 0.001, and for samples that the choice has not seen."""
    assert SCHEMES[name].floor - ASKED[name].threshold.cosine_min >= 0.003
    assert SCHEMES[name].forms[0] == name
    assert SCHEMES[name].forms[-1] == FLOAT


class _Layers(nn.Module):
    """(1, 32, 4, 4) -> (1, 48), unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(32, 64, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 48))

    def forward(self, x):
        return F.normalize(self.encoder(x), dim=-1)


@needs_coreai
@pytest.mark.slow
@pytest.mark.parametrize("form", ["w8", "w4", "pal4"])
def test_torch_computes_with_what_the_program_decompresses(tmp_path, form):
    """The trials' weights are those that Core AI's runtime has: outputs agree far closer than with the original's."""
    from coreai_torch import TorchConverter, get_decomp_table

    torch.manual_seed(0)
    module, given = _Layers().eval(), torch.randn(3, 32, 4, 4)
    exported = torch.export.export(module, (given[:1],), strict=False).run_decompositions(get_decomp_table())
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    program = converter.add_exported_program(exported, input_names=["image"], output_names=["final_emb_1"]).to_coreai()
    changed = copy.deepcopy(module)
    weights = find_weights(program, exported, (form, FLOAT))
    assert [weight.source for weight in weights] == ["encoder.0.weight", "encoder.3.weight"]
    for weight in weights:
        values = weight.decompressed(form)
        assert 0 < np.abs(values - module.get_parameter(weight.source).detach().numpy()).max() < 0.05
        changed.get_parameter(weight.source).data = torch.from_numpy(values.astype(np.float32))
        weight.store(form)
    write_asset(program, {}, tmp_path / "small.aimodel")
    with CoreAIRunner(tmp_path / "small.aimodel", artifact_of((1, 32, 4, 4), dim=48)) as runner, torch.inference_mode():
        found, wanted, original = runner.encode(given.numpy()), changed(given).numpy(), module(given).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert np.abs(found - original).max() > 2e-4


def _with_a_bad_layer(pair):
    """The same function, and a layer most of whose inputs int8 rounds away: those of 1/1024 of the others' weights."""
    pair = copy.deepcopy(pair)
    attention = pair.visual.transformer.resblocks[1].attn
    width = attention.out_proj.in_features
    factors = torch.where(torch.arange(width) % 8 == 0, 1 / 64, 16.0)
    with torch.no_grad():
        attention.in_proj_weight[2 * width :] *= factors[:, None]
        attention.in_proj_bias[2 * width :] *= factors
        attention.out_proj.weight /= factors
    return pair


@needs_coreai
@pytest.mark.slow
def test_a_bad_layer_stays_in_float16_and_the_scheme_holds_its_threshold(tmp_path):
    pair = _with_a_bad_layer(load_model(SPEC, "demo").pair)
    samples, unseen = pictures(SPEC, 8, seed=1).numpy(), pictures(SPEC, 2, seed=2).numpy()
    original = build_tower(pair, SPEC, "image")
    with torch.inference_mode():
        originals, wanted = original(torch.from_numpy(samples)).numpy(), original(torch.from_numpy(unseen)).numpy()
    exported = export_tower(pair, SPEC, "image", TARGET.rewrite("ane"))
    recipe = resolved(TARGET, TargetOptions("coreai", scheme="w8"), SPEC.name, "weights", "image")
    worst, layers = {}, {}
    for name, context in (("all", None), ("chosen", Context(lambda: samples, lambda: originals))):
        path = tmp_path / f"{name}.aimodel"
        lowered = TARGET.lower(exported, recipe, {}, path, context)
        assert lowered.calibrated == (context is not None)
        layers[name] = lowered.layers
        with CoreAIRunner(path, artifact_of((1, 3, 64, 64), dim=SPEC.embed_dim)) as runner:
            worst[name] = cosines(wanted, runner.encode(unseen)).min()
    assert worst["all"] < ASKED["w8"].threshold.cosine_min <= worst["chosen"]
    assert layers["all"] is None
    left = [name for name, form in layers["chosen"].items() if form == FLOAT]
    assert left == ["encoder_transformer_resblocks_1_attn_out_proj"]
    assert len(layers["chosen"]) > 35
