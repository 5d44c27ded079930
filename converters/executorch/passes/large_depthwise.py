"""Depthwise convolutions too large for XNNPACK's kernels, as a sum of smaller ones.

Given:  depthwise conv2d with a square odd kernel of more than 25 taps, padded by half of it, such as 7x7
Result: the 5x5 in the middle, and for each ring around it, at distance r: the rows +-r on every other column, the rows +-r
        on the columns between, and the columns +-r in the same way without the corners; all as dilated kernels, padded
        symmetrically, summed. For 7x7: 25 + 8 + 6 + 6 + 4 taps

Identity: a convolution is a sum over taps.
Why: XNNPACK has depthwise kernels for 3, 4, 9 and 25 taps and falls to its general grouped convolution beyond, which is 10 to
16 times slower than a 5x5. A kernel costs as much as the next of these sizes: 25 + 9 + 9 + 9 + 4 = 56 here, where three
groups of rows (3x7, 2x7, 2x7) cost 75; measured, 0.68 to 0.83 of their time at 64x64 to 8x8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten
from converters.executorch.passes.weights import Layer, layer, layer_call

MOST_TAPS = 25  # of XNNPACK's depthwise kernels
_MIDDLE = 2  # how far the 5x5 reaches


def split(editor: Editor) -> int:
    """Split every one of them."""
    count = 0
    for node in editor.calls(aten.conv2d.default):
        found = layer(editor, node)
        if found is None or not _is_large(found):
            continue
        with editor.before(node):
            editor.replace(node, _sum(editor, found))
        count += 1
    return count


def _is_large(found: Layer) -> bool:
    height, width = found.weight.shape[2:]
    depthwise = found.groups == found.weight.shape[0] > 1 and found.weight.shape[1] == 1
    plain = list(argument(found.node, "dilation")) == [1, 1] and height == width and height % 2 == 1
    padded = list(argument(found.node, "padding")) == [height // 2, width // 2]
    return depthwise and plain and padded and height * width > MOST_TAPS


def _sum(editor: Editor, found: Layer) -> fx.Node:
    stride = list(argument(found.node, "stride"))
    total: fx.Node | None = None
    for rows, columns in _parts(found.weight.shape[2] // 2):
        bias = found.bias if total is None else None
        options = (stride, [rows.reach, columns.reach], [rows.step, columns.step], found.groups)
        weight = found.weight[:, :, rows.indices(found.weight.shape[2])][:, :, :, columns.indices(found.weight.shape[3])]
        part = layer_call(editor, aten.conv2d.default, found.source, weight, bias, options, found.name)
        total = part if total is None else editor.call(aten.add.Tensor, total, part)
    assert total is not None
    return total


@dataclass(frozen=True)
class _Line:
    """Taps at -reach, -reach + step, ..., reach from the middle."""

    reach: int
    step: int

    def indices(self, size: int) -> list[int]:
        """Their places in a kernel."""
        return list(range(size // 2 - self.reach, size // 2 + self.reach + 1, self.step))


def _parts(half: int) -> Iterator[tuple[_Line, _Line]]:
    """Rows and columns of each part of a kernel that reaches `half` from its middle; every tap is in one part."""
    yield _Line(_MIDDLE, 1), _Line(_MIDDLE, 1)
    for distance in range(_MIDDLE + 1, half + 1):
        far = _Line(distance, 2 * distance)
        yield far, _Line(distance, 2)
        yield far, _Line(distance - 1, 2)
        yield _Line(distance - 1, 2), far
        yield _Line(distance - 2, 2), far
