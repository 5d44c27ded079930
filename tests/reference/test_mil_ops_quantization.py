"""Quantization of activations against coremltools' evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from edgeclip.reference.mil.interpreter import MilModel
from tests.reference.oracle import Case, check, each, floats, integers, ours
from tests.reference.packages import builder, save

_X = 100 * floats(3, 4, 5)
_CODES = {
    "int8": integers(3, 4, 5, low=-128, high=128).astype(np.int8),
    "uint8": integers(3, 4, 5, low=0, high=256).astype(np.uint8),
}


def _zeros(dtype: str, *shape: int) -> np.ndarray:
    return np.asarray(integers(*shape, low=0, high=100, seed=5)).astype(dtype)


def _parameters(dtype: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Per tensor and along every axis, with and without a zero point."""
    axes = [(f"axis{axis}", {"scale": floats(_X.shape[axis], low=0.1), "axis": axis}) for axis in (0, 1, 2, -1)]
    zeros = [(f"{note}-zero", rest | {"zero_point": _zeros(dtype, len(rest["scale"]))}) for note, rest in axes]
    tensor = [
        ("tensor", {"scale": np.float32(0.7)}),
        ("tensor-zero", {"scale": np.float32(2), "zero_point": _zeros(dtype)[()]}),
    ]
    return (*tensor, *axes, *zeros)


CASES = (
    *(
        Case("quantize", {"input": _X, "output_dtype": dtype} | rest, note=f"{dtype}-{note}")
        for dtype in _CODES
        for note, rest in _parameters(dtype)
    ),
    *(
        Case("dequantize", {"input": codes} | rest, note=f"{dtype}-{note}", tolerance=1e-5)
        for dtype, codes in _CODES.items()
        for note, rest in _parameters(dtype)
    ),
    Case(
        "quantize",
        {"input": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300], np.float32), "scale": np.float32(1), "output_dtype": "int8"},
        note="ties",
    ),
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output_dtype": "int4"}, "unknown output_dtype 'int4'"),
        ({"scale": floats(4)}, "do not go together"),
        ({"scale": floats(4), "axis": 1, "zero_point": _zeros("int8")[()]}, "do not go together"),
        ({"axis": 1}, "do not go together"),
        ({"scale": floats(3), "axis": 1}, "3.* values for an axis of 4"),
        ({"scale": floats(3), "axis": 3}, "axis 3 of"),
    ],
)
def test_what_does_not_go_together_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        ours("quantize", **{"input": _X, "scale": np.float32(1), "output_dtype": "int8"} | change)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_from_a_saved_package(dtype: str, tmp_path: Path) -> None:
    """Codes are a byte wide between the two operations, as the program declares them."""
    scale, zero = floats(4, low=0.1), _zeros(dtype, 4)

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        codes = mb.quantize(input=variables["x"], scale=scale, zero_point=zero, axis=1, output_dtype=dtype)
        return mb.dequantize(input=codes, scale=scale, zero_point=zero, axis=1, name="y")

    path = save(tmp_path / "m.mlpackage", {"x": (_X.shape, "fp32")}, body)
    limits = np.iinfo(dtype)
    steps, offset = scale[:, None].astype(np.float64), zero[:, None].astype(np.float64)
    codes = np.clip(np.rint(_X / steps) + offset, limits.min, limits.max)
    np.testing.assert_allclose(MilModel.load(path, "fp32").run({"x": _X})["y"], (codes - offset) * steps, rtol=1e-6)
