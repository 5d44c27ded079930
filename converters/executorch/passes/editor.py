"""What the passes edit with: a graph of ATen calls whose nodes always carry their shape.

Nodes made here get `meta["val"]` at once, by calling the operation on the fake tensors of its arguments; so a pass can read
what an earlier one wrote, and nothing is traced again in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses import FakeTensorMode
from torch.export import ExportedProgram

aten = torch.ops.aten


class Editor:
    """Edits one exported tower. The inputs' and constants' nodes stand in front of all others."""

    def __init__(self, program: ExportedProgram) -> None:
        self.module: fx.GraphModule = program.module(check_guards=False)
        self.graph = self.module.graph
        self._mode = FakeTensorMode()
        for node in reversed(list(self.graph.nodes)):
            if node.target is aten._assert_tensor_metadata.default:
                self.graph.erase_node(node)
        self.graph.eliminate_dead_code()
        self._propagate()

    def _propagate(self) -> None:
        """Fake values of the editor's own mode for every node."""
        for node in self.graph.nodes:
            if node.op == "call_function":
                node.meta["val"] = self._faked(node.target, node.args, node.kwargs)
            elif node.op != "output":
                value = node.meta["val"] if node.op == "placeholder" else self.value(node)
                assert value is not None
                node.meta["val"] = self._empty(value)

    def _empty(self, like: Tensor) -> Tensor:
        with self._mode:
            return torch.empty(like.shape, dtype=like.dtype)

    def _faked(self, target: Any, args: Any, kwargs: Any) -> Any:
        values = fx.node.map_arg((args, kwargs), lambda node: node.meta["val"])
        with self._mode:
            return target(*values[0], **values[1])

    # Reading

    def calls(self, *targets: Any) -> list[fx.Node]:
        """The calls of these operations, in the order of execution."""
        return [node for node in self.graph.nodes if node.op == "call_function" and node.target in targets]

    def value(self, node: Any) -> Tensor | None:
        """The tensor of a constant; None for what is computed."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        owner, _, name = str(node.target).rpartition(".")
        tensor = getattr(self.module.get_submodule(owner), name)
        assert isinstance(tensor, Tensor)
        return tensor.detach()

    # Writing

    @contextmanager
    def before(self, node: fx.Node) -> Iterator[None]:
        """What is called inside is executed before `node`."""
        with self.graph.inserting_before(node):
            yield

    @contextmanager
    def after(self, node: fx.Node) -> Iterator[None]:
        """What is called inside is executed after `node`."""
        following = node.next
        while following.op in ("placeholder", "get_attr"):
            following = following.next
        with self.graph.inserting_before(following):
            yield

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A call at the place that `before` or `after` chose."""
        node = self.graph.call_function(target, args, kwargs)
        node.meta["val"] = self._faked(target, args, kwargs)
        return node

    def constant(self, tensor: Tensor, name: str = "constant") -> fx.Node:
        """A constant with these values, under this name, or with a number behind it where that is taken."""
        wanted, count = name, 1
        while hasattr(self.module, name):
            count += 1
            name = f"{wanted}_{count}"
        kept = tensor.detach().clone(memory_format=torch.contiguous_format)  # no strides of 0, ExecuTorch refuses them
        self.module.register_buffer(name, kept)
        first = next(node for node in self.graph.nodes if node.op not in ("placeholder", "get_attr"))
        with self.graph.inserting_before(first):
            node = self.graph.get_attr(name)
        node.meta["val"] = self._empty(kept)
        return node

    def replace(self, old: fx.Node, new: fx.Node) -> None:
        """Let all that reads `old` read `new`, and drop what nothing reads any more."""
        assert shape(old) == shape(new), (old, shape(old), new, shape(new))
        old.replace_all_uses_with(new)
        self.drop(old)

    def to_the_front(self, node: fx.Node) -> None:
        """Execute a node and all that it needs before everything else."""
        first = next(node for node in self.graph.nodes if node.op == "call_function")
        needed, waiting = set(), [node]
        while waiting:
            at = waiting.pop()
            if at.op == "call_function" and at not in needed:
                needed.add(at)
                waiting += at.all_input_nodes
        for at in sorted(needed):
            if at is first:
                first = first.next
            else:
                first.prepend(at)

    def drop(self, node: fx.Node) -> None:
        """Erase a node that nothing reads, and its arguments, as far as nothing reads those."""
        if node.users or node.op == "placeholder":
            return
        arguments = node.all_input_nodes
        self.graph.erase_node(node)
        for argument in arguments:
            self.drop(argument)

    def finish(self, example: tuple[Tensor, ...]) -> ExportedProgram:
        """The edited program. Constants that nothing reads are left behind."""
        read = {node.target for node in self.graph.nodes if node.op == "get_attr"}
        for name in [name for name, _ in self.module.named_buffers(recurse=False) if name not in read]:
            delattr(self.module, name)  # ExecuTorch drops parameters that nothing reads, but stores such buffers
        self.graph.lint()
        self.module.recompile()
        with torch.no_grad():
            return torch.export.export(self.module, example, strict=False)


def shape(node: fx.Node) -> tuple[int, ...]:
    """The static shape of a node's result."""
    return tuple(node.meta["val"].shape)


def argument(node: fx.Node, name: str) -> Any:
    """An argument of an ATen call by its name in the operation's schema."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    for position, known in enumerate(schema):
        if known.name == name:
            if position < len(node.args):
                return node.args[position]
            return node.kwargs.get(name, known.default_value if known.has_default_value() else None)
    raise KeyError(f"{node.target}: no argument {name!r}")
