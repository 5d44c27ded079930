"""A resolved program: steps, each bound to its function, and the interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from edgeclip.errors import BundleError
from edgeclip.reference.mil.messages import reason
from edgeclip.reference.mil.values import TensorType

# How torch and Python refuse operands that do not go together; anything else is a bug and shows as one.
_REFUSALS = (ArithmeticError, AssertionError, BundleError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Step:
    """One operation of the program: what it computes, from which values, into which.

    where: file, operation and result, as messages name them. sources: for each operand that is a named constant of the
    program, its name in the file, decompressed if it is compressed there; the parts of a list are `parameter/0` and so on.
    numbers: the parameters whose inputs are computed sizes, which the operation takes as numbers. frees: the values that no
    later step reads.
    """

    op: str
    where: str
    function: Callable[..., Any]
    constants: dict[str, Any]
    inputs: dict[str, str | tuple[str, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    sources: dict[str, str] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()
    frees: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.outputs[0][0]

    @property
    def reads(self) -> set[str]:
        """The names of all values that the step needs."""
        return {name for source in self.inputs.values() for name in ((source,) if isinstance(source, str) else source)}

    def takes_tensor(self, source: str) -> bool:
        """Whether a key of `sources` is a tensor to the operation, and not a number or text that steers it."""
        return source not in self.constants or isinstance(self.constants[source], Tensor)

    def _numbers(self, name: str, value: Tensor) -> Any:
        if value.is_meta:
            raise BundleError(f"{self.where}: input {name!r} must be a constant or computed from shapes")
        return tuple(value.tolist()) if value.dim() else value.item()

    def run(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The results, one per output; BundleError where the operation cannot be done."""
        arguments: dict[str, Any] = {
            name: values[source] if isinstance(source, str) else tuple([values[one] for one in source])
            for name, source in self.inputs.items()
        }
        for name in self.numbers:
            arguments[name] = self._numbers(name, arguments[name])
        try:
            result = self.function(**self.constants, **arguments)
        except _REFUSALS as error:
            raise BundleError(f"{self.where} cannot run ({reason(error)})") from error
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(self.outputs):
            raise BundleError(f"{self.where} gives {len(results)} results, declared {len(self.outputs)}")
        return results


@dataclass(frozen=True)
class Flexible:
    """The shapes that an input may have: each size within a range (lowest, highest; None: any), or one of a list."""

    ranges: tuple[tuple[int, int | None], ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def smallest(self) -> tuple[int, ...]:
        return min(self.shapes, key=math.prod) if self.shapes else tuple(low for low, _ in self.ranges)

    def allows(self, shape: tuple[int, ...]) -> bool:
        if self.shapes:
            return shape in self.shapes
        return len(shape) == len(self.ranges) and all(
            low <= size and (high is None or size <= high) for size, (low, high) in zip(shape, self.ranges, strict=True)
        )

    def __str__(self) -> str:
        if self.shapes:
            return " or ".join(str(list(shape)) for shape in self.shapes)
        sizes = (str(low) if low == high else f"{low} to {high or 'any'}" for low, high in self.ranges)
        return f"[{', '.join(sizes)}]"


@dataclass(frozen=True)
class Interface:
    """An input or output of the model.

    color: set where Core ML takes a pixel buffer. flexible: what an input's flexible sizes may be.
    """

    name: str
    type: TensorType
    color: str | None = None
    flexible: Flexible | None = None

    def allows(self, shape: tuple[int, ...]) -> bool:
        return self.type.fits(shape) and (self.flexible is None or self.flexible.allows(shape))

    @property
    def smallest(self) -> tuple[int, ...]:
        """The smallest shape that is allowed."""
        return self.type.shape if self.flexible is None else self.flexible.smallest

    @property
    def shapes(self) -> str:
        """As messages say it."""
        return str(list(self.type.shape) if self.flexible is None else self.flexible)


@dataclass(frozen=True)
class Program:
    """A resolved program.

    constants: those that steps or outputs read by name, beside the values that are computed. constant_types: what the
    file declares for the constants that have a name in it. decompressed: by the name of a compressed constant, the step that
    it came from.
    """

    steps: tuple[Step, ...]
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    constants: dict[str, Tensor]
    constant_types: dict[str, TensorType]
    decompressed: dict[str, Step] = field(default_factory=dict)
