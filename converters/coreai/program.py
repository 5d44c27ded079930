"""A Core AI program as it runs: functions taken apart where they are called, constants decompressed beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgeclip.errors import BundleError
from edgeclip.reference.coreai_graph import Function, Graph, Value

_MOST_STEPS = 1_000_000
_MOST_CALLS = 16  # one inside another
# Of constants that steer an operation: sizes, axes, strides. Weights are floats, or integers of a byte and less.
_SETTINGS = frozenset({"i1", "si16", "ui16", "si32", "ui32", "si64", "ui64", "i32", "i64", "index"})


@dataclass(frozen=True)
class Tensor:
    """A value while the program runs. stored_bytes: of the constants that it is made of; None: computed from the input."""

    shape: tuple[int, ...]
    dtype: str
    elements: int
    stored_bytes: int | None = None

    @property
    def is_weight(self) -> bool:
        return self.stored_bytes is not None and self.dtype not in _SETTINGS


@dataclass(frozen=True)
class Step:
    """One operation that runs."""

    name: str
    reads: tuple[Tensor, ...]
    results: tuple[Tensor, ...]


class Program:
    """`main`, and the functions that it calls. Raises BundleError for what does not fit together."""

    def __init__(self, graph: Graph) -> None:
        self._functions = graph.functions
        self._count = 0

    def steps(self) -> list[Step]:
        """Everything that runs, in order; what only decompresses or reorders constants does not count."""
        self._count = 0
        main = self._functions["main"]
        found: list[Step] = []
        self._run("main", [_tensor(argument) for argument in main.arguments], found, 0)
        return found

    def stored(self) -> Iterator[tuple[Value, int]]:
        """Constants that are weights, or what weights are compressed to, each once, and the bytes of each."""
        for function in self._functions.values():
            for node in function.nodes:
                if node.name == "constant" and node.results[0].dtype not in _SETTINGS:
                    yield node.results[0], node.stored_bytes

    def _run(self, name: str, given: Sequence[Tensor], found: list[Step], depth: int) -> tuple[Tensor, ...]:
        function = self._functions.get(name)
        if function is None or depth > _MOST_CALLS or len(given) != len(function.arguments):
            raise BundleError(f"Core AI program: no function {name!r} for {len(given)} values")
        values = dict(zip((argument.id for argument in function.arguments), given, strict=True))
        return self._nodes(function, values, found, depth)

    def _nodes(self, function: Function, values: dict[int, Tensor], found: list[Step], depth: int) -> tuple[Tensor, ...]:
        for node in function.nodes:
            self._count += 1
            if self._count > _MOST_STEPS:
                raise BundleError(f"Core AI program: more than {_MOST_STEPS} operations")
            reads = tuple([values[number] for number in node.reads])
            if node.name == "output":
                return reads
            results = tuple(map(_tensor, node.results))
            if node.calls is not None:
                results = self._run(node.calls, reads, found, depth + 1)
            elif node.name == "constant":
                results = tuple([replace(result, stored_bytes=node.stored_bytes) for result in results])
            elif all(read.stored_bytes is not None for read in reads):
                total = sum(read.stored_bytes or 0 for read in reads if read.is_weight)
                results = tuple([replace(result, stored_bytes=total) for result in results])
            else:
                found.append(Step(node.name, reads, results))
            values |= {value.id: result for value, result in zip(node.results, results, strict=True)}
        raise BundleError("Core AI program: a function without an output")


def _tensor(value: Value) -> Tensor:
    return Tensor(value.shape, value.dtype, value.elements)
