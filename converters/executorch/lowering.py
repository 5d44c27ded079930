"""From a rewritten program to the bytes of a `.pte`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.export import ExportedProgram
from torch.fx.traceback import NodeSource


def lower(programs: dict[str, ExportedProgram], partitioners: list[Any]) -> Any:
    """Lower methods by name to an ExecuTorch program manager."""
    from executorch.exir import to_edge_transform_and_lower

    with _shared_provenance():
        edge = to_edge_transform_and_lower(programs, partitioner=partitioners)
        return edge.to_executorch()


@contextmanager
def _shared_provenance() -> Iterator[None]:
    """Let nodes share the record of where they come from, instead of copying it.

    Each of ExecuTorch's passes makes every node again, with a record that holds the records of all passes before (
    `torch.fx.traceback.NodeSource`), and copies that deeply: time that grows with the square of the number of passes. The
    records do not change once they are made.
    """
    assert "__deepcopy__" not in vars(NodeSource)
    NodeSource.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del NodeSource.__deepcopy__  # type: ignore[attr-defined]
