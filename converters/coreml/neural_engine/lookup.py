"""The token lookup: the table of token embeddings, read by the ids, and the integer work that only prepares the ids."""

from __future__ import annotations

from functools import lru_cache

from converters.coreml.neural_engine.graph import INTEGERS, Graph, Operation

# What converters put between the ids and the table: wrapping negative indices, a narrower type, another shape.
_PREPARATIONS = frozenset(
    {
        "add",
        "cast",
        "clip",
        "expand_dims",
        "greater_equal",
        "less",
        "maximum",
        "minimum",
        "reshape",
        "select",
        "squeeze",
        "stack",
    }
)
_LOOKUPS = frozenset({"gather", "gather_nd"})


@lru_cache(maxsize=1)  # asked for every operation of one graph after the other
def token_lookups(graph: Graph) -> frozenset[int]:
    """Indices of the operations that are the token lookup: gathers of a constant table by the program's integer input, as it
    is or prepared value by value, and those preparations, where nothing else reads them."""
    ids = {name for name in graph.inputs if graph.types[name].dtype in INTEGERS}
    prepared: list[Operation] = []
    found: set[int] = set()
    for operation in graph.operations:
        runtime = graph.runtime(operation)
        if not runtime or not ids.issuperset(runtime):
            continue
        if operation.type in _PREPARATIONS:
            prepared.append(operation)
            ids.update(name for name, _ in operation.results)
        elif operation.type in _LOOKUPS and runtime == [graph.operand(operation, "indices")]:
            found.add(operation.index)
    for operation in reversed(prepared):
        if graph.read_only_by(operation, frozenset(found)):
            found.add(operation.index)
    return frozenset(found)
