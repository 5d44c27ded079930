"""Unit length as a product with a reciprocal square root.

Given:  x / max(||x||, eps), as `F.normalize` exports it
Result: y * rsqrt(max(sum of y^2, (s eps)^2)) with y = s x, the sum as a linear layer with ones
Identity: the square root is monotonous. eps = 1e-12, whose square is a normal float32. s is a power of 2, which rounds nothing,
and s^2 next to 1 / C: the sum is about the mean of the squares of x, which float16 holds for norms up to 255 / s.
Why: XNNPACK has neither `linalg_vector_norm` nor a sum over the last axis; as a linear layer it has it.
"""

from __future__ import annotations

import math

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.weights import linear


def rewrite(editor: Editor) -> int:
    """Rewrite every division by a norm over the last axis."""
    count = 0
    for node in editor.calls(aten.div.Tensor):
        source, divisor = node.args
        eps = _norm_of(divisor, source)
        if eps is None:
            continue
        assert isinstance(source, fx.Node)
        with editor.before(node):
            width, dtype = shape(source)[-1], source.meta["val"].dtype
            step = 2.0 ** -int(math.log(width, 4))
            short = editor.call(aten.mul.Tensor, source, editor.constant(torch.tensor([step], dtype=dtype)))
            total = linear(editor, editor.call(aten.mul.Tensor, short, short), torch.ones(1, width, dtype=dtype))
            bounded = editor.call(aten.clamp.default, total, (step * eps) ** 2)
            editor.replace(node, editor.call(aten.mul.Tensor, short, editor.call(aten.rsqrt.default, bounded)))
        count += 1
    return count


def _norm_of(node: object, source: object) -> float | None:
    """The least norm, if a node is the norm of `source` with a lower bound, spread over the last axis."""
    if isinstance(node, fx.Node) and node.target in (aten.expand_as.default, aten.expand.default):
        node = node.args[0]
    if not isinstance(node, fx.Node) or node.target is not aten.clamp_min.default:
        return None
    norm, eps = node.args
    if not isinstance(norm, fx.Node) or norm.target is not aten.linalg_vector_norm.default or norm.args[0] is not source:
        return None
    dims = argument(norm, "dim")
    last = [-1], [len(shape(norm)) - 1]
    return float(eps) if argument(norm, "ord") == 2 and dims in last and argument(norm, "keepdim") else None  # type: ignore[arg-type]
