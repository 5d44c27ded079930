"""The decorator that registers an operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

from edgeclip.registry import Registry

Ints = tuple[int, ...]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Op:
    """An operation: its function, and what each parameter takes (`Tensor`, `tuple[Tensor, ...]`, a constant's type)."""

    name: str
    run: Callable[..., Any]
    parameters: dict[str, Any]
    required: frozenset[str]


OPS: Registry[Op] = Registry("ML Program operation")


def op(*names: str) -> Callable[[F], F]:
    """Register a function under the operation's name, or several that compute the same."""

    def register(function: F) -> F:
        hints = get_type_hints(function)
        hints.pop("return", None)
        required = frozenset(
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is inspect.Parameter.empty
        )
        for name in names:
            OPS.add(name, Op(name, function, hints, required))
        return function

    return register


__all__ = ["OPS", "Ints", "Op", "Tensor", "op"]
