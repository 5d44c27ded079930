"""The independent road for ML Program operations: coremltools' evaluation, or NumPy after the format's documentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops import operations
from edgeclip.reference.mil.ops.table import Ints

# Property tests draw the same examples on every run.
PROPERTY = settings(deadline=None, derandomize=True, max_examples=60)
# How an operation says no: these the interpreter turns into a BundleError that names the operation.
REFUSED = (BundleError, RuntimeError, ValueError, IndexError)


@dataclass(frozen=True)
class Case:
    """One use of an operation. `inputs` are arrays (tensors), tuples of arrays (lists of tensors) or Python values (constants).

    expected: computes the answer from the same inputs; None asks coremltools.
    buildable: False where coremltools' builder fails on inputs that the format allows.
    """

    op: str
    inputs: dict[str, Any]
    expected: Callable[..., Any] | None = None
    opset: str = "iOS17"
    note: str = ""
    tolerance: float = field(default=1e-6, kw_only=True)
    buildable: bool = field(default=True, kw_only=True)

    @property
    def answer(self) -> Any:
        return coremltools_value(self) if self.expected is None else self.expected(**self.inputs)

    def __str__(self) -> str:
        constants = [f"{name}={value}" for name, value in self.inputs.items() if not has_arrays(value)]
        return "-".join([self.op, self.opset, *constants, *([self.note] if self.note else [])]).replace(" ", "")


def each(cases: tuple[Case, ...]) -> Any:
    """Parametrize a test over cases, each named after what it does."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=f"{k}-{case}") for k, case in enumerate(cases)])


def has_arrays(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) or (isinstance(value, tuple) and value != () and has_arrays(value[0]))


def ours(op: str, **inputs: Any) -> tuple[np.ndarray, ...]:
    """The interpreter's results, given values as the interpreter holds them."""
    form = operations()[op].form(inputs)
    held = {
        name: tuple(value.tolist()) if form.parameters[name] == Ints and has_arrays(value) else _held(value)
        for name, value in inputs.items()
    }
    result = form.run(**held)
    return tuple(part.numpy() for part in (result if isinstance(result, tuple) else (result,)))


def _held(value: Any) -> Any:
    if not has_arrays(value):
        return value
    if isinstance(value, tuple):
        return tuple(_held(part) for part in value)
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array if array.dtype in (np.bool_, np.int8, np.uint8) else array.astype(np.int32))


def coremltools_value(case: Case) -> Any:
    """What coremltools computes when all inputs are constants."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb  # noqa: N813
    from coremltools.converters.mil.mil import Function

    with Function({}, opset_version=getattr(ct.target, case.opset)):
        result = getattr(mb, case.op)(**case.inputs)
    parts = result if isinstance(result, list | tuple) else [result]
    if case.op.startswith("constexpr_") or case.op == "dequantize":
        found = parts[0].op.materialized_val_inference()
        return found if isinstance(found, tuple) else (found,)
    assert all(part.val is not None for part in parts), f"coremltools does not evaluate {case.op}"
    return tuple(part.val for part in parts)


def check(case: Case) -> None:
    """Ours and the oracle agree in number, shape, kind and value."""
    answer = case.answer
    agree(ours(case.op, **case.inputs), answer if isinstance(answer, tuple) else (answer,), case.tolerance)


def agree(got: tuple[np.ndarray, ...], wanted: tuple[Any, ...], tolerance: float = 1e-6) -> None:
    assert len(got) == len(wanted)
    for mine, theirs in zip(got, map(np.asarray, wanted), strict=True):
        assert mine.shape == theirs.shape
        assert _KIND[mine.dtype.kind] == _KIND[theirs.dtype.kind]
        if theirs.dtype.kind == "f":
            np.testing.assert_allclose(mine, theirs, rtol=10 * tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(mine.astype(np.int64), theirs.astype(np.int64))


_KIND = {"f": "float", "i": "integer", "u": "integer", "b": "bool"}


def floats(*shape: int, seed: int = 0, low: float | None = None) -> np.ndarray:
    """Normal values, or uniform ones in [low, low + 3) where an operation wants them positive."""
    generator = np.random.default_rng([seed, *shape])
    values = generator.standard_normal(shape) if low is None else generator.random(shape) * 3 + low
    return np.asarray(values, np.float32)


def integers(*shape: int, low: int = -9, high: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.int32)
