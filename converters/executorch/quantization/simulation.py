"""A tower's embeddings as a plan leaves them, computed in float with every rounding made by hand.

A float run of each sample is kept; for a plan only what lies downstream of its roundings is computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

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

_Values = dict[fx.Node, Any]


class Simulation:
    """One tower on some samples. samples: inputs with a batch of 1; originals: (N, D) float32."""

    def __init__(self, editor: Editor, units: Sequence[Unit], samples: Sequence[Tensor], originals: np.ndarray) -> None:
        self.editor = editor
        self.units = tuple(units)
        self._samples = samples
        self._originals = originals / np.linalg.norm(originals, axis=1, keepdims=True)
        self._weights: dict[tuple[fx.Node, str], Tensor] = {}
        self._ranges: dict[fx.Node, Range] | None = None
        self._runs: dict[int, _Values] = {}

    @property
    def ranges(self) -> Mapping[fx.Node, Range]:
        """Of all results that any plan can have in int8, seen on all samples."""
        if self._ranges is None:
            whole = integers(self.editor, {unit: "w8a8" for unit in self.units if "w8a8" in unit.forms})
            seen = observed(self.editor, ranged(self.editor, whole), self._samples)
            self._ranges = bounded(self.editor, whole, {node: best_range(values) for node, values in seen.items()})
        return self._ranges

    def cosines(self, plan: Plan, which: Sequence[int] | None = None) -> np.ndarray:
        """With the originals, one for each sample. which: numbers of samples; None, all."""
        whole = integers(self.editor, plan)
        found = []
        for number in range(len(self._samples)) if which is None else which:
            embedding = self._embedding(whole, number)
            found.append(float(embedding @ self._originals[number] / np.linalg.norm(embedding)))
        return np.array(found)

    def record(self, which: Sequence[int]) -> None:
        """Keep float runs of these samples, and of no others."""
        self._runs = {number: self._run(number) for number in which}

    def _embedding(self, whole: Integers, number: int) -> np.ndarray:
        kept = self._runs.get(number)
        values = self._run(number, whole) if kept is None else self._again(kept, whole)
        return np.asarray(values[self._output()].reshape(-1).double())

    def _output(self) -> fx.Node:
        last = next(iter(reversed(self.editor.graph.nodes)))
        return last.all_input_nodes[0]

    @torch.no_grad()
    def _run(self, number: int, whole: Integers | None = None) -> _Values:
        """Every result, or with a plan the embedding alone."""
        values: _Values = {}
        left = {node: len(node.users) for node in self.editor.graph.nodes}
        output = self._output()
        for node in self.editor.graph.nodes:
            if node.op == "output":
                break
            values[node] = self._value(node, values, whole, number)
            for given in node.all_input_nodes if whole is not None else ():
                left[given] -= 1
                if left[given] == 0 and given is not output:
                    del values[given]
        return values

    @torch.no_grad()
    def _again(self, kept: _Values, whole: Integers) -> _Values:
        """A kept run, with what a plan changes."""
        changed: _Values = {}
        touched = whole.static | set(whole.forms)
        for node in self.editor.graph.nodes:
            if node.op != "call_function":
                continue
            if node in touched or any(given in changed for given in node.all_input_nodes):
                changed[node] = self._value(node, _Layered(changed, kept), whole, 0)
        return {self._output(): _Layered(changed, kept)[self._output()]}

    def _value(self, node: fx.Node, values: Any, whole: Integers | None, number: int) -> Any:
        if node.op == "placeholder":
            return self._samples[number]
        if node.op == "get_attr":
            return self.editor.value(node)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda given: self._given(given, node, values, whole))
        compute = looked_up(node) or node.target
        result = compute(*args, **kwargs)  # type: ignore[operator]
        return self._int8(node, result, whole) if whole is not None and node in whole.static else result

    def _given(self, given: fx.Node, reader: fx.Node, values: Any, whole: Integers | None) -> Any:
        value = values[given]
        if whole is None:
            return value
        form = whole.forms.get(reader)
        if form is not None and given is argument(reader, "weight"):
            return self._weight(reader, given, form)
        if reader in whole.dynamic and given is argument(reader, "input"):
            return rounded_as_it_comes(value, "conv" in str(reader.target))
        if reader in whole.static and given not in whole.static and given in activations(self.editor, reader):
            return self._int8(given, value, whole)
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


class _Layered:
    """Values of which some were computed again."""

    def __init__(self, changed: _Values, kept: _Values) -> None:
        self._changed, self._kept = changed, kept

    def __getitem__(self, node: fx.Node) -> Any:
        return self._changed[node] if node in self._changed else self._kept[node]
