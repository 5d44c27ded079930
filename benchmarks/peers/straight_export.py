"""ExecuTorch as its documentation shows it: export, XNNPACK partitioner, `.pte`; no rewriting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from latency.case import Case
from latency.contender import Contender
from peers.executorch_program import load_program

_FILE = "tower.pte"


def _build(tower: Callable[[Case], Any], case: Case, folder: Path) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with torch.no_grad():
        program = torch.export.export(tower(case), (case.example(),), strict=False)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    (folder / _FILE).write_bytes(lowered.to_executorch().buffer)


def _contender(name: str, label: str, tower: Callable[[Case], Any], note: str) -> Contender:
    return Contender(
        name=name,
        label=label,
        packages=("torch", "executorch"),
        sources=("benchmarks/peers/straight_export.py",),
        build=partial(_build, tower),
        load=lambda _, folder, threads: load_program(folder / _FILE, threads),
        note=note,
    )


CONTENDERS = (
    _contender("straight", "ExecuTorch fp32, straight export", Case.original, "the tower as the checkpoint holds it"),
    _contender(
        "straight-fused", "ExecuTorch fp32, branches fused", Case.fused, "branches and batch norms merged before the export"
    ),
)
