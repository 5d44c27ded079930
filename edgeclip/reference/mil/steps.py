"""A resolved program: steps, each bound to its function, and the interface."""

from __future__ import annotations

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
    frees: the values that no later step reads.
    """

    op: str
    where: str
    function: Callable[..., Any]
    constants: dict[str, Any]
    inputs: dict[str, str | tuple[str, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    sources: dict[str, str] = field(default_factory=dict)
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

    def run(self, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The results, one per output; BundleError where the operation cannot be done."""
        arguments = {
            name: values[source] if isinstance(source, str) else tuple([values[one] for one in source])
            for name, source in self.inputs.items()
        }
        try:
            result = self.function(**self.constants, **arguments)
        except _REFUSALS as error:
            raise BundleError(f"{self.where} cannot run ({reason(error)})") from error
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(self.outputs):
            raise BundleError(f"{self.where} gives {len(results)} results, declared {len(self.outputs)}")
        return results


@dataclass(frozen=True)
class Interface:
    """An input or output of the model; `color` is set where Core ML takes a pixel buffer."""

    name: str
    type: TensorType
    color: str | None = None


@dataclass(frozen=True)
class Program:
    """A resolved program.

    constants: those that steps or outputs read by name, beside the values that are computed. constant_types: what the
    file declares for the constants that have a name in it.
    """

    steps: tuple[Step, ...]
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    constants: dict[str, Tensor]
    constant_types: dict[str, TensorType]
