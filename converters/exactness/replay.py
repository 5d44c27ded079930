"""A tower's embeddings as a plan leaves them, computed in float with what the plan changes made by hand.

A float run of each sample is kept; for a plan only what lies downstream of its changes is computed again.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, fx

from converters.exactness.search import Unit

U = TypeVar("U", bound=Unit)
C = TypeVar("C")  # what a plan changes, as a target describes it
_Values = dict[fx.Node, Any]


class Replay(ABC, Generic[U, C]):
    """One tower on some samples. samples: inputs with a batch of 1; originals: (N, D) float32."""

    def __init__(self, module: fx.GraphModule, samples: Sequence[Tensor], originals: np.ndarray) -> None:
        self._module = module
        self._samples = samples
        self._originals = originals / np.linalg.norm(originals, axis=1, keepdims=True)
        self._runs: dict[int, _Values] = {}

    @abstractmethod
    def _changes(self, plan: Mapping[U, str]) -> C:
        """What a plan makes of the tower."""

    @abstractmethod
    def _touched(self, changes: C) -> Set[fx.Node]:
        """The calls whose own result differs, whatever their arguments are."""

    def _given(self, given: fx.Node, reader: fx.Node, values: Any, changes: C) -> Any:
        """What a call gets for one of its arguments."""
        return values[given]

    def _result(self, node: fx.Node, result: Any, changes: C) -> Any:
        """What is left of a call's result."""
        return result

    def _computes(self, node: fx.Node) -> Any:
        """The function of a call."""
        return node.target

    def cosines(self, plan: Mapping[U, str], which: Sequence[int] | None = None) -> np.ndarray:
        """With the originals, one for each sample. which: numbers of samples; None, all."""
        changes = self._changes(plan)
        found = []
        for number in range(len(self._samples)) if which is None else which:
            embedding = self._embedding(changes, number)
            found.append(float(embedding @ self._originals[number] / np.linalg.norm(embedding)))
        return np.array(found)

    def record(self, which: Sequence[int]) -> None:
        """Keep float runs of these samples, and of no others."""
        self._runs = {number: self._run(number) for number in which}

    def _embedding(self, changes: C, number: int) -> np.ndarray:
        kept = self._runs.get(number)
        values = self._run(number, changes) if kept is None else self._again(kept, changes)
        return np.asarray(values[self._output()].reshape(-1).double())

    def _output(self) -> fx.Node:
        last = next(iter(reversed(self._module.graph.nodes)))
        return last.all_input_nodes[0]

    @torch.no_grad()
    def _run(self, number: int, changes: C | None = None) -> _Values:
        """Every result, or with a plan's changes the embedding alone."""
        values: _Values = {}
        left = {node: len(node.users) for node in self._module.graph.nodes}
        output = self._output()
        for node in self._module.graph.nodes:
            if node.op == "output":
                break
            values[node] = self._value(node, values, changes, number)
            for given in node.all_input_nodes if changes is not None else ():
                left[given] -= 1
                if left[given] == 0 and given is not output:
                    del values[given]
        return values

    @torch.no_grad()
    def _again(self, kept: _Values, changes: C) -> _Values:
        """A kept run, with what a plan changes."""
        changed: _Values = {}
        touched = self._touched(changes)
        for node in self._module.graph.nodes:
            if node.op != "call_function":
                continue
            if node in touched or any(given in changed for given in node.all_input_nodes):
                changed[node] = self._value(node, _Layered(changed, kept), changes, 0)
        return {self._output(): _Layered(changed, kept)[self._output()]}

    def _value(self, node: fx.Node, values: Any, changes: C | None, number: int) -> Any:
        if node.op == "placeholder":
            return self._samples[number]
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self._module)
        if changes is None:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda given: values[given])
            return self._computes(node)(*args, **kwargs)
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda given: self._given(given, node, values, changes))
        return self._result(node, self._computes(node)(*args, **kwargs), changes)


class _Layered:
    """Values of which some were computed again."""

    def __init__(self, changed: _Values, kept: _Values) -> None:
        self._changed, self._kept = changed, kept

    def __getitem__(self, node: fx.Node) -> Any:
        return self._changed[node] if node in self._changed else self._kept[node]
