"""Products with constant matrices as linear layers.

Given:  x @ W, W constant (C_in, C_out)
Result: linear(x, W^T)
Why: XNNPACK packs the weights of a linear layer once, at loading; `matmul` brings `expand_copy`, which it does not have.
"""

from __future__ import annotations

from torch import fx

from converters.executorch.passes.editor import Editor, aten
from converters.executorch.passes.weights import linear


def to_linear(editor: Editor) -> int:
    """Rewrite all of them."""
    count = 0
    for node in editor.calls(aten.matmul.default, aten.mm.default):
        source, matrix = node.args
        value = editor.value(matrix)
        if value is None or value.dim() != 2 or not isinstance(source, fx.Node) or not isinstance(matrix, fx.Node):
            continue
        with editor.before(node):
            editor.replace(node, linear(editor, source, value.T.contiguous(), name=str(matrix.target).replace(".", "_")))
        count += 1
    return count
