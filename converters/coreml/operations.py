"""What an `.mlpackage` does, by operation, and where the rules of `neural_engine` place it."""

from __future__ import annotations

from pathlib import Path

from converters.coreml.neural_engine.graph import Graph
from converters.coreml.neural_engine.graph import Operation as Node
from converters.coreml.neural_engine.lint import lint_package
from edgeclip.errors import NotRunnableError
from edgeclip.operations import Operation

# A lookup reads the rows that are asked for, not the table.
_LOOKUPS = frozenset({"gather", "gather_along_axis", "gather_nd"})


def operations(path: Path, method: str = "main") -> list[Operation]:
    """The `main` function; a package has no other. Raises NotRunnableError where shapes are known only when it runs."""
    lint = lint_package(path)
    found = []
    for finding in lint.findings:
        node = finding.operation
        activations = _activation_bytes(node, lint.graph)
        if finding.macs is None or activations is None:
            raise NotRunnableError(f"{path}: {node.type} {node.name!r}: what it costs depends on shapes of the input")
        stored, values = (0, 0) if node.type in _LOOKUPS else _weights(node, lint.graph)
        found.append(Operation(node.type, finding.unit, finding.macs, stored, values, activations))
    return found


def segments(path: Path) -> tuple[str, ...]:
    """The units in the order in which they take over, e.g. ("cpu", "ne")."""
    return lint_package(path).segments


def _weights(node: Node, graph: Graph) -> tuple[int, int]:
    """(bytes as stored, values) of all constants that an operation reads."""
    parts = [graph.stored(name) for names in node.operands.values() for name in names if graph.is_constant(name)]
    return sum(stored for stored, _ in parts), sum(values for _, values in parts)


def _activation_bytes(node: Node, graph: Graph) -> int | None:
    total = 0
    for kind in graph.values(node):
        if not kind.dtype:  # lists, states
            continue
        if kind.size_bytes is None:
            return None
        total += kind.size_bytes
    return total
