#!/usr/bin/env python
"""What Core AI's portable runtime makes of float16, beside our interpreter's modes: `python benchmarks/coreai_half.py [MODEL]`.

A tower in float16 is converted to a Core AI program that gives out every value, and run once on a calibration sample. Then each
operation of a kind that both know is done by our interpreter's function in modes `fp16` and `ane`, on the operands that Apple's
runtime had, and by torch in float64. Printed by kind: how far each is from float64 (root mean square of the difference
over that of the result; the worst operation), and the share of results that are Apple's to the bit. `ane, 1` sums products one
by one, where `ane` adds up PRODUCTS of them exactly first. Below it, the embeddings.
"""

from __future__ import annotations

import argparse
import asyncio
import operator
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind, OutputSpec, TensorArgument

from converters.coreai.half import constant_names, to_half
from edgeclip.calibration import Calibration, Samples
from edgeclip.models import MODELS
from edgeclip.models.towers import build_tower, export_tower
from edgeclip.models.weights import LoadedModel, load_model
from edgeclip.plugins import TARGETS
from edgeclip.progress import silent
from edgeclip.reference.mil import narrow
from edgeclip.reference.mil.ops import operations
from edgeclip.reference.mil.precision import rounded
from edgeclip.spec import TOWERS
from edgeclip.verify.metrics import cosines

