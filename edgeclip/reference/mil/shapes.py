"""Every result's shape and kind, found when a program is loaded and before anything of that size is allocated.

The steps run once on torch's meta device, where tensors have shapes but no values. So a program that contradicts its own
declarations, or that asks for more memory than any model of its kind, does not load, and running needs no such checks where
all shapes are static. Where inputs are flexible, the same is done for every new shape before it runs. Sizes that a program
computes from shapes are few integers, which are computed here as well, since later shapes depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from edgeclip.errors import BundleError
from edgeclip.reference.mil.steps import Program, Step
from edgeclip.reference.mil.values import DTYPES, MAX_COMPUTED, TensorType, kind

Shape = tuple[int, ...]
_MOST_SIZES = 64  # that are computed from shapes at once


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


def check_program(program: Program, shapes: Mapping[str, Shape]) -> None:
    """For inputs of these shapes, compare what each step gives with what the program declares.

    BundleError where they differ, or more than MAX_COMPUTED values are alive at once.
    """
    values: dict[str, Tensor] = dict(program.constants)
    for interface in program.inputs:
        dtype = DTYPES[interface.type.dtype].held
        if math.prod(shapes[interface.name]) > MAX_COMPUTED:
            raise BundleError(f"input {interface.name!r}: {list(shapes[interface.name])} are more than {MAX_COMPUTED} values")
        values[interface.name] = torch.empty(shapes[interface.name], dtype=dtype, device="meta")
    computed: dict[str, int] = {}
    for step in program.steps:
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
    """The step's results on the meta device, as they are declared; with their values where these are sizes."""
    as_numbers = {step.inputs[name] for name in step.numbers}
    read = {name: values[name] for name in step.reads}
    shapes = {name: value if name in as_numbers else value.to("meta") for name, value in read.items()}
    known = {name: _meta(value) for name, value in step.constants.items()}
    with _Bounded(limit):
        results = replace(step, constants=known).run(shapes)
    for (_, declared), value in zip(step.outputs, results, strict=True):
        check_result(value, declared, step.where)
    operands = [*read.values(), *(value for value in step.constants.values() if isinstance(value, Tensor))]
    if read and all(map(_is_sizes, operands)) and all(value.numel() <= _MOST_SIZES for value in results):
        return step.run(read)
    return results


def _is_sizes(value: Tensor) -> bool:
    return not value.is_meta and not value.is_floating_point() and value.numel() <= _MOST_SIZES


def check_result(value: Tensor, declared: TensorType, where: str) -> None:
    """BundleError unless `value` has the declared shape and is a float, integer or boolean as declared."""
    if not declared.fits(tuple(value.shape)):
        raise BundleError(f"{where} gives {list(value.shape)}, declared {list(declared.shape)}")
    dtype = DTYPES.get(declared.dtype)
    if dtype is None or kind(value.dtype) != kind(dtype.held):
        raise BundleError(f"{where} gives {kind(value.dtype)} values, declared {declared.dtype}")


def _meta(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_meta(part) for part in value)
    return value.to("meta") if isinstance(value, Tensor) else value
