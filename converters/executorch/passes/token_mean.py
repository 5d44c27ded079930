"""The mean of all tokens of a map, taken from the map.

Given:  tokens, a map (1, C, H, W) moved to (H W, 1, C) or the like, and their mean over the axis of positions
Result: the mean of the map over height and width, (1, C, 1, 1), reshaped

Identity: both are means of the same H W numbers per channel.
Why: XNNPACK has a mean over height and width of a map, and no other.
"""

from __future__ import annotations

import math

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.views import element_numbers, origin


def to_map(editor: Editor) -> int:
    """Rewrite every mean over one axis of tokens that come from a map."""
    count = 0
    for node in editor.calls(aten.mean.dim):
        source, axes = node.args[0], argument(node, "dim")
        assert isinstance(source, fx.Node)
        found = origin(source)
        if len(axes) != 1 or found is source or len(shape(found)) != 4 or shape(found)[0] != 1:
            continue
        if not _positions_of_each_channel(source, found, axes[0]):
            continue
        with editor.before(node):
            mean = editor.call(aten.mean.dim, found, [2, 3], True)
            editor.replace(node, editor.call(aten.reshape.default, mean, list(shape(node))))
        count += 1
    return count


def _positions_of_each_channel(source: fx.Node, found: fx.Node, axis: int) -> bool:
    """Whether the axis runs over all positions of one channel, and the others over the channels in order."""
    size = math.prod(shape(found)[2:])
    numbers = element_numbers(source, found).movedim(axis, -1)
    numbers = numbers.reshape(-1, numbers.shape[-1])
    wanted = torch.arange(shape(found)[1] * size).reshape(-1, size)
    return numbers.shape == wanted.shape and torch.equal(numbers.sort(-1).values, wanted)
