"""Towers as the Core ML target really writes them: the interpreter against coremltools' reader and against torch."""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from converters.coreml.target import TARGET
from edgeclip.data import scenes
from edgeclip.data.clip_bpe import ClipBpe
from edgeclip.data.preprocess import preprocess_image, to_pixels
from edgeclip.models import MODELS
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import ExportedTower, build_tower, export_tower, prepare_for_export
from edgeclip.recipe import Recipe
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.precision import Mode
from edgeclip.spec import TOWERS, Tower

pytestmark = pytest.mark.slow

_MODELS = ("tinyclip-demo", "mobileclip-demo")
_SAMPLES = 4
_REALISATIONS = 8  # of float32's noise, one is measured; another order of sums may be so much further from the exact value


class _Exported(NamedTuple):
    """A tower for lowering, its inputs (as the torch module takes them), and what torch makes of them.

    noise: the largest difference between torch's float32 and float64 on the fused module.
    """

    tower: ExportedTower
    inputs: np.ndarray
    embeddings: np.ndarray
    noise: float


@dataclass(frozen=True)
class _Made:
    """One package, and what each of the two readers finds in it."""

    path: Path
    exported: _Exported
    scheme: str
    min_os: str

    @functools.cached_property
    def theirs(self) -> list[Any]:
        """The operations that coremltools' own reader finds."""
        import coremltools as ct
        from coremltools.converters.mil.frontend.milproto.load import load

        model = ct.models.MLModel(str(self.path), skip_model_load=True)
        spec = model.get_spec()
        return list(load(spec, spec.specificationVersion, model.weights_dir).functions["main"].operations)

    @functools.cached_property
    def ours(self) -> MilModel:
        return MilModel.load(self.path, "fp16")


@functools.cache
def _pair(model: str) -> Any:
    return seeded_pair(MODELS[model], 0)


@functools.cache
def _exported(model: str, tower: Tower) -> _Exported:
    spec, pair = MODELS[model], _pair(model)
    chosen = scenes.scenes(_SAMPLES, seed=77)
    if tower == "image":
        inputs = np.stack([preprocess_image(scenes.draw(scene, spec.preprocess.size), spec.preprocess) for scene in chosen])
    else:
        captions = [scenes.phrase({name: getattr(scene, name) for name in scenes.ATTRIBUTES}) for scene in chosen]
        inputs = ClipBpe.published(spec.tokenizer)([*captions[1:], "a " * 100])  # and one that fills the context
    batch, original = torch.from_numpy(inputs), build_tower(pair, spec, tower)
    with torch.inference_mode():
        fused = prepare_for_export(original)
        embeddings, single = original(batch).numpy(), fused(batch)
        double = copy.deepcopy(fused).double()(batch.double() if tower == "image" else batch)
    noise = float((double - single).abs().max())
    return _Exported(_decomposed_once(export_tower(pair, spec, tower)), inputs, embeddings, noise)


def _decomposed_once(tower: ExportedTower) -> ExportedTower:
    """Lowering decomposes the program each time, which takes a third of it; here all packages share the result."""
    decomposed = tower.program.run_decompositions({})
    tower.program.run_decompositions = lambda *_: decomposed  # type: ignore[method-assign]
    return tower


_AXES: tuple[tuple[str, ...], ...] = (_MODELS, TOWERS, ("iOS16", "iOS17", "iOS18"), ("fp32", "fp16", "w8"))


def _half_of_the_cells() -> list[tuple[str, ...]]:
    """Every second combination, chosen so that any three of model, tower, system and scheme occur in every combination."""
    places = itertools.product(*(range(len(axis)) for axis in _AXES))
    return [tuple(axis[k] for axis, k in zip(_AXES, place, strict=True)) for place in places if sum(place) % 2 == 0]


def test_three_of_four_occur_in_every_combination() -> None:
    cells = _half_of_the_cells()
    assert 2 * len(cells) == math.prod(map(len, _AXES))
    for chosen in itertools.combinations(range(4), 3):
        assert {tuple(cell[k] for k in chosen) for cell in cells} == set(itertools.product(*(_AXES[k] for k in chosen)))


