"""Mode `ane`: everything in float16, sums included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.narrow import PRODUCTS, narrow
from edgeclip.reference.mil.ops import operations
from tests.reference import (
    test_mil_ops_convolution,
    test_mil_ops_creation,
    test_mil_ops_elementwise,
    test_mil_ops_lookup,
    test_mil_ops_products,
)
from tests.reference.oracle import Case, each, floats, has_arrays
from tests.reference.packages import builder, half, save

_SUMMING = (
    "avg_pool",
    "batch_norm",
    "conv",
    "cumsum",
    "einsum",
    "instance_norm",
    "l2_norm",
    "layer_norm",
    "linear",
    "matmul",
    "reduce_l1_norm",
    "reduce_l2_norm",
    "reduce_log_sum",
    "reduce_log_sum_exp",
    "reduce_mean",
    "reduce_sum",
    "reduce_sum_square",
    "scaled_dot_product_attention",
    "softmax",
)
_MODULES = (
    test_mil_ops_convolution,
    test_mil_ops_creation,
    test_mil_ops_elementwise,
    test_mil_ops_lookup,
    test_mil_ops_products,
)
_CASES = tuple(case for module in _MODULES for case in module.CASES if case.op in _SUMMING)


def _narrowly(op: str, **inputs: Any) -> np.ndarray:
    """The operation as the mode runs it, its operands and its result rounded."""

    def held(value: Any) -> Any:
        if not has_arrays(value):
            return value
        if isinstance(value, tuple):
            return tuple(map(held, value))
        array = np.asarray(value)
        return torch.from_numpy(half(array) if array.dtype.kind == "f" else array)

    form = operations()[op].form(inputs)
    assert narrow(form.run) is not form.run
    with np.errstate(over="ignore"):
        return half(narrow(form.run)(**{name: held(value) for name, value in inputs.items()}).numpy())


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple) and has_arrays(value):
        return tuple(map(_rounded, value))
    return half(value) if has_arrays(value) and np.asarray(value).dtype.kind == "f" else value


@each(_CASES)
def test_the_same_function_up_to_float16(case: Case) -> None:
    """Every case of the ordinary operation, within what a few roundings of results of its size cost."""
    rounded = {name: _rounded(value) for name, value in case.inputs.items()}
    wanted = np.asarray(Case(case.op, rounded, case.expected, case.opset).answer, np.float64)
    wanted = wanted[0] if case.expected is None else wanted
    got = _narrowly(case.op, **case.inputs)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0.01, atol=0.01 * max(1.0, float(np.abs(wanted).max())))


def _absorbed(length: int) -> np.ndarray:
    """2048, then terms that are 1 per chunk: float16 cannot tell 2049 from 2048, so a narrow total stays there."""
    terms = np.full(length, 1 / PRODUCTS, np.float32)
    terms[:PRODUCTS] = 2048 / PRODUCTS
    return terms


_LONG = _absorbed(8 * PRODUCTS)
_TOTALS: dict[str, Callable[[], tuple[np.ndarray, float]]] = {
    "linear": lambda: (_narrowly("linear", x=_LONG[None], weight=np.ones((3, len(_LONG)), np.float32)), 2048),
    "matmul": lambda: (_narrowly("matmul", x=_LONG[None], y=np.ones((len(_LONG), 2), np.float32)), 2048),
    "conv over channels": lambda: (
        _narrowly("conv", x=_LONG[None, :, None, None], weight=np.ones((2, len(_LONG), 1, 1), np.float32)),
        2048,
    ),
    "conv over a window": lambda: (
        _narrowly("conv", x=_LONG.reshape(1, 1, 16, 16), weight=np.ones((1, 1, 16, 16), np.float32)),
        2048,
    ),
    "conv in groups": lambda: (
        _narrowly("conv", x=np.tile(_LONG, 2)[None, :, None], weight=np.ones((2, len(_LONG), 1), np.float32), groups=2),
        2048,
    ),
    "reduce_sum": lambda: (_narrowly("reduce_sum", x=_LONG.reshape(1, 16, 16), axes=(1, 2)), 2048),
    "einsum": lambda: (
        _narrowly("einsum", values=(_LONG[None, None], np.ones((len(_LONG), 1, 2), np.float32)), equation="chw,whu->chu"),
        2048,
    ),
    "reduce_l1_norm": lambda: (_narrowly("reduce_l1_norm", x=-_LONG, axes=(0,)), 2048),
    "reduce_mean": lambda: (_narrowly("reduce_mean", x=_LONG[None], axes=(1,)), 2048 / len(_LONG)),
    "avg_pool": lambda: (
        _narrowly("avg_pool", x=_LONG.reshape(1, 1, 16, 16), kernel_sizes=(16, 16), pad_type="valid"),
        2048 / len(_LONG),
    ),
}


@pytest.mark.parametrize("name", list(_TOTALS))
def test_a_running_total_of_float16_absorbs_small_terms(name: str) -> None:
    got, wanted = _TOTALS[name]()
    assert np.unique(got).tolist() == [wanted]


def test_a_running_total_is_rounded_in_every_chunk() -> None:
    got = _narrowly("cumsum", x=_LONG, axis=0)
    assert np.unique(got[PRODUCTS - 1 :: PRODUCTS]).tolist() == [2048]


def _dot(left: np.ndarray, right: np.ndarray) -> np.float32:
    """One sum of products as the mode is described, in NumPy."""
    total = np.float16(0)
    for start in range(0, len(left), PRODUCTS):
        part = slice(start, start + PRODUCTS)
        total = np.float16(np.float32(total) + np.float32(np.float16(np.dot(left[part], right[part]))))
    return np.float32(total)


def test_products_as_described() -> None:
    x, weight = half(floats(5, 300)), half(floats(4, 300, seed=1))
    wanted = np.array([[_dot(row, column) for column in weight] for row in x])
    got = _narrowly("linear", x=x, weight=weight)
    # float32 sums inside a chunk may differ in their order, and so now and then fall on the other side of a rounding
    assert (got == wanted).mean() > 0.8
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-2)
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    assert np.abs(got - exact).max() > np.abs(half(exact) - exact).max()  # more than rounding the result alone


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_everything_is_rounded_whatever_the_program_declares(dtype: str, tmp_path: Path) -> None:
    bias, third = floats(64), np.float32(1 / 3)

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        kind = np.float16 if dtype == "fp16" else np.float32
        x = mb.cast(x=variables["x"], dtype=dtype)
        x = mb.mul(x=mb.add(x=x, y=bias.astype(kind)), y=kind(third))
        return mb.cast(x=x, dtype="fp32", name="y"), mb.identity(x=variables["ids"], name="same")

    ids = np.array([49407], np.int32)
    path = save(tmp_path / "m.mlpackage", {"x": ((64,), "fp32"), "ids": ((1,), "int32")}, body)
    x = floats(64, seed=1)
    got = MilModel.load(path, "ane").run({"x": x, "ids": ids})
    np.testing.assert_array_equal(got["y"], half(half(half(x) + half(bias)) * half(third)))
    np.testing.assert_array_equal(got["same"], ids)


def test_weights_beyond_float16_show(tmp_path: Path) -> None:
    """As a mask of -1e9, which a unit without float32 holds as -inf."""

    def body(variables: dict[str, Any]) -> Any:
        return builder().add(x=variables["x"], y=np.array([0, -1e9], np.float32), name="y")

    path = save(tmp_path / "m.mlpackage", {"x": ((2,), "fp32")}, body)
    given = {"x": np.array([1, 2], np.float32)}
    assert MilModel.load(path, "ane").run(given)["y"].tolist() == [1, -np.inf]
    assert MilModel.load(path, "fp16").run(given)["y"].tolist() == [1, -1e9]
