"""What torch computes inside an exported tower: every operation's value, and the layer of the model that it belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node
from torch.fx.node import map_arg

INPUT = "input"  # the operation that stands for a tower's input
# Operations that give their operand back; converters drop them.
_SAME = ("alias", "clone", "contiguous", "detach", "dropout", "lift_fresh_copy")
_ATTENTION = "scaled_dot_product_attention"


@dataclass(frozen=True)
class TorchOp:
    """One operation of the exported program, run once.

    name: of the graph's node, as `linear_3`. op: the ATen operation, as `linear`. layer: the module that it belongs to, as
    `encoder.transformer.resblocks.1.mlp.c_fc`; "" is the tower itself. reads: the operations whose values it takes.
    constants: what it takes of the model's parameters and buffers, by their names. attributes: its plain numbers and words, by
    ATen's names for them. inner: a value inside a composite operation, which a converter need not compute.
    """

    name: str
    op: str
    layer: str
    value: Tensor
    reads: tuple[str, ...] = ()
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    attributes: Mapping[str, float | str] = field(default_factory=dict)
    inner: bool = False


@torch.inference_mode()
def trace_torch(program: ExportedProgram, example: Tensor) -> list[TorchOp]:
    """Run a program of one input, keeping all its values, and list its operations in their order.

    program: decomposed as the target decomposes it. example: the input, (1, 3, H, W) float32 or (1, L) int32. Memory: every
    intermediate value of one inference stays, 10 to 300 MB on towers for phones.
    """
    recorder = _Recorder(program)
    recorder.run(*_arguments(program, example))
    return list(recorder.operations())


def _arguments(program: ExportedProgram, example: Tensor) -> Iterator[Any]:
    """What the graph's placeholders take, in their order."""
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            yield example
        else:
            assert spec.target is not None
            yield program.state_dict[spec.target] if spec.target in program.state_dict else program.constants[spec.target]


class _Recorder(Interpreter):
    """Keeps each node's value; the base class frees them."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__(program.graph_module, garbage_collect_values=False)
        self.values: dict[Node, Any] = {}
        signature = program.graph_signature
        self._inputs = set(signature.user_inputs)
        self._owned = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}

    def run_node(self, n: Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]

    def operations(self) -> Iterator[TorchOp]:
        """The operations that compute something from the input."""
        sources: dict[Node, tuple[str, ...]] = {}  # the operations that a node's value is, or is taken from
        origins: dict[Node, str] = {}  # of nodes that no input reaches: the parameters behind them
        for node, value in self.values.items():
            if node.op == "output":
                continue
            if node.op == "placeholder" and node.name in self._inputs:
                sources[node] = (node.name,)
                yield TorchOp(node.name, INPUT, "", value)
                continue
            reads = tuple(dict.fromkeys(name for operand in node.all_input_nodes for name in sources.get(operand, ())))
            if not reads:
                names = [origins[operand] for operand in node.all_input_nodes if operand in origins]
                origins[node] = ", ".join(dict.fromkeys(names)) or self._owned.get(node.name, node.name)
                continue
            if not isinstance(value, Tensor) or _aten(node) in _SAME:
                sources[node] = reads
                continue
            constants = {origins[operand]: self.values[operand] for operand in node.all_input_nodes if operand in origins}
            constants = {name: tensor for name, tensor in constants.items() if isinstance(tensor, Tensor)}
            layer = _layer(node, constants)
            if _aten(node) == _ATTENTION:
                inside = list(self._inside_attention(node, sources, layer, constants))
                yield from inside
                values_of = sources.get(cast(Node, node.args[2]), ())
                reads, constants = (inside[-1].name, *values_of), {}
            sources[node] = (node.name,)
            yield TorchOp(node.name, _aten(node), layer, value, reads, constants, _attributes(node))

    def _inside_attention(
        self, node: Node, sources: Mapping[Node, tuple[str, ...]], layer: str, constants: Mapping[str, Tensor]
    ) -> Iterator[TorchOp]:
        """softmax(scale q k' + mask), step by step: targets without the whole operation compute it so.

        q: (..., L, E), k: (..., S, E), mask: (..., L, S) to add or boolean; after the documentation of
        `torch.nn.functional.scaled_dot_product_attention`.
        """
        given: dict[str, Any] = dict(
            zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), node.args, strict=False)
        )
        given |= node.kwargs
        values: dict[str, Any] = {name: map_arg(argument, lambda n: self.values[n]) for name, argument in given.items()}
        query, key, mask = values["query"], values["key"], values.get("attn_mask")
        scale = values.get("scale") or 1 / math.sqrt(query.shape[-1])

        def made(what: str, value: Tensor, *reads: str, of: Mapping[str, Tensor] | None = None) -> TorchOp:
            return TorchOp(f"{node.name}.{what}", f"{_ATTENTION}.{what}", layer, value, reads, of or {}, inner=True)

        scaled = made("scaled_query", query * scale, *sources.get(given["query"], ()))
        yield scaled
        scores = made("scores", scaled.value @ key.mT, scaled.name, *sources.get(given["key"], ()))
        yield scores
        if values.get("is_causal"):
            mask = torch.ones(scores.value.shape[-2:], dtype=torch.bool).tril()
        if mask is not None:
            hidden = scores.value.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores.value + mask
            scores = made("masked_scores", hidden, scores.name, of=constants)
            yield scores
        yield made("softmax", scores.value.softmax(-1), scores.name)


def _aten(node: Node) -> str:
    """`linear` for `aten.linear.default`."""
    packet = getattr(node.target, "overloadpacket", None)
    return str(getattr(packet or node.target, "__name__", node.target))


def _layer(node: Node, constants: Mapping[str, Tensor]) -> str:
    """The innermost module of a node: of those that it runs in, or the one inside whose parameters it takes.

    `nn.MultiheadAttention` never calls its `out_proj`, it hands the parameters to a function.
    """
    stack = node.meta.get("nn_module_stack") or {}
    called = str(list(stack.values())[-1][0]) if stack else ""
    owners = {name.rpartition(".")[0] for name in constants}
    owner = owners.pop() if len(owners) == 1 else ""
    return owner if owner.startswith(f"{called}." if called else "") and owner else called


def _attributes(node: Node) -> dict[str, float | str]:
    """Plain numbers and words among a node's arguments, by the names that ATen's schema has for them."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {}
    given: dict[str, Any] = {a.name: value for a, value in zip(schema.arguments, node.args, strict=False)} | node.kwargs
    return {
        argument.name: value if isinstance(value, str) else float(value)
        for argument in schema.arguments
        if isinstance(value := given.get(argument.name, argument.default_value), int | float | str)
        and not isinstance(value, bool)
    }
