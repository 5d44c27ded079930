"""Where a package begins to differ: planted faults are found in their layer, right packages have none."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeclip.models import MODELS
from edgeclip.models.towers import build_tower, prepare_for_export
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.verify.align import align
from edgeclip.verify.localize import localize
from edgeclip.verify.operands import Tolerance, findings
from edgeclip.verify.package_trace import PackageOp, package_input, trace_forced, trace_package
from edgeclip.verify.trace import TorchOp, trace_torch
from edgeclip.verify.trace_files import can_plot, write_trace
from tests.verify.planted import PLANTED, Planted, lowered, lowered_module, pair, right_program, sample

pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _mode(scheme: str) -> Any:
    return "fp32" if scheme == "fp32" else "fp16"


@pytest.mark.slow
@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_the_planted_layer_is_named(fault: Planted, tmp_path: Path) -> None:
    package = lowered(fault, tmp_path / "wrong.mlpackage")
    given = sample(fault.model, fault.tower)
    found = localize(right_program(fault.model, fault.tower, fault.layout), package, fault.scheme, _mode(fault.scheme), given)
    assert found.first is not None
    assert (found.first.layer, found.first.op_type in fault.ops) == (fault.layer, True), found.first
    assert fault.says in found.first.says
    others = [op for op in found.ops if op.diverges and op.layer != fault.layer]
    assert fault.spreads or not others, "whatever comes later is right by itself"


# `test_matrix` verifies right packages of every scheme, operations included.
_RIGHT = [
    Planted("right", model, tower, "", lambda layer: None, (), scheme=scheme, layout=layout, min_os=min_os)
    for model, tower, scheme, layout, min_os in (
        ("tinyclip-demo", "text", "fp16", "ane", "iOS17"),
        ("mobileclip-demo", "image", "pal4", "plain", "iOS18"),
        ("mobileclip-demo", "text", "prune50", "plain", "iOS17"),
    )
]


@pytest.fixture(scope="module")
def right_packages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Planted], Path]:
    """The right packages, each lowered once."""
    folder, made = tmp_path_factory.mktemp("right"), {}

    def package(right: Planted) -> Path:
        if right not in made:
            made[right] = lowered(right, folder / f"{len(made)}.mlpackage")
        return made[right]

    return package


@pytest.mark.slow
@pytest.mark.parametrize("right", _RIGHT, ids=lambda r: f"{r.model}-{r.tower}-{r.scheme}-{r.layout}-{r.min_os}")
def test_a_right_package_has_no_divergence(right: Planted, right_packages: Callable[[Planted], Path]) -> None:
    package = right_packages(right)
    program = right_program(right.model, right.tower, right.layout)
    for mode in {_mode(right.scheme), "fp32"}:
        found = localize(program, package, right.scheme, mode, sample(right.model, right.tower))
        assert found.first is None, found.first
        compared = [op for op in found.ops if op.torch_op is not None]
        assert len(compared) > 0.75 * len(found.ops)
        # Everything that takes weights has a counterpart, and room is left below the floor.
        assert not [op for op in found.ops if op.torch_op is None and op.op_type in ("conv", "linear", "layer_norm")]
        assert max(op.added_error / op.floor for op in compared) < 0.7


@pytest.mark.slow
def test_a_value_beyond_float16_is_named(tmp_path: Path) -> None:
    """The same function in float32, but one hidden value is 1e5 times as large."""
    how = Planted("overflow", "mobileclip-demo", "text", "", lambda layer: None, (), scheme="fp16")
    module = prepare_for_export(build_tower(pair(how.model), MODELS[how.model], how.tower))
    attention = module.get_submodule("encoder.transformer.resblocks.2.attn")
    width = attention.out_proj.in_features
    with torch.no_grad():
        attention.in_proj_weight[2 * width :] *= 1e5
        attention.in_proj_bias[2 * width :] *= 1e5
        attention.out_proj.weight /= 1e5
    package = lowered_module(module, how, tmp_path / "overflow.mlpackage")
    with torch.no_grad():
        program = torch.export.export(module, (torch.from_numpy(sample(how.model, "text"))[None],), strict=False)
    program = program.run_decompositions({})
    found = localize(program, package, "fp16", "fp16", sample(how.model, "text")).first
    assert found is not None
    assert (found.op_type, found.layer) == ("linear", "encoder.transformer.resblocks.2.attn")
    assert "float16 cannot hold" in found.says
    assert found.converted["not_finite"] > 0 == found.original["not_finite"]


@pytest.mark.slow
def test_right_operands_are_put_in_place(right_packages: Callable[[Planted], Path]) -> None:
    """Forcing every value to the package's own changes nothing, and forcing one changes what comes after it."""
    how = _RIGHT[0]
    model = MilModel.load(right_packages(how), "fp32")
    inputs = package_input(model.program, sample(how.model, how.tower))
    free = {op.name: op.value for op in trace_package(model, inputs)}
    forced = trace_forced(model, inputs, {name: value for name, value in free.items() if value.is_floating_point()})
    assert free.keys() == forced.keys()
    assert all(torch.equal(free[name], forced[name]) for name in free)
    first = next(op for op in trace_package(model, inputs) if op.op in ("layer_norm", "conv"))
    shifted = trace_forced(model, inputs, {first.name: free[first.name] + 1})
    assert torch.equal(shifted[first.name], free[first.name]), "its own result is noted"
    assert not torch.equal(shifted[model.program.outputs[0].name], free[model.program.outputs[0].name])
    np.testing.assert_array_equal(model.run(inputs)[model.program.outputs[0].name], free[model.program.outputs[0].name].numpy())


