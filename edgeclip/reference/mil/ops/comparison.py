"""Comparison and logic, elementwise."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgeclip.reference.mil.ops.table import Tensor, op

_FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "equal": torch.eq,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "not_equal": torch.ne,
}


def _register(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    @op(name)
    def binary(*, x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)


for _name, _function in _FUNCTIONS.items():
    _register(_name, _function)


@op("select")
def select(*, cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond, a, b)
