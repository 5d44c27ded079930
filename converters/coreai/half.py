"""A program in float16: weights, and all that is computed between its input and its embedding.

coreai-opt casts the whole program, its input and output included, whose types apps rely on; so these are cast back. What the
tower does around its encoder (the normalisation of pixels, the unit length) stays in float32 with them: a sum of squares is
the first to leave float16's range. So do results that leave it on calibration samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, TensorArgument

_LARGEST = 65504.0  # of float16
_CAST = torch.ops.aten._to_copy.default


def to_half(program: ExportedProgram, kept: frozenset[str] = frozenset()) -> ExportedProgram:
    """The program in float16, float32 outside. program: decomposed; it is changed. kept: names of nodes to leave in float32."""
    from coreai_opt.casting import cast_fp32_to_fp16

    program._constants = dict(program.constants)  # shared with the program before its decomposition
    wide = {**program.state_dict, **program.constants}
    half = cast_fp32_to_fp16(program, ignored_ops=lambda node: node.name in kept or _around_encoder(node))
    for node in _given(half):
        _widen_input(half.graph, node)
    _widen_constants(half, wide)
    _widen_output(half)
    half.graph.lint()
    half.graph_module.recompile()
    return half


def constant_names(program: ExportedProgram) -> dict[str, str]:
    """Parameters, buffers and other constants: the name of each placeholder -> its tensor's in the state or the constants."""
    signature = program.graph_signature
    return {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}


def overflowing(program: ExportedProgram, samples: np.ndarray) -> frozenset[str]:
    """Names of nodes with a result, or an operand, that float16 cannot hold. samples: as runners take them."""
    seen = _Largest(program.module())
    with torch.inference_mode():
        for row in samples:
            seen.run(torch.from_numpy(np.ascontiguousarray(row[None])))
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    return frozenset(node.name for node in nodes if seen.names & {node.name, *(one.name for one in node.all_input_nodes)})


class _Largest(fx.Interpreter):
    """Runs a program and notes what is too large, by name."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.names: set[str] = set()

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        floats = n.op == "call_function" and isinstance(value, Tensor) and value.is_floating_point()
        if floats and value.numel() and not float(value.abs().max()) < _LARGEST:
            self.names.add(n.name)
        return value


def _around_encoder(node: fx.Node) -> bool:
    """Whether a tower does it before or after its `encoder`: torch.export notes the modules that an operation is called in."""
    stack = node.meta.get("nn_module_stack")
    return stack is not None and all(path.partition(".")[0] != "encoder" for path, _ in stack.values())


def _given(program: ExportedProgram) -> list[fx.Node]:
    """Placeholders of float inputs."""
    names = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT}
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [node for node in nodes if node.meta["val"].dtype == torch.float16]


def _widen_input(graph: fx.Graph, node: fx.Node) -> None:
    """Readers in float32 get the input itself, the others a cast."""
    readers = [one for one in node.users if not _casts_to(one, torch.float32)]
    _widen(graph, node)
    if readers:
        with graph.inserting_after(node):
            small = _cast(graph, node, torch.float16)
        for reader in readers:
            reader.replace_input_with(node, small)


def _widen_constants(program: ExportedProgram, wide: Mapping[str, Tensor]) -> None:
    """What only float32 operations read keeps its numbers: a mean in float16 is a picture a little brighter, on all pixels."""
    names = constant_names(program)
    for node in [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]:
        if node.users and all(_casts_to(reader, torch.float32) for reader in node.users):
            _widen(program.graph, node)
            holder = program.state_dict if names[node.name] in program.state_dict else program.constants
            holder[names[node.name]] = wide[names[node.name]]


def _widen(graph: fx.Graph, node: fx.Node) -> None:
    """A placeholder in float32: what casts it to that is not needed."""
    node.meta["val"] = node.meta["val"].float()
    for reader in [one for one in node.users if _casts_to(one, torch.float32)]:
        reader.replace_all_uses_with(node)
        graph.erase_node(reader)


def _widen_output(program: ExportedProgram) -> None:
    output = next(iter(reversed(program.graph.nodes)))
    (result,) = output.all_input_nodes
    if result.meta["val"].dtype != torch.float16:
        return
    if _casts_to(result, torch.float16) and result.all_input_nodes[0].meta["val"].dtype == torch.float32:
        (wide,) = result.all_input_nodes
    else:
        with program.graph.inserting_before(output):
            wide = _cast(program.graph, result, torch.float32)
    output.replace_input_with(result, wide)
    program.graph_signature.output_specs[0].arg = TensorArgument(name=wide.name)
    program.graph.eliminate_dead_code()


def _cast(graph: fx.Graph, node: fx.Node, dtype: torch.dtype) -> fx.Node:
    cast = graph.call_function(_CAST, (node,), {"dtype": dtype})
    cast.meta["val"] = node.meta["val"].to(dtype)
    return cast


def _casts_to(node: fx.Node, dtype: torch.dtype) -> bool:
    return node.target is _CAST and node.kwargs.get("dtype") == dtype
