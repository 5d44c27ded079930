"""A tower's embeddings as a plan leaves them, with every rounding of XNNPACK's made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from torch import Tensor, fx

from converters.exactness.replay import Replay
from converters.executorch.passes.editor import Editor, argument
from converters.executorch.quantization.embedding import looked_up
from converters.executorch.quantization.pairs import Range
from converters.executorch.quantization.plan import (
    Integers,
    Plan,
    activations,
    bounded,
    integers,
    ranged,
    rounded_as_it_comes,
    shared_range,
    stored,
)
from converters.executorch.quantization.ranges import best_range, observed, rounded_to
from converters.executorch.quantization.units import Unit


class Simulation(Replay[Unit, Integers]):
    """One tower on some samples. samples: inputs with a batch of 1; originals: (N, D) float32."""

    def __init__(self, editor: Editor, units: Sequence[Unit], samples: Sequence[Tensor], originals: np.ndarray) -> None:
        super().__init__(editor.module, samples, originals)
        self.editor = editor
        self.units = tuple(units)
        self._weights: dict[tuple[fx.Node, str], Tensor] = {}
        self._ranges: dict[fx.Node, Range] | None = None

    @property
    def ranges(self) -> Mapping[fx.Node, Range]:
        """Of all results that any plan can have in int8, seen on all samples."""
        if self._ranges is None:
            whole = integers(self.editor, {unit: "w8a8" for unit in self.units if "w8a8" in unit.forms})
            seen = observed(self.editor, ranged(self.editor, whole), self._samples)
            self._ranges = bounded(self.editor, whole, {node: best_range(values) for node, values in seen.items()})
        return self._ranges

    def _changes(self, plan: Plan) -> Integers:
        return integers(self.editor, plan)

    def _touched(self, changes: Integers) -> Set[fx.Node]:
        return changes.static | set(changes.forms)

    def _computes(self, node: fx.Node) -> Any:
        return looked_up(node) or node.target

    def _result(self, node: fx.Node, result: Any, changes: Integers) -> Any:
        return self._int8(node, result, changes) if node in changes.static else result

    def _given(self, given: fx.Node, reader: fx.Node, values: Any, changes: Integers) -> Any:
        value = values[given]
        form = changes.forms.get(reader)
        if form is not None and given is argument(reader, "weight"):
            return self._weight(reader, given, form)
        if reader in changes.dynamic and given is argument(reader, "input"):
            return rounded_as_it_comes(value, "conv" in str(reader.target))
        if reader in changes.static and given not in changes.static and given in activations(self.editor, reader):
            return self._int8(given, value, changes)
        return value

    def _int8(self, node: fx.Node, value: Tensor, whole: Integers) -> Tensor:
        return rounded_to(value, self.ranges[shared_range(self.editor, whole, node)])

    def _weight(self, reader: fx.Node, given: fx.Node, form: str) -> Tensor:
        key = reader, "w8" if form == "w8a8" else form
        if key not in self._weights:
            value = self.editor.value(given)
            assert value is not None
            self._weights[key] = stored(value, form).decoded()
        return self._weights[key]
