"""Elementwise operations, casts and activations against coremltools' evaluation."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.errors import BundleError
from tests.reference.oracle import PROPERTY, Case, agree, check, coremltools_value, each, floats, integers, ours

_BINARY = ("add", "sub", "mul", "real_div", "maximum", "minimum", "greater_equal", "less")
_SHAPES = (((2, 3), (2, 3)), ((2, 1, 4), (3, 1)), ((5,), (2, 3, 5)), ((1, 3, 1, 1), (2, 3, 4, 4)))
_SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], np.float32)
_GELU_MODES = ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")
_DTYPES = ("fp16", "fp32", "bool", "int32", "int16", "uint16", "int8", "uint8")
_TOKENS = np.array(
    [0, 1, -1, 127, 128, 255, 256, 32767, 32768, 49406, 49407, 65535, 65536, -32769, 2**31 - 1, -(2**31)], np.int32
)


def _gelu(x: np.ndarray, mode: str = "EXACT") -> np.ndarray:
    wide = x.astype(np.float64)
    cubic = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
    factors = {
        "EXACT": np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))), otypes=[np.float64]),
        "TANH_APPROXIMATION": lambda _: 0.5 * (1 + np.tanh(cubic)),
        "SIGMOID_APPROXIMATION": lambda v: 1 / (1 + np.exp(-1.702 * v)),
    }
    return wide * factors[mode](wide)


_BINARY_CASES = tuple(
    Case(op, {"x": floats(*left), "y": floats(*right, seed=1) + 0.01}, note=f"{left}{right}")
    for op in _BINARY
    for left, right in _SHAPES
)
_INTEGER_CASES = tuple(
    Case(op, {"x": integers(3, 4), "y": integers(4, seed=1)}, note="int32")
    for op in ("add", "sub", "mul", "maximum", "minimum", "greater_equal", "less")
)
_UNARY_CASES = tuple(Case(op, {"x": 4 * floats(3, 7)}) for op in ("abs", "relu", "sigmoid", "tanh", "identity"))
CASES = (
    *_BINARY_CASES,
    *_INTEGER_CASES,
    *_UNARY_CASES,
    Case("greater_equal", {"x": _SPECIAL[:, None], "y": _SPECIAL}, note="special"),
    Case("less", {"x": _SPECIAL[:, None], "y": _SPECIAL}, note="special"),
    Case("maximum", {"x": _SPECIAL[:, None], "y": _SPECIAL}, note="special"),
    Case("minimum", {"x": _SPECIAL[:, None], "y": _SPECIAL}, note="special"),
    Case("pow", {"x": floats(3, 4, low=0.1), "y": floats(4)}),
    Case("pow", {"x": floats(3, 4), "y": np.float32(2)}, note="square"),
    Case("clip", {"x": 2 * floats(3, 4), "alpha": -0.5, "beta": 1.0}),
    Case("clip", {"x": _SPECIAL, "alpha": 0.0, "beta": 2.0}, note="special"),
    Case("sqrt", {"x": floats(3, 4, low=0.0)}),
    Case("rsqrt", {"x": floats(3, 4, low=0.1)}),
    Case("rsqrt", {"x": floats(3, 4, low=0.0), "epsilon": 0.5}),
    Case("rsqrt", {"x": np.zeros(2, np.float32), "epsilon": 1e-4}, note="zero"),
    Case("select", {"cond": floats(3, 4) > 0, "a": floats(3, 4, seed=1), "b": floats(3, 4, seed=2)}),
    Case("select", {"cond": floats(2, 4, 1) > 0, "a": integers(2, 4, 1), "b": integers(2, 4, 1, seed=2)}, note="int32"),
    Case("relu", {"x": _SPECIAL}, note="special"),
    Case("gelu", {"x": 3 * floats(4, 9)}, _gelu),
    *(Case("gelu", {"x": 3 * floats(4, 9), "mode": mode}) for mode in _GELU_MODES),
    *(Case("gelu", {"x": 5 * floats(40), "mode": mode}, _gelu, note="wide") for mode in _GELU_MODES),
    *(Case("softmax", {"x": 3 * floats(2, 3, 4, 5), "axis": axis}) for axis in (0, 1, 2, 3, -1, -2, -4)),
    Case("softmax", {"x": 3 * floats(2, 6)}, note="default-axis"),
    Case("softmax", {"x": np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], np.float32)}, note="masked"),
    *(Case("cast", {"x": _TOKENS, "dtype": dtype}, note="int32") for dtype in _DTYPES if dtype != "fp16"),
    *(Case("cast", {"x": integers(30, low=-300, high=300), "dtype": dtype}, note="int32-small") for dtype in _DTYPES),
    *(Case("cast", {"x": np.array([True, False]), "dtype": dtype}, note="bool") for dtype in _DTYPES),
    *(Case("cast", {"x": floats(20, low=-2.9), "dtype": dtype}, note="truncates") for dtype in ("int32", "int16", "int8")),
    Case("cast", {"x": np.array([0.0, -0.0, 0.25, -1e-9, np.inf, np.nan], np.float32), "dtype": "bool"}, note="float"),
    *(Case("cast", {"x": np.arange(-128, 128).astype(np.int8), "dtype": dtype}, note="int8") for dtype in _DTYPES),
    *(Case("cast", {"x": np.arange(256).astype(np.uint8), "dtype": dtype}, note="uint8") for dtype in _DTYPES),
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(("dtype", "expected"), [("int16", [-16130, -16129]), ("uint16", [49406, 49407])])
def test_token_ids_in_16_bits(dtype: str, expected: list[int]) -> None:
    """What casting ids to 16 bits does to the start and end tokens, in plain numbers."""
    (got,) = ours("cast", x=np.array([49406, 49407], np.int32), dtype=dtype)
    assert got.tolist() == expected


def test_a_cast_to_float16_rounds_integers_and_leaves_floats_to_the_interpreter() -> None:
    (got,) = ours("cast", x=np.array([49407], np.int32), dtype="fp16")
    assert got.tolist() == [49408.0]
    (got,) = ours("cast", x=np.array([49407], np.float32), dtype="fp16")
    assert got.tolist() == [49407.0]


def test_refusals() -> None:
    with pytest.raises(BundleError, match=r"cast.*int64"):
        ours("cast", x=_TOKENS, dtype="int64")
    with pytest.raises(BundleError, match=r"gelu.*QUICK"):
        ours("gelu", x=floats(2), mode="QUICK")


_broadcastable = arrays.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=4, max_side=4)


@PROPERTY
@given(shapes=_broadcastable, op=st.sampled_from(_BINARY), data=st.data())
def test_broadcasting(shapes: arrays.BroadcastableShapes, op: str, data: st.DataObject) -> None:
    values = st.floats(-1e3, 1e3, width=32).map(lambda v: v if abs(v) > 1e-3 else 1.0)
    x, y = (data.draw(arrays.arrays(np.float32, shape, elements=values)) for shape in shapes.input_shapes)
    (got,) = ours(op, x=x, y=y)
    assert got.shape == shapes.result_shape
    agree((got,), coremltools_value(Case(op, {"x": x, "y": y})))


@PROPERTY
@given(
    x=arrays.arrays(np.int32, arrays.array_shapes(max_dims=3, max_side=5)),
    dtype=st.sampled_from([name for name in _DTYPES if name != "fp16"]),
)
def test_cast_wraps_as_numpy(x: np.ndarray, dtype: str) -> None:
    check(Case("cast", {"x": x, "dtype": dtype}))
