"""The table of operations, and the decorators that fill it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

from edgeclip.errors import BundleError
from edgeclip.reference.mil.messages import printable
from edgeclip.registry import Registry

Ints = tuple[int, ...]


class Sizes(Ints):
    """Integers that a program may compute from shapes, where the batch is flexible; all others are constants."""


class Number(float):
    """One such number, an integer or a float."""


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Form:
    """A function that computes an operation, and what its parameters take: `Tensor`, `tuple[Tensor, ...]` or a constant."""

    run: Callable[..., Any]
    parameters: dict[str, Any]
    required: frozenset[str]

    def takes(self, given: Collection[str]) -> bool:
        """Whether inputs of these names, no more and no fewer, are what the function needs."""
        return self.required <= set(given) <= self.parameters.keys()


@dataclass(frozen=True)
class Op:
    """An operation: one function, or several where systems differ in its inputs, told apart by the inputs' names."""

    name: str
    forms: tuple[Form, ...]

    def form(self, given: Collection[str]) -> Form:
        """The form for inputs of these names. Raises BundleError if there is none."""
        for form in self.forms:
            if form.takes(given):
                return form
        known = set[str]().union(*(form.parameters for form in self.forms))
        if excess := set(given) - known:
            raise BundleError(f"unknown input {printable(min(excess))!r}")
        if len(self.forms) == 1:
            raise BundleError(f"input {min(self.forms[0].required - set(given))!r} is missing")
        ways = "; or ".join(", ".join(form.parameters) for form in self.forms)
        raise BundleError(f"inputs {', '.join(sorted(given))}, where it takes {ways}")


OPS: Registry[list[Form]] = Registry("ML Program operation")


def op(*names: str) -> Callable[[F], F]:
    """Register a function under the operation's name, or several that compute the same."""

    def register(function: F) -> F:
        for name in names:
            OPS.add(name, [_form(function)])
        return function

    return register


def later_form(name: str) -> Callable[[F], F]:
    """Register a function for the inputs that a registered operation takes on later systems."""

    def register(function: F) -> F:
        OPS[name].append(_form(function))
        return function

    return register


def _form(function: Callable[..., Any]) -> Form:
    hints = get_type_hints(function)
    hints.pop("return", None)
    parameters = inspect.signature(function).parameters.values()
    required = frozenset(parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty)
    return Form(function, hints, required)


__all__ = ["OPS", "Form", "Ints", "Number", "Op", "Sizes", "Tensor", "later_form", "op"]
