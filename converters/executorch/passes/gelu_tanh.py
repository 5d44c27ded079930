"""GELU by tanh, as a sigmoid.

Given:  0.5 x (1 + tanh(c (x + a x^3))), as `edgeclip.models.written_out` writes it
Result: x sigmoid(x (2 c + 2 c a x^2))

Identity: (1 + tanh(z)) / 2 = sigmoid(2 z).
Why: XNNPACK has no third power, which would end a delegate at every perceptron; and two operations less.
"""

from __future__ import annotations

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, aten


def to_sigmoid(editor: Editor) -> int:
    """Rewrite every one."""
    count = 0
    for node in editor.calls(aten.tanh.default):
        found = _match(node)
        if found is None:
            continue
        whole, source, steepness, cubic = found
        dtype = source.meta["val"].dtype
        with editor.before(whole):
            squares = editor.call(aten.mul.Tensor, source, source)
            scaled = editor.call(aten.mul.Tensor, squares, editor.constant(torch.tensor([2 * steepness * cubic], dtype=dtype)))
            slope = editor.call(aten.add.Tensor, scaled, editor.constant(torch.tensor([2 * steepness], dtype=dtype)))
            gate = editor.call(aten.sigmoid.default, editor.call(aten.mul.Tensor, source, slope))
            editor.replace(whole, editor.call(aten.mul.Tensor, source, gate))
        count += 1
    return count


def _match(tanh: fx.Node) -> tuple[fx.Node, fx.Node, float, float] | None:
    """(the last product, x, c, a) of the whole expression around a tanh."""
    steep = _times(tanh.args[0])
    total = _call(steep[0], aten.add.Tensor) if steep else None
    power = _times(total[1]) if total else None
    cube = _call(power[0], aten.pow.Tensor_Scalar) if power else None
    if steep is None or total is None or power is None or cube is None or cube[1] != 3 or cube[0] is not total[0]:
        return None
    source = cube[0]
    raised = _only_user(tanh, aten.add.Tensor)
    whole = _only_user(raised, aten.mul.Tensor)
    if raised is None or whole is None or 1 not in raised.args:
        return None
    halves = [_times(given) for given in whole.args if given is not raised]
    return (whole, source, steep[1], power[1]) if halves == [(source, 0.5)] else None


def _call(node: object, target: object) -> tuple[fx.Node, object] | None:
    """The two arguments of a call, if it is one of `target`."""
    if isinstance(node, fx.Node) and node.target is target and not node.kwargs and isinstance(node.args[0], fx.Node):
        return node.args[0], node.args[1]
    return None


def _times(node: object) -> tuple[fx.Node, float] | None:
    """A node and the number that it is multiplied by."""
    found = _call(node, aten.mul.Tensor)
    return (found[0], found[1]) if found and isinstance(found[1], float) else None


def _only_user(node: fx.Node | None, target: object) -> fx.Node | None:
    if node is None or len(node.users) != 1:
        return None
    user = next(iter(node.users))
    return user if user.target is target else None
