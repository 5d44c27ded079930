"""Functions of one tensor, comparison and logic, and the further activations, against coremltools' evaluation or NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from tests.reference.oracle import Case, check, each, floats, integers, ours

_X = 3 * floats(4, 9)
_POSITIVE = floats(4, 9, low=0.05)
_INSIDE = floats(4, 9) / 4
_TIES = np.array([-2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.49, -3.51], np.float32)
_SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], np.float32)
_EVERYWHERE = ("atan", "ceil", "cos", "cosh", "erf", "exp", "exp2", "floor", "round", "sign", "sin", "sinh", "square", "tan")
_COMPARISONS = ("equal", "not_equal", "greater", "less_equal")
_LOGIC = ("logical_and", "logical_or", "logical_xor")


def _numpy(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """In float64, where coremltools has no evaluation of its own."""
    return lambda **inputs: np.asarray(function(**{k: v.astype(np.float64) if np.ndim(v) else v for k, v in inputs.items()}))


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


_NUMPY: tuple[tuple[str, Callable[..., Any], dict[str, Any]], ...] = (
    ("erf", lambda x: _erf(x), {"x": _X}),
    ("relu6", lambda x: np.minimum(np.maximum(x, 0), 6), {"x": 3 * _X}),
    ("leaky_relu", lambda x, alpha: np.where(x >= 0, x, alpha * x), {"x": _X, "alpha": 0.3}),
    ("elu", lambda x, alpha: np.where(x >= 0, x, alpha * np.expm1(x)), {"x": _X, "alpha": 0.7}),
    ("silu", lambda x: x / (1 + np.exp(-x)), {"x": _X}),
    ("sigmoid_hard", lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), {"x": _X, "alpha": 1 / 6, "beta": 0.5}),
    ("softplus", lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0), {"x": 9 * _X}),
    ("softsign", lambda x: x / (1 + np.abs(x)), {"x": _X}),
    (
        "prelu",
        lambda x, alpha: np.where(x >= 0, x, alpha[:, None, None] * x),
        {"x": floats(2, 3, 5, 2), "alpha": floats(3, low=0.1)},
    ),
    ("threshold", lambda x, alpha: np.maximum(x, alpha), {"x": _X, "alpha": 0.25}),
)
CASES = (
    *(Case(op, {"x": _X}, tolerance=1e-5) for op in _EVERYWHERE),
    Case("round", {"x": _TIES}, note="ties"),
    *(Case(op, {"x": _INSIDE}) for op in ("acos", "asin", "atanh")),
    *(Case(op, {"x": _POSITIVE}) for op in ("log", "inverse", "sqrt", "rsqrt")),
    Case("log", {"x": np.array([0.0, 1.0], np.float32), "epsilon": 1e-3}, note="zero"),
    Case("inverse", {"x": _POSITIVE, "epsilon": 0.5}),
    Case("logical_not", {"x": _X > 0}),
    *(Case(op, inputs, _numpy(function)) for op, function, inputs in _NUMPY),
    *(Case(op, {"x": integers(4, 5), "y": integers(5, seed=1)}, note="int32") for op in _COMPARISONS),
    *(Case(op, {"x": _SPECIAL[:, None], "y": _SPECIAL}, note="special") for op in _COMPARISONS),
    *(Case(op, {"x": np.array([[True], [False]]), "y": np.array([True, False])}) for op in _LOGIC),
    *(
        Case(op, {"x": 3 * floats(4, 5), "y": np.array([0.7, -0.7, 1.0, -2.5, 3.0], np.float32)}, tolerance=1e-5)
        for op in ("floor_div", "mod")
    ),
    *(Case(op, {"x": integers(6, 4), "y": np.array([2, -2, 3, -5], np.int32)}, note="int32") for op in ("floor_div", "mod")),
    Case("real_div", {"x": integers(6, 4), "y": np.array([2, -2, 3, -5], np.int32)}, lambda x, y: np.trunc(x / y).astype(int)),
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


def test_slopes_for_other_channels_are_refused() -> None:
    with pytest.raises(BundleError, match="prelu: slopes"):
        ours("prelu", x=floats(2, 3, 5), alpha=floats(5))
