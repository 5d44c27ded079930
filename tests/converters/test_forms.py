"""Every form of weights: what a package decodes to against what the form says in NumPy, and against the weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from converters.coreml.compression.forms import FORMS, at_least, lossless_entries
from converters.coreml.compression.plan import carry_out, check_stored
from converters.coreml.compression.weights import find_weights
from converters.coreml.package import write_package
from edgeclip.errors import ConversionError
from edgeclip.reference.mil.interpreter import MilModel

pytestmark = pytest.mark.slow

FLOORS = ("iOS16", "iOS17", "iOS18")
CELLS = [(form, floor) for form in FORMS for floor in FLOORS if form != "fp16" and at_least(floor, FORMS[form].min_os)]


class _Small(nn.Module):
    """One weight of every kind: token table, marking table, convolution, depthwise convolution, linear layer, product."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(192, 64)
        self.marks = nn.Embedding(4096, 1)
        self.marks.weight.data = (torch.arange(4096) == 77).float()[:, None]
        self.conv = nn.Conv2d(64, 96, (1, 3), padding=(0, 1))
        self.depthwise = nn.Conv2d(96, 96, (1, 31), padding=(0, 15), groups=96)
        self.linear = nn.Linear(96, 80)
        self.projection = nn.Parameter(torch.randn(80, 48) / 9)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.table(ids) * (1 + self.marks(ids))
        x = self.depthwise(torch.relu(self.conv(x.transpose(1, 2)[:, :, None])))
        x = torch.relu(self.linear(x[:, :, 0].transpose(1, 2)))
        return torch.nn.functional.normalize(x.mean(1) @ self.projection, dim=-1)


_IDS = np.array([[3, 77, 5, 190, 0, 12, 33, 77]], np.int32)


@functools.cache
def _converted(floor: str, precision: str = "FLOAT16") -> Any:
    import coremltools as ct

    program = torch.export.export(_Small().eval(), (torch.from_numpy(_IDS),)).run_decompositions({})
    given = ct.TensorType(name="text", shape=_IDS.shape, dtype=np.int32)
    target = getattr(ct.target, floor)
    return ct.convert(
        program,
        convert_to="mlprogram",
        inputs=[given],
        minimum_deployment_target=target,
        compute_precision=getattr(ct.precision, precision),
        skip_model_load=True,
    )


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """`compressed(form, floor)`: the weights, and the package that stores them so; made once."""
    return functools.cache(lambda form, *program: _compressed(form, *program, folder=tmp_path_factory.mktemp("form")))


def _compressed(form: str, floor: str, precision: str = "FLOAT16", *, folder: Path) -> tuple[dict[str, Any], Path]:
    model = _converted(floor, precision)
    write_package(model, {}, folder / "float.mlpackage")
    weights = find_weights(folder / "float.mlpackage")
    plan = _plan(weights, form)
    path = folder / "small.mlpackage"
    write_package(carry_out(plan, weights, model, floor), {}, path)
    check_stored(plan, path)
    return weights, path


def _plan(weights: dict[str, Any], form: str) -> dict[str, str]:
    """The same form everywhere. coremltools 9.0 gives `transpose_0` another name between its passes, so that stays as it is."""
    return {name: "fp16" if name == "transpose_0" else form for name in weights}


def test_weights_are_found_with_their_channels(tmp_path):
    write_package(_converted("iOS17"), {}, tmp_path / "m.mlpackage")
    found = {w.op: w for w in find_weights(tmp_path / "m.mlpackage").values() if not lossless_entries(w)}
    shapes = [w.shape for w in find_weights(tmp_path / "m.mlpackage").values()]
    assert {(192, 64), (4096, 1), (96, 64, 1, 3), (96, 1, 1, 31), (80, 96)} <= set(shapes)
    assert len(shapes) == 6  # and the product, which coremltools makes a linear layer
    assert found["gather"].is_token_table
    assert found["conv"].is_depthwise
    assert all((w.output_axis, w.input_axis) == (0, 1) for w in found.values())


@pytest.mark.parametrize(("form", "floor"), CELLS, ids=lambda value: value)
def test_a_package_decodes_to_what_the_form_says(form, floor, compressed):
    weights, path = compressed(form, floor)
    assert len(weights) >= 5
    model = MilModel.load(path, "fp16")
    seen = set()
    for step in model.program.steps:
        for parameter, value in step.constants.items():
            # coremltools derives the names of compressed constants from the original's
            name = next((n for n in weights if step.sources.get(parameter, "").startswith(n)), None)
            if name is None:
                continue
            seen.add(name)
            weight = weights[name]
            exact = weight.values if lossless_entries(weight) else FORMS[form].values(weight, floor)
            np.testing.assert_allclose(value.numpy(), exact, atol=2e-3 * np.abs(weight.values).max(), err_msg=name)
    assert seen == weights.keys()
    given = {"text": _IDS}
    assert np.isfinite(model.run(given)[model.program.outputs[0].name]).all()


# a weight that float16 would ruin stays in float32, and with it scales and tables
WIDE = [(form, "iOS18", "FLOAT32") for form in ("fp16", "w8", "w4", "pal6", "prune50")] + [("w8", "iOS16", "FLOAT32")]


@pytest.mark.parametrize("cell", [*CELLS, *WIDE], ids="-".join)
def test_the_size_is_as_estimated(cell, compressed):
    form, floor, *_ = cell
    weights, path = compressed(*cell)
    stored = (path / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    estimated = sum(FORMS[own].size(weights[name], floor) for name, own in _plan(weights, form).items())
    overhead = 64 * 8 * len(weights) + 2048  # records and their alignment, biases
    assert estimated < stored < 1.02 * estimated + overhead


@pytest.mark.parametrize("floor", FLOORS)
def test_closer_with_more_bits(floor, tmp_path):
    write_package(_converted(floor), {}, tmp_path / "m.mlpackage")
    for weight in find_weights(tmp_path / "m.mlpackage").values():
        if lossless_entries(weight):
            continue
        names = [f"pal{bits}" for bits in (2, 3, 4, 6, 8) if at_least(floor, FORMS[f"pal{bits}"].min_os)]
        errors = [float(((FORMS[name].values(weight, floor) - weight.values) ** 2).mean()) for name in names]
        assert errors == sorted(errors, reverse=True)
        assert errors[0] < float((weight.values**2).mean())


def test_marking_tables_are_stored_exactly_in_one_bit(compressed):
    weights, path = compressed("w8", "iOS16")
    (marks,) = [w for w in weights.values() if w.shape == (4096, 1)]
    assert FORMS["w8"].size(marks, "iOS16") == 4096 // 8 + 2 * 2
    model = MilModel.load(path)
    (stored,) = [v for step in model.program.steps for v in step.constants.values() if getattr(v, "shape", ()) == (4096, 1)]
    np.testing.assert_array_equal(stored.numpy()[:, 0], np.arange(4096) == 77)


def test_a_weight_that_stayed_as_it_was_is_an_error(tmp_path):
    write_package(_converted("iOS17"), {}, tmp_path / "m.mlpackage")
    weights = find_weights(tmp_path / "m.mlpackage")
    with pytest.raises(ConversionError, match="could not be stored as w8"):
        check_stored(dict.fromkeys(weights, "w8"), tmp_path / "m.mlpackage")
