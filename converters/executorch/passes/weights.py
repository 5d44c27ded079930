"""Layers with constant weights: reading and rebuilding `linear` and `conv2d` calls. Not a pass."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.views import element_numbers


@dataclass(frozen=True)
class Layer:
    """A linear layer or a convolution. weight: (C_out, ...) float32; bias: (C_out) or None."""

    node: fx.Node
    source: fx.Node
    weight: Tensor
    bias: Tensor | None
    options: tuple[Any, ...]  # what follows weight and bias in the call

    @property
    def name(self) -> str:
        """The path of the layer in the model, or what a pass made of it, `_` between the parts."""
        path = str(argument(self.node, "weight").target).replace(".", "_")
        return re.sub(r"_weight(_\d+)?$", "", path)

    @property
    def is_conv(self) -> bool:
        return self.node.target is aten.conv2d.default

    @property
    def groups(self) -> int:
        return int(argument(self.node, "groups")) if self.is_conv else 1

    @property
    def axis(self) -> int:
        """The axis of the result that holds the output channels."""
        return 1 if self.is_conv else len(shape(self.node)) - 1


def layer(editor: Editor, node: Any) -> Layer | None:
    """A call as a layer; None if it is none, or its weights are computed."""
    if not isinstance(node, fx.Node) or node.target not in (aten.linear.default, aten.conv2d.default):
        return None
    weight, bias = editor.value(argument(node, "weight")), argument(node, "bias")
    if weight is None or (bias is not None and editor.value(bias) is None):
        return None
    return Layer(node, argument(node, "input"), weight, editor.value(bias), tuple(node.args[3:]))


def channels(found: Layer, node: fx.Node) -> Tensor:
    """For each element of `node`, moved from the layer's result, the output channel it comes from."""
    numbers = element_numbers(node, found.node)
    size = shape(found.node)
    return numbers // math.prod(size[found.axis + 1 :]) % size[found.axis]


def rebuilt(editor: Editor, given: Layer, weight: Tensor, bias: Tensor | None, source: fx.Node | None = None) -> fx.Node:
    """A call as `given` with other weights, where the editor stands."""
    return layer_call(
        editor, given.node.target, given.source if source is None else source, weight, bias, given.options, given.name
    )


def layer_call(
    editor: Editor,
    target: Any,
    source: fx.Node,
    weight: Tensor,
    bias: Tensor | None,
    options: Sequence[Any] = (),
    name: str = "constant",
) -> fx.Node:
    """A new linear layer or convolution. name: of the layer."""
    weights = (
        editor.constant(weight, f"{name}_weight"),
        None if bias is None else editor.constant(bias, f"{name}_bias"),
    )
    return editor.call(target, source, *weights, *options)


def linear(editor: Editor, source: fx.Node, weight: Tensor, bias: Tensor | None = None, name: str = "constant") -> fx.Node:
    """A new linear layer. Shapes: (..., C_in) -> (..., C_out)."""
    return layer_call(editor, aten.linear.default, source, weight, bias, (), name)


def bias_or_zero(given: Layer) -> Tensor:
    """The bias, zeros where there is none."""
    return given.weight.new_zeros(given.weight.shape[0]) if given.bias is None else given.bias
