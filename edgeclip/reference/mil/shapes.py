"""Every result's shape and kind, found when a program is loaded and before anything of that size is allocated.

The steps run once on torch's meta device, where tensors have shapes but no values. So a program that contradicts its own
declarations, or that asks for more memory than any model of its kind, does not load, and running needs no such checks:
all shapes are static.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from edgeclip.errors import BundleError
from edgeclip.reference.mil.steps import Step
from edgeclip.reference.mil.values import DTYPES, MAX_COMPUTED, TensorType, kind


class _Bounded(TorchDispatchMode):
    """Sees every tensor that an operation makes, also those that it only needs on the way, as a padded input."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, Tensor) and part.numel() > self._limit:
                raise BundleError(f"makes {list(part.shape)} on the way, more than {self._limit} values")
        return result


def check_shapes(steps: Iterable[Step], inputs: Mapping[str, TensorType], constants: Mapping[str, Tensor]) -> None:
    """Compare what each step gives with what the program declares, and what is alive at once with MAX_COMPUTED.

    steps: with their `frees`. inputs, constants: the values that are there before the first step, by name.
    """
    values = {name: value.to("meta") for name, value in constants.items()}
    values |= {name: torch.empty(given.shape, dtype=DTYPES[given.dtype].held, device="meta") for name, given in inputs.items()}
    computed: dict[str, int] = {}
    for step in steps:
        results = _results(step, values, MAX_COMPUTED)
        for (name, _), value in zip(step.outputs, results, strict=True):
            values[name], computed[name] = value, value.numel()
        if sum(computed.values()) > MAX_COMPUTED:
            raise BundleError(f"{step.where}: more than {MAX_COMPUTED} values are needed at once")
        for name in step.frees:
            computed.pop(name, None)


def check_constant(step: Step) -> None:
    """Compare what a compressed constant would give with what the program declares, before it is decompressed."""
    operands = [value.numel() for value in step.constants.values() if isinstance(value, Tensor)]
    _results(step, {}, max([*operands, *(declared.elements for _, declared in step.outputs)]))


def _results(step: Step, values: Mapping[str, Tensor], limit: int) -> tuple[Tensor, ...]:
    """The step's results on the meta device, as they are declared."""
    known = {name: _meta(value) for name, value in step.constants.items()}
    with _Bounded(limit):
        results = replace(step, constants=known).run(values)
    for (_, declared), value in zip(step.outputs, results, strict=True):
        check_result(value, declared, step.where)
    return results


def check_result(value: Tensor, declared: TensorType, where: str) -> None:
    """BundleError unless `value` has the declared shape and is a float, integer or boolean as declared."""
    if value.shape != declared.shape:
        raise BundleError(f"{where} gives {list(value.shape)}, declared {list(declared.shape)}")
    dtype = DTYPES.get(declared.dtype)
    if dtype is None or kind(value.dtype) != kind(dtype.held):
        raise BundleError(f"{where} gives {kind(value.dtype)} values, declared {declared.dtype}")


def _meta(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_meta(part) for part in value)
    return value.to("meta") if isinstance(value, Tensor) else value
