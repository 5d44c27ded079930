"""Depthwise convolutions too large for XNNPACK's kernels, as a sum of smaller ones.

Given:  depthwise conv2d with an odd kernel of more than 25 taps, padded by half of it, such as 7x7
Result: convolutions over some of its rows each, summed: the rows in the middle, and pairs of rows at equal distance from the
        middle as kernels of two rows with that dilation; all padded symmetrically. For 7x7: rows 2 to 4, {1, 5} and {0, 6}

Identity: a convolution is a sum over taps.
Why: XNNPACK has depthwise kernels for up to 25 taps and falls to its general grouped convolution beyond, which is 10 to 16
times slower than a 5x5.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, argument, aten
from converters.executorch.passes.weights import Layer, layer, layer_call

MOST_TAPS = 25  # of XNNPACK's unipass depthwise kernels


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
    plain = list(argument(found.node, "dilation")) == [1, 1] and height % 2 == 1 and 2 * width <= MOST_TAPS
    padded = list(argument(found.node, "padding")) == [height // 2, width // 2]
    return depthwise and plain and padded and height * width > MOST_TAPS


def _sum(editor: Editor, found: Layer) -> fx.Node:
    stride = list(argument(found.node, "stride"))
    total: fx.Node | None = None
    for weight, padding, dilation in _parts(found.weight):
        bias = found.bias if total is None else None
        options = (stride, padding, dilation, found.groups)
        part = layer_call(editor, aten.conv2d.default, found.source, weight, bias, options)
        total = part if total is None else editor.call(aten.add.Tensor, total, part)
    assert total is not None
    return total


def _parts(weight: Tensor) -> Iterator[tuple[Tensor, list[int], list[int]]]:
    """Kernels with their padding and dilation. weight: (C, 1, H, W)."""
    height, width = weight.shape[2:]
    middle, beside = height // 2, width // 2
    reach = (MOST_TAPS // width - 1) // 2  # rows on each side that still fit into one kernel
    yield weight[:, :, middle - reach : middle + reach + 1], [reach, beside], [1, 1]
    for distance in range(reach + 1, middle + 1):
        rows = torch.stack([weight[:, :, middle - distance], weight[:, :, middle + distance]], 2)
        yield rows, [distance, beside], [2 * distance, 1]