aten = torch.ops.aten
_HALVES = ("fp16", "ane", "ane, 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="mobileclip-s0")
    parser.add_argument("--tower", choices=TOWERS, action="append")
    parser.add_argument("--layout", choices=TARGETS["coreai"].load().layouts, default="plain")
    args = parser.parse_args()
    spec = MODELS[args.model]
    with silent("") as task:
        loaded = load_model(spec, "demo" if spec.demo_weights else "seeded:0", task)
    samples = Samples(loaded, Calibration())
    for tower in args.tower or TOWERS:
        _compare(loaded, tower, args.layout, samples.inputs(tower)[:1])


def _compare(loaded: LoadedModel, tower: Any, layout: str, given: np.ndarray) -> None:
    from coreai_torch import get_decomp_table

    exported = export_tower(loaded.pair, loaded.spec, tower, TARGETS["coreai"].load().rewrite(layout))
    program = to_half(exported.program.run_decompositions(get_decomp_table()))
    embedding = next(iter(reversed(program.graph.nodes))).all_input_nodes[0].name
    values = _run(_giving_all(program), given)
    print(f"\n{loaded.spec.name}, {tower} tower, {layout} layout\n")
    _print(_by_kind(program, values, given))
    with torch.inference_mode():
        original = build_tower(loaded.pair, loaded.spec, tower)(torch.from_numpy(given)).numpy()
    print(f"\ncosine of the embedding with the original's: Core AI {_cosine(original, values[embedding]):.7f}")
    whole = {half: _whole(program, given, half) for half in _HALVES}
    for half, value in whole.items():
        print(f"{half:>8}: {_cosine(original, value):.7f}, with Core AI's {_cosine(values[embedding], value):.7f}")


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(cosines(first, second)[0])


def _giving_all(program: ExportedProgram) -> ExportedProgram:
    """The program with every float value as an output, by its node's name."""
    nodes = [node for node in program.graph.nodes if node.op == "call_function" and _is_float(node)]
    output = next(iter(reversed(program.graph.nodes)))
    output.args = (tuple(nodes),)
    program.graph_signature.output_specs[:] = [
        OutputSpec(kind=OutputKind.USER_OUTPUT, arg=TensorArgument(name=node.name), target=None) for node in nodes
    ]
    program.graph_module.recompile()
    return program


def _is_float(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def _first(node: fx.Node) -> fx.Node | None:
    """The node of an operation's result, of several (a norm gives its mean too) the first; None where nothing reads that."""
    if isinstance(node.meta.get("val"), Tensor):
        return node
    return next((user for user in node.users if user.target is operator.getitem and user.args[1] == 0), None)


def _run(program: ExportedProgram, given: np.ndarray) -> dict[str, np.ndarray]:
    from coreai.authoring import AIModelAsset
    from coreai.runtime import NDArray
    from coreai_torch import TorchConverter

    names = [spec.arg.name for spec in program.graph_signature.output_specs]
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converted = converter.add_exported_program(program, input_names=["given"], output_names=names).to_coreai()

    async def run(path: Path) -> dict[str, np.ndarray]:
        async with AIModelAsset.load(path).executable() as model:
            results = await model.load_function("main")({"given": NDArray(given)})
            return {name: np.array(value.numpy()) for name, value in results.items()}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.aimodel"
        converted.save_asset(path)
        return asyncio.run(run(path))


# --- our interpreter's functions, by torch's operations -----------------------------------------------------------------------

_Call = tuple[str, dict[str, Any]]  # the interpreter's operation and its inputs


def _convolution(node: fx.Node, a: list[Any]) -> _Call:
    strides, padding, dilations, groups = tuple(a[3]), tuple(a[4]), tuple(a[5]), a[8]
    pad = tuple(amount for one in padding for amount in (one, one))
    given = {"strides": strides, "pad_type": "custom", "pad": pad, "dilations": dilations, "groups": groups}
    return "conv", {"x": a[0], "weight": a[1], "bias": a[2], **given}


def _conv2d(node: fx.Node, a: list[Any]) -> _Call:
    a = [*a, *[None, 1, 0, 1, 1][len(a) - 2 :]]
    pairs = [one if isinstance(one, list | tuple) else (one, one) for one in a[3:6]]
    return _convolution(node, [*a[:3], *pairs, False, (0, 0), a[6]])


def _linear(node: fx.Node, a: list[Any]) -> _Call:
    return "linear", {"x": a[0], "weight": a[1], "bias": a[2] if len(a) > 2 else None}


def _addmm(node: fx.Node, a: list[Any]) -> _Call:
    return "linear", {"x": a[1], "weight": a[2].T, "bias": a[0]}


def _product(node: fx.Node, a: list[Any]) -> _Call:
    return "matmul", {"x": a[0], "y": a[1]}


def _layer_norm(node: fx.Node, a: list[Any]) -> _Call:
    axes = tuple(range(-len(a[1]), 0))
    return "layer_norm", {"x": a[0], "axes": axes, "gamma": a[2], "beta": a[3], "epsilon": a[4] if len(a) > 4 else 1e-5}


def _attention(node: fx.Node, a: list[Any]) -> _Call:
    mask = a[3] if len(a) > 3 else None
    return "scaled_dot_product_attention", {"query": a[0], "key": a[1], "value": a[2], "attn_mask": mask}


def _softmax(node: fx.Node, a: list[Any]) -> _Call:
    return "softmax", {"x": a[0], "axis": a[1]}


def _mean(node: fx.Node, a: list[Any]) -> _Call:
    return "reduce_mean", {"x": a[0], "axes": tuple(a[1]), "keep_dims": len(a) > 2 and a[2]}


def _unary(name: str, **more: Any) -> Callable[[fx.Node, list[Any]], _Call]:
    return lambda node, a: (name, {"x": a[0], **more})


def _binary(name: str) -> Callable[[fx.Node, list[Any]], _Call]:
    return lambda node, a: (name, {"x": _tensor(a[0]), "y": _tensor(a[1])})


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(float(value))


_KINDS: Mapping[Any, Callable[[fx.Node, list[Any]], _Call]] = {
    aten.convolution.default: _convolution,
    aten.conv2d.default: _conv2d,
    aten.linear.default: _linear,
    aten.addmm.default: _addmm,
    **dict.fromkeys((aten.mm.default, aten.bmm.default, aten.matmul.default), _product),
    **dict.fromkeys((aten.native_layer_norm.default, aten.layer_norm.default), _layer_norm),
    aten.scaled_dot_product_attention.default: _attention,
    **dict.fromkeys((aten._softmax.default, aten.softmax.int), _softmax),
    aten.mean.dim: _mean,
    aten.gelu.default: _unary("gelu"),
    aten.relu.default: _unary("relu"),
    aten.sigmoid.default: _unary("sigmoid"),
    aten.silu.default: _unary("silu"),
    aten.sqrt.default: _unary("sqrt"),
    aten.rsqrt.default: _unary("rsqrt", epsilon=0.0),
    aten.add.Tensor: _binary("add"),
    aten.sub.Tensor: _binary("sub"),
    aten.mul.Tensor: _binary("mul"),
    aten.div.Tensor: _binary("real_div"),
}


@contextmanager
def _products(count: int) -> Any:
    """Mode `ane` with other chunks."""
    before = narrow.PRODUCTS, narrow._MOST_CHUNKS
    narrow.PRODUCTS, narrow._MOST_CHUNKS = count, 1 << 30
    try:
        yield
    finally:
        narrow.PRODUCTS, narrow._MOST_CHUNKS = before


def _ours(call: _Call, half: str) -> Tensor:
    """An operation in a mode, on operands that float16 holds -> float32 of what float16 holds."""
    name, inputs = call
    inputs = {key: value for key, value in inputs.items() if value is not None}
    run = operations()[name].form(inputs).run
    if half == "fp16":
        return rounded(run(**inputs))
    with _products(1 if half == "ane, 1" else narrow.PRODUCTS):
        return rounded(narrow.narrow(run)(**inputs))


@dataclass
class _Kind:
    """Operations of one kind: errors against float64, and shares that are Apple's to the bit."""

    errors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    equal: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, exact: Tensor, theirs: Tensor, ours: Mapping[str, Tensor]) -> None:
        norm = float(exact.norm()) or 1.0
        for name, value in {"Core AI": theirs, **ours}.items():
            self.errors[name].append(float((value.double() - exact).norm()) / norm)
        for name, value in ours.items():
            self.equal[name].append((int((value == theirs).sum()), theirs.numel()))


def _by_kind(program: ExportedProgram, values: Mapping[str, np.ndarray], given: np.ndarray) -> dict[str, _Kind]:
    constants = _constants(program)
    found: dict[str, _Kind] = defaultdict(_Kind)

    def operand(argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            if argument.name in values:
                return torch.from_numpy(values[argument.name]).float()
            known = constants.get(argument.name)
            return torch.from_numpy(given) if known is None else known.float() if known.is_floating_point() else known
        return [operand(one) for one in argument] if isinstance(argument, list | tuple) else argument

    with torch.inference_mode():
        for node in program.graph.nodes:
            if node.target not in _KINDS or (result := _first(node)) is None:
                continue
            if result.meta["val"].dtype != torch.float16 or result.name not in values:
                continue
            operands = [operand(argument) for argument in node.args]
            kwargs = {name: operand(argument) for name, argument in node.kwargs.items()}
            call = _KINDS[node.target](node, operands)
            wide = [one.double() if isinstance(one, Tensor) and one.is_floating_point() else one for one in operands]
            exact = node.target(*wide, **kwargs)
            exact = exact if isinstance(exact, Tensor) else exact[0]
            theirs = torch.from_numpy(values[result.name]).float()
            found[_kind(node, call)].add(exact, theirs, {half: _ours(call, half).reshape(theirs.shape) for half in _HALVES})
    return found


def _kind(node: fx.Node, call: _Call) -> str:
    """The interpreter's name; of convolutions also what they sum over, of which each result has so many products."""
    if call[0] != "conv":
        return call[0]
    weight = call[1]["weight"]
    kernel = "x".join(map(str, weight.shape[2:]))
    return f"conv {kernel}{' depthwise' if call[1]['groups'] > 1 else ''}"


def _constants(program: ExportedProgram) -> dict[str, Tensor]:
    """Parameters and buffers by the names of their placeholders."""
    stored = {**program.constants, **program.state_dict}
    return {placeholder: stored[name].detach() for placeholder, name in constant_names(program).items()}


class _Whole(fx.Interpreter):
    """The whole program in one of our modes: known kinds by our functions, others by torch with results rounded."""

    def __init__(self, program: ExportedProgram, half: str) -> None:
        super().__init__(program.graph_module)
        self._half = half

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        first = _first(n)
        if n.target in _KINDS and first is not None and first.meta["val"].dtype == torch.float16:
            value = _ours(_KINDS[n.target](n, list(args)), self._half).reshape(first.meta["val"].shape)
            return value if first is n else (value,)
        kwargs = {name: torch.float32 if value == torch.float16 else value for name, value in kwargs.items()}
        args = [one.contiguous() if isinstance(one, Tensor) else one for one in args]  # `view` counts on torch's own strides
        result = n.target(*args, **kwargs)
        is_half = _is_float(n) and n.meta["val"].dtype == torch.float16
        return rounded(result) if is_half and isinstance(result, Tensor) else result


def _whole(program: ExportedProgram, given: np.ndarray, half: str) -> np.ndarray:
    """The embedding, by our modes alone. program: gives all values, of which the last is the embedding."""
    constants = {name: value.float() if value.is_floating_point() else value for name, value in _constants(program).items()}
    inputs = [constants.get(node.name, torch.from_numpy(given)) for node in program.graph.nodes if node.op == "placeholder"]
    with torch.inference_mode():
        return _Whole(program, half).run(*inputs)[-1].float().numpy()


def _print(kinds: Mapping[str, _Kind]) -> None:
    print(f"| operation | of them | error: Core AI | {' | '.join(_HALVES)} | same bits: {' | '.join(_HALVES)} |")
    print("|---|---|---|" + "---|" * 2 * len(_HALVES))
    for name, kind in sorted(kinds.items(), key=lambda item: -max(item[1].errors["Core AI"])):
        errors = [f"{max(kind.errors[which]):.1e}" for which in ("Core AI", *_HALVES)]
        shares = []
        for half in _HALVES:
            same, total = (sum(counts) for counts in zip(*kind.equal[half], strict=True))
            shares.append(f"{100 * same / total:.1f} %")
        print(f"| {name} | {len(kind.errors['Core AI'])} | {' | '.join(errors)} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
