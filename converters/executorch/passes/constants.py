"""Arithmetic on constants, done once.

Given:  operations all of whose arguments are constants: slices of masks, class tokens with their position added
Result: a constant
Why: what is outside the delegate costs a copy at each run, and weights that reach an operation through another one are no
static weights for XNNPACK.
"""

from __future__ import annotations

import operator

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, aten

# Token positions of batch 1 look like constants, but belong to the pick of the end token.
_LEFT = frozenset({aten.arange.default})


def fold(editor: Editor) -> int:
    """Replace what does not depend on the input."""
    count = 0
    for node in list(editor.graph.nodes):
        if node.op != "call_function" or not node.all_input_nodes or node.target in _LEFT:
            continue
        if any(editor.value(argument) is None for argument in node.all_input_nodes):
            continue
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), editor.value)
        result = node.target(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            editor.replace(node, editor.constant(result))
            count += 1
        elif isinstance(result, (tuple, list)) and all(user.target is operator.getitem for user in node.users):
            for user in list(node.users):
                editor.replace(user, editor.constant(result[user.args[1]]))
            count += 1
    return count
