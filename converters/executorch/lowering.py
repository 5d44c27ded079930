"""From rewritten programs to the bytes of a `.pte`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.export import ExportedProgram

from converters.executorch.coverage import coverage
from converters.executorch.savings import savings
from converters.executorch.watching import listening
from edgeclip.target import Delegation


@dataclass(frozen=True)
class LoweredProgram:
    """The content of a `.pte`, and what of each of its methods is in delegates."""

    content: bytes
    delegations: Mapping[str, Delegation]


def lower(methods: Mapping[str, tuple[ExportedProgram, list[Any]]]) -> LoweredProgram:
    """Lower programs, each with its partitioners, to the methods of one file. Constants that are equal are stored once."""
    from executorch.exir import to_edge_transform_and_lower

    programs = {name: program for name, (program, _) in methods.items()}
    partitioners = {name: chosen for name, (_, chosen) in methods.items()}
    with savings():
        with listening() as reasons:
            edge = to_edge_transform_and_lower(programs, partitioner=partitioners)
        delegations = {name: coverage(edge.exported_program(name).graph_module, reasons) for name in methods}
        return LoweredProgram(edge.to_executorch().buffer, delegations)
