"""What a Core AI program consists of, as plain data that another process can be given.

Core AI's reader is native code that aborts on a damaged file, so `read_graph` is for the worker; everyone else calls
`coreai_runtime.graph_of`. Sizes of constants are of what is stored: four-bit numbers take half a byte.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from msgspec import Struct

MAX_OPERATIONS = 200_000  # of all functions of a file
# In what a call says of its function, which is a parameter that may be computed: `#param.constant<@gelu_0> : !param.symbol`
CALLED = re.compile(r"@([\w.$-]+)")


class Value(Struct, frozen=True, forbid_unknown_fields=True):
    """A result or an argument. id: within its function. shape, dtype: as declared, `f16`, `si32`, `ui4`."""

    id: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """One operation. name: without its dialect. reads: ids. stored_bytes: of a constant. calls: the function it runs."""

    name: str
    reads: tuple[int, ...]
    results: tuple[Value, ...]
    stored_bytes: int = 0
    calls: str | None = None


class Function(Struct, frozen=True, forbid_unknown_fields=True):
    """Operations in the order in which they run."""

    arguments: tuple[Value, ...]
    nodes: tuple[Node, ...]


class Graph(Struct, frozen=True, forbid_unknown_fields=True):
    """A file's functions by name; `main` is the one that runs."""

    functions: dict[str, Function]


def read_graph(path: Path) -> Graph:
    """Read the program of an `.aimodel`. Raises RuntimeError, or ends the process, if it is damaged."""
    from coreai.authoring import AIModelAsset

    module = AIModelAsset.load(path).program._module._mlir_module
    functions = {}
    for operation in module.body.operations:
        if operation.operation.name != "coreai.graph":
            raise RuntimeError(f"it has a {operation.operation.name} where only functions are known")
        functions[operation.attributes["sym_name"].value] = _function(operation)
    if "main" not in functions:
        raise RuntimeError(f"it has no function main, only {', '.join(functions) or 'none'}")
    return Graph(functions)


def _function(operation: Any) -> Function:
    (block,) = operation.regions[0].blocks
    numbers: dict[Any, int] = {}

    def value(found: Any) -> Value:
        numbers[found] = len(numbers)
        shaped = found.type
        return Value(numbers[found], tuple(shaped.shape), str(shaped.element_type))

    arguments = tuple(value(argument) for argument in block.arguments)
    nodes: list[Node] = []
    for inner in block.operations:
        if len(nodes) == MAX_OPERATIONS:
            raise RuntimeError(f"more than {MAX_OPERATIONS} operations")
        reads = tuple(numbers[operand] for operand in inner.operands)
        name = inner.operation.name.removeprefix("coreai.").removeprefix("decomposable.")
        stored = 0
        if name == "constant":
            shaped = inner.results[0].type
            stored = math.ceil(math.prod(shaped.shape) * shaped.element_type.width / 8)
        calls = _callee(inner.attributes["callee"]) if "callee" in inner.attributes else None
        nodes.append(Node(name, reads, tuple(value(result) for result in inner.results), stored, calls))
    return Function(arguments, tuple(nodes))


def _callee(attribute: Any) -> str:
    names: list[str] = CALLED.findall(str(attribute))
    if len(names) != 1:
        raise RuntimeError(f"it calls {str(attribute)[:80]}, where only the name of a function is known")
    return names[0]
