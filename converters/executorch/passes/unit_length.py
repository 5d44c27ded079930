"""Unit length as a product with a reciprocal square root.

Given:  x / max(||x||, eps), as `F.normalize` exports it
Result: x * rsqrt(max(sum of x^2, eps^2)), the sum as a linear layer with ones
Identity: the square root is monotonous. eps = 1e-12, whose square is a normal float32.
Why: XNNPACK has neither `linalg_vector_norm` nor a sum over the last axis; as a linear layer it has it.
"""

from __future__ import annotations

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
            squares = editor.call(aten.mul.Tensor, source, source)
            total = linear(editor, squares, torch.ones(1, shape(source)[-1], dtype=source.meta["val"].dtype))
            bounded = editor.call(aten.clamp.default, total, eps * eps)
            editor.replace(node, editor.call(aten.mul.Tensor, source, editor.call(aten.rsqrt.default, bounded)))
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
