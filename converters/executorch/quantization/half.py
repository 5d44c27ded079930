"""A tower in float16: weights, and all that is computed between its input and its embedding.

XNNPACK's float16 kernels exist for ARM and, on x86, for CPUs that convert in hardware (F16C, which every CPU with AVX2 has).
It has none for GELU, and ExecuTorch delegates no conversion between float types; so conversions stand at the ends alone, and
GELU is spelled with tanh, which differs from the erf form by at most 5e-4.

On ARM, XNNPACK's reciprocal square root gives infinity below the smallest normal float16, 6e-5 (seen on the official runtime
under emulation; `edgeclip verify --runtime qemu-arm64`). The variances and epsilons of norms are smaller; so they are taken 16
times as large, and the root 4 times. What a norm centres may then be 255 at most, and 64 in the root mean square.
"""

from __future__ import annotations

import math

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten
from converters.executorch.passes.weights import layer, rebuilt

_LEAST = 2.0**-14  # the smallest normal number
_LIFT = 4.0
_CUBE = 0.044715  # Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2


def to_half(editor: Editor) -> None:
    """Rewrite a whole tower. Its input and its output stay as they are."""
    for node in editor.calls(aten.gelu.default):
        _with_tanh(editor, node)
    for node in editor.calls(aten.clamp.default):
        if 0 < argument(node, "min") < _LEAST:
            node.args = (node.args[0], _LEAST, *node.args[2:])
    for node in editor.calls(aten.rsqrt.default):
        _lifted(editor, node)
    for node in list(editor.graph.nodes):
        if node.op == "get_attr":
            _constant(editor, node)
        elif node.op == "placeholder" and node.meta["val"].dtype == torch.float32:
            readers = list(node.users)
            with editor.after(node):
                small = editor.call(aten.to.dtype, node, torch.float16)
            for reader in readers:
                reader.replace_input_with(node, small)
        elif node.target is aten.to.dtype and argument(node, "dtype") == torch.float32:
            node.args = (node.args[0], torch.float16)
    output = next(iter(reversed(editor.graph.nodes)))
    embedding = output.all_input_nodes[0]
    with editor.before(output):
        # what is behind carries float32 in its metadata until the graph is exported again
        wide = editor.call(aten.to.dtype, embedding, torch.float32)
    output.replace_input_with(embedding, wide)


def _constant(editor: Editor, node: fx.Node) -> None:
    value = editor.value(node)
    if value is None or value.dtype != torch.float32:
        return
    new = editor.constant(value.half())
    node.replace_all_uses_with(new)
    editor.drop(node)


def _lifted(editor: Editor, node: fx.Node) -> None:
    """Of a mean plus epsilon, as a linear layer: 4 rsqrt(16 x)."""
    mean = layer(editor, node.args[0])
    if mean is None or mean.bias is None:
        return
    with editor.before(node):
        large = rebuilt(editor, mean, mean.weight * _LIFT**2, mean.bias * _LIFT**2)
        root = editor.call(aten.rsqrt.default, large)
        editor.replace(node, editor.call(aten.mul.Tensor, root, editor.constant(torch.tensor([_LIFT]))))


def _with_tanh(editor: Editor, node: fx.Node) -> None:
    """x/2 (1 + tanh(c (x + 0.044715 x^3))), c = sqrt(2 / pi), as x h + h x tanh(x (c + c' x^2)), h = 1/2."""
    x = node.args[0]
    scale = math.sqrt(2 / math.pi)
    with editor.before(node):
        square = editor.call(aten.mul.Tensor, x, x)
        inner = editor.call(aten.mul.Tensor, square, editor.constant(torch.tensor([scale * _CUBE])))
        inner = editor.call(aten.add.Tensor, inner, editor.constant(torch.tensor([scale])))
        bent = editor.call(aten.tanh.default, editor.call(aten.mul.Tensor, x, inner))
        half = editor.call(aten.mul.Tensor, x, editor.constant(torch.tensor([0.5])))
        editor.replace(node, editor.call(aten.add.Tensor, half, editor.call(aten.mul.Tensor, half, bent)))
