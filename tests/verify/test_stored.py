"""What storage explains: right constants of every form, and wrong ones that differ by no more than a coarse form would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from edgeclip.reference.mil.ops.sparse import constexpr_sparse_to_dense_ios18
from edgeclip.reference.mil.steps import Program, Step
from edgeclip.reference.mil.values import TensorType
from edgeclip.verify.operands import Operand
from edgeclip.verify.ranges import range_findings
from edgeclip.verify.stored import Storage

_RIGHT = torch.randn(16, 64, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.5, 2, 16)[:, None]


@dataclass(frozen=True)
class _Form:
    """A constant of `_RIGHT`, made here with torch alone. steps: by name, the compressed one last."""

    own: Tensor
    steps: dict[str, Step] = field(default_factory=dict)


def _step(op: str, constants: dict[str, Any], sources: dict[str, str] | None = None, function: Any = None) -> Step:
    return Step(op, "", function or (lambda: None), constants, {}, (("own", TensorType("FLOAT16", (16, 64))),), sources or {})


def _channels() -> _Form:
    scale = (_RIGHT.abs().amax(1) / 127).half().float()
    own = (_RIGHT / scale[:, None]).round() * scale[:, None]
    return _Form(own, {"own": _step("constexpr_affine_dequantize", {"scale": scale, "axis": 0})})


def _four_bits() -> _Form:
    blocks = _RIGHT.reshape(16, 2, 32)
    scale = (blocks.abs().amax(2) / 7).half().float()
    own = ((blocks / scale[..., None]).round() * scale[..., None]).reshape(16, 64)
    return _Form(own, {"own": _step("constexpr_blockwise_shift_scale", {"scale": scale})})


def _nearest(values: Tensor, table: Tensor) -> Tensor:
    return table[(values.reshape(-1, 1) - table).abs().argmin(1)].reshape(values.shape)


def _one_table() -> _Form:
    table = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    return _Form(_nearest(_RIGHT, table), {"own": _step("constexpr_lut_to_dense", {"lut": table})})


def _table_per_group(rounded: bool = False) -> _Form:
    tables = torch.stack([torch.linspace(-2, 2, 16) ** 3 / 4, torch.linspace(-3, 3, 16)])
    own = torch.cat([_nearest(part, table) for part, table in zip(_RIGHT.split(8), tables, strict=True)])
    steps = {}
    if rounded:  # after the entries were chosen
        scale = torch.tensor(3 / 127)
        tables = (tables / scale).round() * scale
        own = (own / scale).round() * scale
        steps["lut"] = _step("constexpr_blockwise_shift_scale", {"scale": scale.reshape(1, 1, 1, 1)})
    lut = tables.reshape(2, 1, 16, 1)
    return _Form(own, {**steps, "own": _step("constexpr_lut_to_dense", {"lut": lut}, {"lut": "lut"} if rounded else {})})


def _half_left_out(rounded: bool = False) -> _Form:
    mask = _RIGHT.abs() > _RIGHT.abs().median()
    own, steps, scale = _RIGHT * mask, {}, (_RIGHT.abs().amax(1, keepdim=True) / 127)
    if rounded:
        own = (own / scale).round() * scale
        steps["kept"] = _step("constexpr_sparse_blockwise_shift_scale", {"scale": scale})
    constants = {"nonzero_data": own[mask], "mask": mask}
    sources = {"nonzero_data": "kept"} if rounded else {}
    return _Form(own, {**steps, "own": _step("constexpr_sparse_to_dense", constants, sources, constexpr_sparse_to_dense_ios18)})


_FORMS: dict[str, Callable[[], _Form]] = {
    "float16": lambda: _Form(_RIGHT.half().float()),
    "8 bits, a scale per channel": _channels,
    "4 bits, a scale per block": _four_bits,
    "one table of 4": _one_table,
    "a table of 16 per 8 channels": _table_per_group,
    "tables of 8 bits": lambda: _table_per_group(rounded=True),
    "half left out": _half_left_out,
    "half left out, the rest 8 bits": lambda: _half_left_out(rounded=True),
}
_WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "rows one down": lambda own: own.roll(1, 0),
    "two columns exchanged": lambda own: own[:, [1, 0, *range(2, 64)]],
    "one row twice as large": lambda own: own * torch.tensor([2.0] + [1.0] * 15)[:, None],
    "negated": lambda own: -own,
    "zero": torch.zeros_like,
}


def _judged(form: _Form, own: Tensor) -> bool:
    difference = float((own - _RIGHT).norm() / _RIGHT.norm())
    program = Program((), (), (), {}, {}, form.steps)
    return Storage(program, 5e-4).explains(Operand("weight", _RIGHT, "linear", "weight", own, "own", difference))


@pytest.mark.parametrize("form", _FORMS.values(), ids=_FORMS)
def test_the_right_constant_is_explained(form: Callable[[], _Form]) -> None:
    assert _judged(form(), form().own)


@pytest.mark.parametrize("wrong", _WRONG.values(), ids=_WRONG)
@pytest.mark.parametrize("form", _FORMS.values(), ids=_FORMS)
def test_a_wrong_constant_is_not(form: Callable[[], _Form], wrong: Callable[[Tensor], Tensor]) -> None:
    assert not _judged(form(), wrong(form().own))


def test_a_zero_point_one_off_is_seen_although_it_is_small() -> None:
    form = _channels()
    own = form.own + form.steps["own"].constants["scale"][:, None]
    assert float((own - _RIGHT).norm() / _RIGHT.norm()) < 0.05
    assert not _judged(form, own)


def test_the_small_half_in_place_of_the_large_is_seen() -> None:
    form = _half_left_out()
    mask = ~form.steps["own"].constants["mask"]
    constants = {"nonzero_data": _RIGHT[mask], "mask": mask}
    step = _step("constexpr_sparse_to_dense", constants, function=constexpr_sparse_to_dense_ios18)
    assert not _judged(_Form(_RIGHT * mask, {"own": step}), _RIGHT * mask)


def _quantized(scale: float, back: float) -> Program:
    def step(op: str, given: str, made: str, **constants: Any) -> Step:
        return Step(op, "", lambda: None, constants, {"input": given}, ((made, TensorType("INT8", (1000,))),))

    steps = (
        step("quantize", "x", "integers", scale=torch.tensor(scale), output_dtype="int8"),
        step("dequantize", "integers", "floats", scale=torch.tensor(back)),
    )
    return Program(steps, (), (), {}, {})


@pytest.mark.parametrize(
    ("scale", "back", "where", "says"),
    [
        (3 / 127, 3 / 127, None, None),
        (0.5 / 127, 0.5 / 127, "integers", "are cut off"),
        (120 / 127, 120 / 127, "integers", "only"),
        (3 / 127, 6 / 127, "floats", "its scale is 0.04724, that of integers is 0.02362"),
    ],
)
def test_what_is_said_of_activations(scale: float, back: float, where: str | None, says: str | None) -> None:
    values = {"x": torch.linspace(-3, 3, 1000)}
    found = list(range_findings(_quantized(scale, back), values))
    assert [name for name, _ in found] == ([where] if where else [])
    assert not says or says in found[0][1]
