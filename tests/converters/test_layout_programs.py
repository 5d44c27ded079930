"""Towers in the Neural Engine's layout through the real converter: what comes out, not what goes in.

The converter's passes may turn convolutions into other operations, bring transposes back, or fuse what was split; so the
operations are counted in the package, and the package is run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from converters.coreml.neural_engine.lint import lint_package
from converters.coreml.target import TARGET
from converters.layout import for_neural_engine
from edgeclip.data.preprocess import to_pixels
from edgeclip.models import MODELS
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import build_tower, export_tower
from edgeclip.recipe import Recipe
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.spec import TOWERS
from tests.support.live import pictures, token_ids

pytestmark = pytest.mark.slow

DEMOS = ("tinyclip-demo", "mobileclip-demo")
SETTINGS = (("iOS16", "fp32"), ("iOS17", "fp16"), ("iOS18", "fp16"))
CELLS = [(name, tower, *setting) for name in DEMOS for tower in TOWERS for setting in SETTINGS]
# Heads and layers of attention, and the norms (of a text tower: one picks no norm away).
SIZES = {
    ("tinyclip-demo", "image"): (4, 6, 14),
    ("tinyclip-demo", "text"): (3, 3, 7),
    ("mobileclip-demo", "image"): (8, 2, 0),
    ("mobileclip-demo", "text"): (3, 4, 9),
}
GONE = {"linear", "matmul", "scaled_dot_product_attention", "gather_nd", "reduce_argmax", "tile", "stack", "batch_norm"}
# By what fp16 costs the plain towers too: storage between operations, not the layout.
COSINE = {("mobileclip-demo", "image"): 0.9997}


@functools.cache
def exported(name, tower):
    """(exported in the new layout, inputs, embeddings of the original, float32's own noise there)."""
    spec, pair = MODELS[name], seeded_pair(MODELS[name], 0)
    original = build_tower(pair, spec, tower)
    value = pictures(spec, 3) if tower == "image" else token_ids(spec)
    made = export_tower(pair, spec, tower, for_neural_engine)
    with torch.no_grad():
        wanted = original(value)
        double = original.double()(value.double() if tower == "image" else value)
    return made, value, wanted.numpy(), float((double - wanted).abs().max())


@dataclass(frozen=True)
class Made:
    path: object
    name: str
    tower: str
    min_os: str
    scheme: str

    @property
    def ops(self):
        return Counter(step.op for step in self.model.program.steps)

    @functools.cached_property
    def model(self):
        return MilModel.load(self.path, self.scheme)

    def run(self):
        tower, value, _, _ = exported(self.name, self.tower)
        given = [to_pixels(row.numpy()) if self.tower == "image" else row[None].numpy() for row in value]
        return np.concatenate([self.model.run({tower.input_name: row})[tower.output_name] for row in given])


@pytest.fixture(scope="module", params=[pytest.param(cell, id="-".join(cell)) for cell in CELLS])
def made(request, tmp_path_factory):
    name, tower, min_os, scheme = request.param
    path = tmp_path_factory.mktemp("layout") / "tower.mlpackage"
    recipe = Recipe(model=name, weights="seeded:0", target="coreml", backend=None, scheme=scheme, min_os=min_os, layout="ane")
    TARGET.lower(exported(name, tower)[0], recipe, {}, path)
    return Made(path, name, tower, min_os, scheme)


def test_agrees_with_the_original(made):
    _, _, wanted, noise = exported(made.name, made.tower)
    assert (wanted @ wanted.T).min() < 0.8, "these inputs prove nothing"
    got = made.run()
    if made.scheme == "fp32":
        assert np.abs(got - wanted).max() < max(1e-6, 8 * noise)  # one realisation of float32's noise; others lie further out
        return
    cosines = (got * wanted).sum(1) / np.linalg.norm(got, axis=1)
    assert cosines.min() >= COSINE.get((made.name, made.tower), 0.9999)
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-3


def test_only_operations_of_the_layout(made):
    ops = made.ops
    heads, layers, norms = SIZES[made.name, made.tower]
    is_text = made.tower == "text"
    for gone in (
        "linear",
        "matmul",
        "scaled_dot_product_attention",
        "gather_nd",
        "reduce_argmax",
        "tile",
        "stack",
        "batch_norm",
    ):
        assert gone not in ops
    assert ops["einsum"] == 2 * heads * layers + is_text  # one picks the end token
    assert ops["softmax"] == heads * layers
    assert ops["layer_norm"] == norms
    assert ops["transpose"] == layers + is_text  # keys; the embeddings of the tokens
    assert ops["gather"] == 2 * is_text
    assert ops["squeeze"] == 0


def test_softmax_and_norm_are_over_axis_1(made):
    for step in made.model.program.steps:
        if step.op == "softmax":
            assert step.constants["axis"] in (1, -3)
        if step.op == "layer_norm":
            assert step.constants["axes"] == (1,)


def test_the_neural_engine_takes_all_but_the_lookup(made):
    summary = lint_package(made.path).as_json()["summary"]
    if made.scheme == "fp32":  # runs on the CPU
        assert set(summary["errors"]) == {"float32-compute"} | ({"token-lookup"} if made.tower == "text" else set())
        return
    assert set(summary["errors"]) == ({"token-lookup"} if made.tower == "text" else set())
    assert summary["macs_eligible_percent"] == 100
    assert summary["segments"] == (["cpu", "ne"] if made.tower == "text" else ["ne"])
    assert set(summary["warnings"]) <= {"unaligned-axis"}


def test_float16_but_for_the_ends(made):
    """The ids, the picture's pixels and the result are all that is not float16, if that is what was asked for."""
    steps = made.model.program.steps
    if made.scheme == "fp32":
        assert not [step for step in steps if any(kind.dtype == "FLOAT16" for _, kind in step.outputs)]
        return
    others = [step for step in steps if any(kind.dtype != "FLOAT16" for _, kind in step.outputs)]
    assert others[-1] is steps[-1]
    pixels = {"mul", "sub"} if any(MODELS[made.name].preprocess.mean) else {"mul"}
    allowed = pixels if made.tower == "image" else {"greater_equal", "add", "select", "cast"}
    assert {step.op for step in others[:-1]} <= allowed
    assert len(others) <= 6


def test_constants_are_finite(made):
    for step in made.model.program.steps:
        for value in step.constants.values():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                assert torch.isfinite(value).all(), step.where


def test_wide_patches_too_run_on_the_neural_engine(tmp_path):
    """A kernel of 16, as TinyCLIP's published models have it, in a small tower."""
    demo = MODELS["tinyclip-demo"]
    vision = demo.architecture["vision_cfg"] | {"patch_size": 16, "layers": 1}
    spec = dataclasses.replace(demo, architecture=demo.architecture | {"vision_cfg": vision})
    pair, value = seeded_pair(spec, 0), pictures(spec, 3)
    path = tmp_path / "tower.mlpackage"
    recipe = Recipe(
        model=spec.name, weights="seeded:0", target="coreml", backend=None, scheme="fp16", min_os="iOS17", layout="ane"
    )
    TARGET.lower(export_tower(pair, spec, "image", for_neural_engine), recipe, {}, path)
    assert lint_package(path).as_json()["summary"]["errors"] == {}
    kernels = [step.constants["weight"].shape for step in MilModel.load(path).program.steps if step.op == "conv"]
    assert max(shape[-1] for shape in kernels) == 8
    with torch.no_grad():
        wanted = build_tower(pair, spec, "image")(value).numpy()
    model = MilModel.load(path, "fp16")
    got = np.concatenate([model.run({"image": to_pixels(row.numpy())})["final_emb_1"] for row in value])
    assert ((got * wanted).sum(1) / np.linalg.norm(got, axis=1)).min() > 0.9999


@pytest.mark.parametrize(("name", "tower"), [("tinyclip-demo", "image"), ("mobileclip-demo", "text")])
def test_compression_sees_the_convolutions(name, tower, tmp_path):
    """Each large kernel is stored compressed, and the result is still the tower's."""
    path = tmp_path / "tower.mlpackage"
    recipe = Recipe(model=name, weights="seeded:0", target="coreml", backend=None, scheme="w8", min_os="iOS17", layout="ane")
    made, _, wanted, _ = exported(name, tower)
    TARGET.lower(made, recipe, {}, path)
    packed = Made(path, name, tower, "iOS17", "fp16")
    # The interpreter unpacks when it loads, so stored sizes are what shows: one byte a weight, and little else.
    weights = sum(step.constants["weight"].numel() for step in packed.model.program.steps if step.op == "conv")
    tables = sum(step.constants["x"].numel() for step in packed.model.program.steps if step.op == "gather")
    stored = sum(file.stat().st_size for file in path.rglob("weight.bin"))
    assert stored < 1.15 * (weights + tables)
    got = packed.run()
    assert ((got * wanted).sum(1) / np.linalg.norm(got, axis=1)).min() > 0.99
