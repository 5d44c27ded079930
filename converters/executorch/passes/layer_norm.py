"""Layer norms as products and linear layers.

Given:  (x - mean) * rsqrt(var + eps) * gamma + beta over the last axis, C wide
Result: d = x - linear(x, 1/C), d * rsqrt(linear(d d, 1/C, eps)), and gamma and beta where they are left
Why: `native_layer_norm` is not in XNNPACK's partitioner, nor is a mean over one axis: each norm would end a delegate.
A linear layer with one output is that mean, and brings eps along as its bias.
"""

from __future__ import annotations

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.norm_affine import affine
from converters.executorch.passes.weights import linear


def decompose(editor: Editor) -> int:
    """Decompose every norm over the last axis."""
    count = 0
    for node in editor.calls(aten.layer_norm.default):
        if len(argument(node, "normalized_shape")) != 1:
            continue
        source = node.args[0]
        assert isinstance(source, fx.Node)
        with editor.before(node):
            editor.replace(node, normalised(editor, centred(editor, source), node))
        count += 1
    return count


def mean(editor: Editor, node: fx.Node, eps: float | None = None) -> fx.Node:
    """The mean over the last axis, plus eps. Shapes: (..., C) -> (..., 1)."""
    width = shape(node)[-1]
    kind = node.meta["val"].dtype
    bias = None if eps is None else torch.tensor([eps], dtype=kind)
    return linear(editor, node, torch.full((1, width), 1 / width, dtype=kind), bias, "mean")


def centred(editor: Editor, node: fx.Node) -> fx.Node:
    """x - mean(x). Shapes: (..., C) -> (..., C)."""
    return editor.call(aten.sub.Tensor, node, mean(editor, node))


def normalised(editor: Editor, source: fx.Node, norm: fx.Node) -> fx.Node:
    """What `norm` makes of a source that is centred."""
    squares = editor.call(aten.mul.Tensor, source, source)
    factor = editor.call(aten.rsqrt.default, mean(editor, squares, argument(norm, "eps")))
    result = editor.call(aten.mul.Tensor, source, factor)
    for value, target in zip(affine(editor, norm), (aten.mul.Tensor, aten.add.Tensor), strict=True):
        result = result if value is None else editor.call(target, result, editor.constant(value))
    return result