@pytest.fixture(scope="module", params=[pytest.param(cell, id="-".join(cell)) for cell in _half_of_the_cells()])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> _Made:
    """Each package, made once for all the tests."""
    model, tower, min_os, scheme = request.param
    exported = _exported(model, tower)
    path = tmp_path_factory.mktemp("towers") / f"{model}_{tower}.mlpackage"
    recipe = Recipe(model=model, weights="seeded:0", target="coreml", backend=None, scheme=scheme, min_os=min_os)
    TARGET.lower(exported.tower, recipe, {}, path)
    return _Made(path, exported, scheme, min_os)


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    _exported.cache_clear()
    _pair.cache_clear()


def _run(made: _Made, mode: Mode, rows: int = _SAMPLES) -> np.ndarray:
    model = made.ours if mode == "fp16" else MilModel.load(made.path, mode)
    tower = made.exported.tower
    given = [to_pixels(row) if tower.tower == "image" else row[None] for row in made.exported.inputs[:rows]]
    return np.concatenate([model.run({tower.input_name: row})[tower.output_name] for row in given])


def _cosine_min(got: np.ndarray, wanted: np.ndarray) -> float:
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(((got * wanted).sum(1) / norms).min())


def test_agrees_with_torch(made: _Made) -> None:
    wanted = made.exported.embeddings
    assert (wanted @ wanted.T).min() < 0.8  # inputs are told apart, so agreeing means something
    if made.scheme == "fp32":
        tolerance = max(1e-6, _REALISATIONS * made.exported.noise)
        assert tolerance < 2e-5
        np.testing.assert_allclose(_run(made, "fp32"), wanted, atol=tolerance, rtol=0)
        return
    assert _cosine_min(_run(made, "fp16"), wanted) > _cosine_wanted(made)


def _cosine_wanted(made: _Made) -> float:
    if made.scheme == "fp16":
        return 0.9995
    # Under weights drawn at random, int8 costs this tower's convolutions more; the decompressed values are checked below.
    is_convolutional = made.exported.tower.spec.family == "mobileclip" and made.exported.tower.tower == "image"
    return 0.95 if is_convolutional else 0.99


def test_fp16_mode_costs_something_only_where_float16_is_declared(made: _Made) -> None:
    same = np.array_equal(_run(made, "fp16", rows=1), _run(made, "fp32", rows=1))
    assert same == (made.scheme == "fp32")


def _value(variable: Any) -> Any:
    """A constant as coremltools decodes it, compressed ones decompressed."""
    if variable.op.op_type.startswith("constexpr_"):
        return variable.op.materialized_val_inference()
    return variable.val


def _same(mine: Any, theirs: Any) -> None:
    if isinstance(mine, str):
        assert mine == theirs
        return
    if isinstance(mine, torch.Tensor):
        assert tuple(mine.shape) == np.shape(theirs)
    np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def test_graph_and_constants_are_those_that_coremltools_reads(made: _Made) -> None:
    steps = made.ours.program.steps
    fixed = ("const", "constexpr_")
    theirs = [op for op in made.theirs if not op.op_type.startswith(fixed)]
    assert [step.name for step in steps] == [op.outputs[0].name for op in theirs]
    for step, op in zip(steps, theirs, strict=True):
        assert step.op == op.op_type
        assert [(name, kind.shape) for name, kind in step.outputs] == [(out.name, tuple(out.shape)) for out in op.outputs]
        for name, value in step.constants.items():
            _same(value, _value(op.inputs[name]))
            assert step.sources[name] == op.inputs[name].name
        for name, source in step.inputs.items():
            given = op.inputs[name]
            if isinstance(source, str):
                assert source == given.name
                continue
            for mine, variable in zip(source, given, strict=True):
                assert mine == variable.name
                if mine in made.ours.program.constants:
                    _same(made.ours.program.constants[mine], _value(variable))


_COMPRESSED = {"iOS16": "constexpr_affine_dequantize", "iOS17": "constexpr_affine_dequantize"}


def test_operations_are_those_of_the_os(made: _Made) -> None:
    """iOS18 brings whole attention and blockwise scales; before, attention is products and scales are per axis."""
    found = Counter(op.op_type for op in made.theirs)
    attention = found["scaled_dot_product_attention"]
    assert (attention > 0) == (made.min_os == "iOS18")
    assert (found["softmax"] > 0) == (made.min_os != "iOS18")
    constexpr = {name for name in found if name.startswith("constexpr_")}
    name = _COMPRESSED.get(made.min_os, "constexpr_blockwise_shift_scale")
    assert constexpr == ({name} if made.scheme == "w8" else set())
    ran = Counter(step.op for step in made.ours.program.steps)
    assert ran["scaled_dot_product_attention"] == attention
