"""Which weights a scheme leaves more exact, so that the embedding holds the scheme's floor.

Tried out in torch, in float32, with the weights that the program decompresses: Core AI's portable runtime would take minutes
for each of hundreds of trials. What float16 costs besides is in the margin between a scheme's floor and `verify`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from converters.coreai.compression import FLOAT, SCHEMES
from converters.coreai.weights import Weight, find_weights
from converters.exactness.replay import Replay
from converters.exactness.search import refine, uniform
from edgeclip.errors import BudgetError
from edgeclip.models.towers import ExportedTower
from edgeclip.progress import Progress
from edgeclip.recipe import Recipe
from edgeclip.target import Context


class Simulation(Replay[Weight, Mapping[fx.Node, Tensor]]):
    """One tower on some samples. samples: inputs with a batch of 1; originals: (N, D) float32."""

    def _changes(self, plan: Mapping[Weight, str]) -> Mapping[fx.Node, Tensor]:
        stored = {weight.source: weight.decompressed(form) for weight, form in plan.items() if form != FLOAT}
        read = [node for node in self._module.graph.nodes if node.op == "get_attr" and str(node.target) in stored]
        return {node: torch.from_numpy(stored[str(node.target)].astype(np.float32)) for node in read}

    def _touched(self, changes: Mapping[fx.Node, Tensor]) -> Set[fx.Node]:
        return {reader for node in changes for reader in node.users}

    def _given(self, given: fx.Node, reader: fx.Node, values: Any, changes: Mapping[fx.Node, Tensor]) -> Any:
        return changes[given] if given in changes else values[given]


def compress(
    program: Any,
    converted: ExportedProgram,
    exported: ExportedTower,
    recipe: Recipe,
    context: Context | None,
    progress: Progress,
) -> dict[str, str] | None:
    """Compress the weights of an `AIProgram` as a scheme has them -> how each is stored, where that differs.

    converted: what the program was made from; exported: the same in float32. Without samples, nothing is left more exact.
    Raises BudgetError where the floor cannot be held.
    """
    scheme = SCHEMES[recipe.scheme]
    with progress(f"compressing the {exported.tower} tower: {recipe.scheme}"):
        weights = find_weights(program, converted, scheme.forms)
    plan = uniform(weights, scheme.forms)
    if context is not None:
        with progress(f"choosing what stays more exact: coreai {recipe.scheme} {exported.tower}") as task:
            tower = exported.program.module(check_guards=False)
            simulation = Simulation(tower, _batches(context.samples()), context.originals())
            plan, cosine = refine(simulation, plan, scheme.forms, scheme.floor, task)
        if cosine < scheme.floor:
            raise BudgetError(
                f"coreai: {recipe.model}: scheme {recipe.scheme} comes to cosine {cosine:.4f} on the calibration samples"
                f" even with its {exported.tower} tower's weights in float16, below {scheme.floor:g}; use another scheme"
            )
    for weight, form in plan.items():
        weight.store(form)
    return {weight.name: form for weight, form in plan.items()} if len(set(plan.values())) > 1 else None


def _batches(samples: np.ndarray) -> Sequence[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(row[None])) for row in samples]