class _Block(nn.Module):
    """Two linear layers, attention, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(torch.nn.functional.gelu(self.first(x)))
        return x + self.attention(y, y, y, need_weights=False)[0]


@pytest.fixture(scope="module")
def block() -> tuple[_Block, torch.Tensor, list[TorchOp]]:
    torch.manual_seed(0)
    module, x = _Block().eval().requires_grad_(False), torch.randn(1, 5, 8)
    program = torch.export.export(module, (x,), strict=False).run_decompositions({})
    return module, x, trace_torch(program, x)


def test_torch_values_are_those_of_the_modules(block: tuple[_Block, torch.Tensor, list[TorchOp]]) -> None:
    """Against forward hooks."""
    module, x, ops = block
    seen: dict[str, torch.Tensor] = {}
    for name in ("first", "second"):
        module.get_submodule(name).register_forward_hook(lambda _, args, out, name=name: seen.__setitem__(name, out))
    out = module(x)
    for name, value in seen.items():
        torch.testing.assert_close(next(op.value for op in ops if op.layer == name), value)
    torch.testing.assert_close(ops[-1].value, out)
    by_layer = {op.layer: op for op in ops if op.op == "linear"}
    assert by_layer.keys() == {"first", "second", "attention", "attention.out_proj"}
    assert set(by_layer["attention"].constants) == {"attention.in_proj_weight", "attention.in_proj_bias"}
    assert by_layer["first"].reads == ("x",)


def test_attention_is_taken_apart_as_torch_computes_it(block: tuple[_Block, torch.Tensor, list[TorchOp]]) -> None:
    _, _, ops = block
    inside = {op.op.rpartition(".")[2]: op.value for op in ops if op.inner}
    whole = next(op for op in ops if op.op == "scaled_dot_product_attention")
    values = next(op.value for op in ops if op.name == whole.reads[1])
    torch.testing.assert_close(inside["softmax"] @ values, whole.value)
    torch.testing.assert_close(inside["softmax"].sum(-1), torch.ones(1, 2, 5))


def _as_package(ops: list[TorchOp]) -> list[PackageOp]:
    return [PackageOp(i, op.name, op.op, op.value, op.reads, op.constants) for i, op in enumerate(ops)]


def test_alignment_survives_other_numbers_and_missing_operations(block: tuple[_Block, torch.Tensor, list[TorchOp]]) -> None:
    _, _, ops = block
    package = _as_package(ops)
    assert {mine: theirs.name for mine, theirs in align(package, ops, ops[-1].name).items()} == {op.name: op.name for op in ops}
    # All linear layers are numbered one too high, as after an operation that torch does not have.
    renamed = {f"linear_{n}" if n else "linear": f"linear_{n + 1}" for n in range(4)}

    def rename(op: PackageOp) -> PackageOp:
        reads = tuple(renamed.get(name, name) for name in op.reads)
        return PackageOp(op.index, renamed.get(op.name, op.name), op.op, op.value, reads, op.constants)

    pairs = {mine: theirs.name for mine, theirs in align([rename(op) for op in package], ops, ops[-1].name).items()}
    assert pairs == {renamed.get(op.name, op.name): op.name for op in ops}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w, None),
        (lambda w: w.T.clone(), "is transposed"),
        (lambda w: 2 * w, "is multiplied by 2"),
        (lambda w: torch.zeros_like(w), "is zero"),
        (lambda w: w.roll(1, 0), "is shifted by one"),
        (lambda w: w[torch.randperm(8)], "has its values in another order"),
        (lambda w: w + torch.randn_like(w), "differs"),
        (lambda w: w[:4], "is not among its operands"),
    ],
)
def test_what_is_said_of_a_weight(block: tuple[_Block, torch.Tensor, list[TorchOp]], change: Any, says: str | None) -> None:
    torch.manual_seed(1)
    op = next(op for op in block[2] if op.layer == "first")
    constants = {"weight": change(op.constants["first.weight"]), "bias": op.constants["first.bias"]}
    package = [PackageOp(0, "linear", "linear", op.value, op.reads, constants)]
    found = findings(package, [op], Tolerance(1e-5))
    assert bool(found) == (says is not None)
    if says:
        assert len(found) == 1
        assert found[0].startswith("first.weight ")
        assert says in found[0]


@pytest.mark.slow
def test_verify_says_where_and_writes_a_trace(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeclip.models import towers
    from edgeclip.pipeline import convert
    from edgeclip.recipe import TargetOptions

    layer = "encoder.transformer.resblocks.0.attn.out_proj"
    prepare = towers.prepare_for_export

    def wrong(module: nn.Module) -> nn.Module:
        changed = prepare(module)
        if isinstance(changed, towers.TextTower):
            weight = changed.get_submodule(layer).weight
            weight.copy_(weight.T.clone())
        return changed

    bundle = tmp_path / "bundle"
    with monkeypatch.context() as patch:
        patch.setattr(towers, "prepare_for_export", wrong)
        convert("tinyclip-demo", [TargetOptions("coreml", scheme="fp16", layout="plain")], bundle, towers=("text",))
    result = cli("verify", bundle, "--json", "--trace", tmp_path / "trace")
    assert result.status == 1
    found = result.json["first_divergence"]
    assert (found["tower"], found["layer"], found["op_type"]) == ("text", layer, "linear")
    assert found["says"].startswith(f"{layer}.weight is transposed")
    assert found["relative_error"] > 100 * found["input_relative_error"]
    assert found["original"]["shape"] == found["converted"]["shape"]
    files = {path.suffix: path for path in (tmp_path / "trace").iterdir() if "text" in path.name}
    assert files.keys() == ({".csv", ".png"} if can_plot() else {".csv"})
    assert {str(path) for path in (tmp_path / "trace").iterdir()} == set(result.json["traces"])
    with files[".csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    model = MilModel.load(bundle / "coreml" / "tinyclip_demo_text.mlpackage", "fp16")
    assert [row["op"] for row in rows] == [name for step in model.program.steps for name, _ in step.outputs]
    assert [row["op"] for row in rows if row["first_divergence"] == "1"] == [found["op"]]
    said = cli("verify", bundle)
    assert said.status == 1
    assert f"first divergence in coreml fp16 text (fp16): linear {found['op']}, torch layer {layer} (linear)" in said.out
    assert found["says"] in said.out


@pytest.mark.slow
def test_what_memory_cannot_hold_is_said(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeclip.errors import ResourceError
    from edgeclip.verify.compare import verify

    monkeypatch.setattr("edgeclip.verify.localize.available_memory", lambda: 1_000_000)
    result = verify(tiny_bundle, runtime="mil")
    assert result.passed
    assert [line.partition(":")[0] for line in result.unchecked] == ["coreml fp16 image", "coreml fp16 text"]
    with pytest.raises(ResourceError, match="comparing every value takes about"):
        verify(tiny_bundle, runtime="mil", trace=tmp_path / "trace")


def test_a_trace_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    from edgeclip.errors import InputError
    from edgeclip.verify.traced import Localization

    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--trace .*cannot be written"):
        write_trace(tmp_path / "file", "stem", "title", Localization((), None))
