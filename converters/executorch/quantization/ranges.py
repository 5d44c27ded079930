"""Ranges of int8 activations: of those tried, the one that leaves the least squared error on calibration samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor
from converters.executorch.quantization.pairs import INT8, Range

_CLIPS = np.geomspace(0.25, 1.0, 13)  # of the lowest or highest value seen
_VALUES = 1024  # of each sample and tensor that stand for all
_LEAST = 1e-8  # a scale of what is always zero


def observed(editor: Editor, nodes: Collection[fx.Node], samples: Sequence[Tensor]) -> dict[fx.Node, list[Tensor]]:
    """Some values of each of these results, its lowest and highest among them, for each sample.

    samples: the tower's inputs, each with a batch of 1.
    """
    wanted, seen = set(nodes), {node: list[Tensor]() for node in nodes}
    drawn = torch.Generator().manual_seed(0)  # at even steps they would lie in one column, or a few channels

    class _Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            if n in wanted:
                flat = result.reshape(-1)
                some = flat[torch.randint(flat.numel(), (_VALUES,), generator=drawn)]
                seen[n].append(torch.cat([some, flat.min()[None], flat.max()[None]]))
            return result

    with torch.no_grad():
        for sample in samples:
            _Observer(editor.module).run(sample)
    return seen


def best_range(seen: Sequence[Tensor]) -> Range:
    """The range for values of several samples. Errors count relative to a sample's own size, so that none counts for more."""
    low = min(0.0, *(float(values.min()) for values in seen))
    high = max(0.0, *(float(values.max()) for values in seen))
    together = torch.cat(list(seen))
    weights = torch.cat([torch.full_like(values, 1 / max(float(values.square().sum()), 1e-12)) for values in seen])

    def error(given: Range) -> float:
        return float(((rounded_to(together, given) - together).square() * weights).sum())

    top = min(_CLIPS, key=lambda clip: error(range_of(low, clip * high)))
    bottom = min(_CLIPS, key=lambda clip: error(range_of(clip * low, top * high)))
    return range_of(bottom * low, top * high)


def range_of(low: float, high: float) -> Range:
    """The range from low to high, which holds zero exactly, as padding needs it."""
    least, most = INT8
    scale = float(np.float32(max((high - low) / (most - least), _LEAST)))
    return Range(scale, int(np.clip(round(least - low / scale), least, most)))


def rounded_to(values: Tensor, given: Range) -> Tensor:
    """What is left of float values in int8."""
    return ((values / given.scale).round() + given.zero_point).clamp(*INT8).sub(given.zero_point) * given.scale
