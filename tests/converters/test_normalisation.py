"""Pixels are normalised in float32 where the rest is float16."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from msgspec import structs
from torch import nn

from converters.coreai.half import to_half
from converters.coreml.target import TARGET
from converters.layout.normalisation import Normalisation
from converters.layout.towers import MapTower
from edgeclip.data.preprocess import to_pixels
from edgeclip.models import MODELS
from edgeclip.models.towers import ExportedTower, ImageTower
from edgeclip.recipe import Recipe
from edgeclip.reference.mil.interpreter import MilModel
from tests.support.coreai import needs_coreai

DEMO = MODELS["tinyclip-demo"]
PREPROCESS = structs.replace(DEMO.preprocess, mean=(0.4814, 0.4578, 0.4082), std=(0.2686, 0.2613, 0.2757), size=4)


class _Flat(nn.Module):
    """An encoder that hides nothing of what it is given."""

    def __init__(self, as_maps: bool) -> None:
        super().__init__()
        self.as_maps = as_maps

    def forward(self, x):
        flat = 2 * x.flatten(1)
        return flat[:, :, None, None] if self.as_maps else flat


def _in_coreai(exported: ExportedTower, given, folder):
    with torch.no_grad():
        return to_half(exported.program.run_decompositions({})).module()(given).flatten(1)


def _in_coreml(exported: ExportedTower, given, folder):
    recipe = Recipe("tinyclip-demo", "demo", "coreml", None, "fp16", min_os="iOS17", layout="plain")
    TARGET.lower(exported, recipe, {}, folder / "tower.mlpackage")
    model = MilModel.load(folder / "tower.mlpackage", "fp16")
    return torch.from_numpy(next(iter(model.run({"image": to_pixels(given[0].numpy())}).values()))).flatten(1)


@pytest.mark.parametrize(
    ("run", "tolerance"),
    [pytest.param(_in_coreml, 1e-3, id="coreml"), pytest.param(_in_coreai, 1e-6, id="coreai", marks=needs_coreai)],
)
@pytest.mark.parametrize("as_maps", [False, True], ids=["plain", "ane"])
def test_a_plain_picture_is_as_bright_as_it_was(as_maps, run, tolerance, tmp_path):
    """There, whatever is rounded before the mean is subtracted is off by the same on every pixel. Core ML ends in float16."""
    tower = ImageTower(_Flat(as_maps), PREPROCESS)
    if as_maps:
        tower = MapTower(Normalisation(tower.mean, tower.std), tower.encoder)
    given = (torch.tensor([123, 118, 102]) / 255).reshape(1, 3, 1, 1).expand(1, 3, 4, 4).contiguous()
    mean, std = (torch.tensor(value).reshape(1, 3, 1, 1) for value in (PREPROCESS.mean, PREPROCESS.std))
    wanted = F.normalize(((given - mean) / std).half().float().flatten(1))
    program = torch.export.export(tower.eval(), (given,), strict=False)
    exported = ExportedTower(spec=replace(DEMO, preprocess=PREPROCESS, embed_dim=48), tower="image", program=program)
    with torch.no_grad():
        torch.testing.assert_close(tower(given).flatten(1), wanted, atol=1e-3, rtol=0)
    torch.testing.assert_close(run(exported, given, tmp_path), wanted, atol=tolerance, rtol=0)
