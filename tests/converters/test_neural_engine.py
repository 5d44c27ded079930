"""Each rule of the Neural Engine lint on the smallest program that breaks it, and on the nearest one that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.coreml.neural_engine.advice import WARNINGS
from converters.coreml.neural_engine.graph import Graph
from converters.coreml.neural_engine.lint import Lint, lint_package
from converters.coreml.neural_engine.operations import DOCUMENTED, NEWER_CHIPS, UNSUPPORTED
from converters.coreml.neural_engine.refusals import ERRORS
from converters.coreml.neural_engine.segments import segments
from edgeclip.errors import BundleError
from edgeclip.reference.mil.package import Package
from tests.reference.packages import Body, builder, edited, main_block, save

pytestmark = pytest.mark.usefixtures("quick_collections")


def half(*shape: int) -> np.ndarray:
    """Small distinct float16 values."""
    return (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 64 + 0.25).astype(np.float16)


Inputs = Mapping[str, tuple[tuple[Any, ...], str]]


@dataclass(frozen=True)
class Made:
    """A program. inputs: name -> (shape, type), or what makes them; edit: what is changed in the file afterwards."""

    body: Body
    inputs: Inputs | Callable[[], Inputs] = field(default_factory=lambda: {"x": ((1, 8, 1, 32), "fp16")})
    opset: str = "iOS17"
    convert_inputs: Callable[[], list[Any]] | None = None
    edit: Callable[[Any], None] | None = None

    def lint(self, path: Path) -> Lint:
        given = None if self.convert_inputs is None else self.convert_inputs()
        inputs = self.inputs() if callable(self.inputs) else self.inputs
        save(path, inputs, self.body, opset=self.opset, convert_inputs=given)
        if self.edit is not None:
            with edited(path) as model:
                self.edit(model)
        return lint_package(path)


def mb() -> Any:
    return builder()


IDS = {"text": ((1, 7), "int32")}
TABLE = half(11, 4)


def _conv(weight: tuple[int, ...], **options: Any) -> Body:
    return lambda v: mb().conv(x=v["x"], weight=half(*weight), pad_type="same", **options)


def _picture() -> list[Any]:
    import coremltools as ct

    return [ct.ImageType(name="x", shape=(1, 3, 4, 32), scale=1 / 255, color_layout=ct.colorlayout.RGB)]


def _range() -> list[Any]:
    import coremltools as ct

    return [ct.TensorType(name="x", shape=(1, 8, 1, ct.RangeDim(32, 64)), dtype=np.float16)]


def _enumerated() -> list[Any]:
    import coremltools as ct

    return [ct.TensorType(name="x", shape=ct.EnumeratedShapes([(1, 8, 1, 32), (1, 8, 1, 64)]), dtype=np.float16)]


def _open_width() -> Inputs:
    """One dimension that is known at run time only; coremltools numbers its symbols, so each program has its own."""
    from coremltools.converters.mil.mil import get_new_symbol

    return {"x": ((1, 8, 1, get_new_symbol()), "fp16")}


def _six_axes(model: Any) -> None:
    """coremltools refuses to write more than five axes; other writers do not."""
    out = main_block(model).operations[-1].outputs[0].type.tensorType
    while len(out.dimensions) < 6:
        out.dimensions.add().constant.size = 1
    out.rank = 6


def _rename(name: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        main_block(model).operations[-1].type = name

    return edit


def _lookup(v: dict[str, Any], indices: Any) -> Any:
    return mb().gather(x=TABLE, indices=indices, axis=0)


def _wrapped(v: dict[str, Any]) -> Any:
    """As converters write it: negative indices count from the end."""
    beyond = mb().add(x=v["text"], y=np.int32(11))
    return mb().select(cond=mb().greater_equal(x=v["text"], y=np.int32(0)), a=v["text"], b=beyond)


def _read_twice(v: dict[str, Any]) -> Any:
    shifted = mb().add(x=v["text"], y=np.int32(1), name="shifted")
    return _lookup(v, shifted), mb().cast(x=shifted, dtype="fp16")


def _palette(lut: np.ndarray) -> Body:
    def body(v: dict[str, Any]) -> Any:
        weight = mb().constexpr_lut_to_dense(
            indices=np.arange(16, dtype=np.uint8) % 4, lut=lut, shape=np.array([8, 8, 1, 1], np.uint32), name="weight"
        )
        return mb().conv(x=v["x"], weight=weight)

    return body


def _heads(count: int) -> Made:
    return Made(
        lambda v: mb().matmul(x=mb().softmax(x=mb().matmul(x=v["q"], y=v["k"], transpose_y=True), axis=1), y=v["k"]),
        {"q": ((1, count, 8, 32), "fp16"), "k": ((1, count, 8, 32), "fp16")},
    )


def _copies(count: int) -> Made:
    def body(v: dict[str, Any]) -> Any:
        x = v["x"]
        for _ in range(count):
            x = mb().transpose(x=x, perm=[0, 1, 3, 2])
        return x

    return Made(body)


def _pad(amounts: list[int]) -> Made:
    return Made(lambda v: mb().pad(x=v["x"], pad=np.array(amounts, np.int32), mode="constant", constant_val=np.float16(0)))


def _mask(value: float) -> Made:
    mask = np.full((1, 8, 1, 32), value, np.float16)
    return Made(lambda v: mb().add(x=v["x"], y=mask))


def _shaped(*shape: int, kind: str = "fp16") -> Inputs:
    return {"x": (shape, kind)}


def _relu(v: dict[str, Any]) -> Any:
    return mb().relu(x=v["x"])


# Rule -> (programs that break it, programs that are as near to it as can be and do not).
CASES: dict[str, tuple[list[Made], list[Made]]] = {
    "token-lookup": (
        [Made(lambda v: _lookup(v, v["text"]), IDS), Made(lambda v: _lookup(v, _wrapped(v)), IDS)],
        [
            Made(lambda v: _lookup(v, mb().reduce_argmax(x=v["text"], axis=1)), IDS),
            Made(lambda v: mb().gather(x=v["x"], indices=v["text"], axis=0), {**IDS, **_shaped(11, 4)}),
        ],
    ),
    "unsupported-operation": (
        [Made(lambda v: mb().reduce_prod(x=v["x"], axes=[1])), Made(_relu, edit=_rename("lstm"))],
        [Made(lambda v: mb().reduce_sum(x=v["x"], axes=[1]))],
    ),
    "runtime-gather": (
        [
            Made(lambda v: mb().gather(x=v["x"], indices=v["i"], axis=0), {**_shaped(11, 4), "i": ((2,), "int32")}),
            Made(lambda v: mb().gather_nd(x=v["x"], indices=v["i"]), {**_shaped(11, 4), "i": ((2, 1), "int32")}),
            Made(
                lambda v: mb().gather_along_axis(x=v["x"], indices=v["i"], axis=0),
                {**_shaped(11, 4), "i": ((2, 4), "int32")},
            ),
        ],
        [Made(lambda v: mb().gather(x=v["x"], indices=np.array([1, 0], np.int32), axis=1))],
    ),
    "index-search": (
        [
            Made(lambda v: mb().reduce_argmax(x=v["x"], axis=3)),
            Made(lambda v: mb().reduce_argmin(x=v["x"], axis=3)),
            Made(lambda v: mb().topk(x=v["x"], k=2, axis=3)),
            Made(lambda v: mb().argsort(x=v["x"], axis=3)),
        ],
        [Made(lambda v: mb().reduce_max(x=v["x"], axes=[3]))],
    ),
    "boolean-compute": (
        [
            Made(lambda v: mb().cast(x=mb().greater(x=v["x"], y=np.float16(0)), dtype="fp16")),
            Made(lambda v: mb().select(cond=mb().less(x=v["x"], y=np.float16(0)), a=v["x"], b=np.float16(0))),
        ],
        [
            Made(lambda v: mb().maximum(x=v["x"], y=np.float16(0))),
            Made(lambda v: mb().select(cond=half(1, 8, 1, 32) > 1, a=v["x"], b=np.float16(0))),
        ],
    ),
    "integer-float-cast": (
        [
            Made(lambda v: mb().cast(x=v["text"], dtype="fp16"), IDS),
            Made(lambda v: mb().cast(x=v["x"], dtype="int32")),
        ],
        [Made(lambda v: mb().cast(x=v["x"], dtype="fp32")), Made(lambda v: mb().cast(x=v["text"], dtype="int16"), IDS)],
    ),
    "integer-compute": (
        [Made(lambda v: mb().add(x=v["text"], y=np.int32(1)), IDS), Made(lambda v: mb().cast(x=v["text"], dtype="int16"), IDS)],
        [
            Made(
                lambda v: mb().dequantize(
                    input=mb().quantize(input=v["x"], scale=np.float16(0.5), output_dtype="int8"), scale=np.float16(0.5)
                )
            )
        ],
    ),
    "float32-compute": (
        [
            Made(_relu, _shaped(1, 8, 1, 32, kind="fp32")),
            Made(lambda v: mb().cast(x=mb().cast(x=v["x"], dtype="fp32"), dtype="fp16")),
            Made(
                lambda v: mb().relu(x=mb().mul(x=v["x"], y=np.float32(0.5))),
                _shaped(1, 3, 4, 32, kind="fp32"),
                convert_inputs=_picture,
            ),
        ],
        [
            Made(lambda v: mb().cast(x=v["x"], dtype="fp32")),
            Made(
                lambda v: mb().cast(x=v["x"], dtype="fp16"),  # after the scale of the pixel buffer, which is float32
                _shaped(1, 3, 4, 32, kind="fp32"),
                convert_inputs=_picture,
            ),
            Made(
                lambda v: mb().cast(x=mb().sub(x=v["x"], y=np.full((1, 3, 1, 1), 0.45, np.float32)), dtype="fp16"),
                _shaped(1, 3, 4, 32, kind="fp32"),
                convert_inputs=_picture,
            ),
        ],
    ),
    "rank": (
        [Made(_relu, edit=_six_axes)],
        [Made(lambda v: mb().expand_dims(x=v["x"], axes=[4]))],
    ),
    "product-rank": (
        [Made(lambda v: mb().matmul(x=v["x"], y=v["x"]), _shaped(1, 1, 1, 8, 8))],
        [Made(lambda v: mb().matmul(x=v["x"], y=v["x"]), _shaped(1, 1, 8, 8))],
    ),
    "non-finite-constant": (
        [
            _mask(-np.inf),
            _mask(np.nan),
            Made(_palette(np.array([0, 1, 2, np.inf], np.float16)), opset="iOS16"),
        ],
        [_mask(-1e4), Made(_palette(np.array([0, 1, 2, 3], np.float16)), opset="iOS16")],
    ),
    "dynamic-shape": (
        [Made(_relu, _open_width, convert_inputs=_range)],
        [Made(_relu), Made(_relu, _open_width, convert_inputs=_enumerated)],
    ),
    "wide-kernel": (
        [Made(_conv((8, 8, 1, 14)))],
        [Made(_conv((8, 8, 1, 13))), Made(_conv((8, 8, 14, 1)))],
    ),
    "extent": (
        [Made(_relu, _shaped(1, 1, 1, 16385)), Made(_relu, _shaped(1, 65537, 1, 1)), Made(_relu, _shaped(1, 16385))],
        [Made(_relu, _shaped(1, 1, 1, 16384)), Made(_relu, _shaped(1, 65536, 1, 1))],
    ),
    "channel-padding": (
        [_pad([0, 0, 1, 1, 0, 0, 0, 0])],
        [_pad([0, 0, 0, 0, 1, 1, 1, 1]), _pad([1, 1, 1, 1])],
    ),
    "undocumented-operation": (
        [Made(_relu, edit=_rename("fold_space"))],
        [Made(_relu)],
    ),
    "linear-layer": (
        [
            Made(lambda v: mb().linear(x=v["x"], weight=half(4, 32)), _shaped(1, 8, 32)),
            Made(lambda v: mb().matmul(x=v["x"], y=half(32, 4))),
        ],
        [Made(lambda v: mb().matmul(x=v["x"], y=v["x"], transpose_y=True)), Made(_conv((4, 8, 1, 1)))],
    ),
    "whole-attention": (
        [
            _heads(4),
            Made(
                lambda v: mb().scaled_dot_product_attention(query=v["x"], key=v["x"], value=v["x"]),
                _shaped(1, 4, 8, 32),
                opset="iOS18",
            ),
        ],
        [
            _heads(1),
            Made(lambda v: mb().matmul(x=v["x"], y=v["x"], transpose_y=True), _shaped(1, 4, 8, 32)),
            Made(
                lambda v: mb().scaled_dot_product_attention(query=v["x"], key=v["x"], value=v["x"]),
                _shaped(1, 1, 8, 32),
                opset="iOS18",
            ),
        ],
    ),
    "softmax-axis": (
        [
            Made(lambda v: mb().softmax(x=v["x"], axis=-1)),
            Made(lambda v: mb().softmax(x=v["x"], axis=1), _shaped(1, 8, 32)),
        ],
        [Made(lambda v: mb().softmax(x=v["x"], axis=1)), Made(lambda v: mb().softmax(x=v["x"], axis=-3))],
    ),
    "many-copies": ([_copies(3)], [_copies(2)]),
    "rank-not-4": (
        [Made(_relu, _shaped(8, 32))],
        [Made(_relu), Made(lambda v: mb().squeeze(x=v["x"], axes=[2]))],
    ),
    "unaligned-axis": (
        [Made(_relu, _shaped(1, 8, 1, 33)), Made(_relu, _shaped(1, 8, 1, 16))],
        [Made(_relu), Made(_relu, _shaped(1, 8, 1, 64))],
    ),
    "tall-kernel": ([Made(_conv((8, 8, 14, 1)))], [Made(_conv((8, 8, 13, 1)))]),
    "dilated-convolution": (
        [Made(_conv((8, 8, 1, 3), dilations=[1, 2]))],
        [Made(_conv((8, 8, 1, 3)))],
    ),
    "grouped-convolution": (
        [Made(_conv((12, 4, 1, 3), groups=3), _shaped(1, 12, 1, 32))],
        [Made(_conv((8, 1, 1, 3), groups=8)), Made(_conv((8, 2, 1, 3), groups=4)), Made(_conv((8, 8, 1, 3)))],
    ),
    "constant-gather": (
        [Made(lambda v: mb().gather(x=v["x"], indices=np.array([1, 0], np.int32), axis=1))],
        [Made(lambda v: mb().slice_by_index(x=v["x"], begin=[0, 0, 0, 0], end=[1, 2, 1, 32]))],
    ),
    "tile": (
        [Made(lambda v: mb().tile(x=v["x"], reps=[1, 5, 1, 1]))],
        [Made(lambda v: mb().tile(x=v["x"], reps=[1, 4, 2, 1]))],
    ),
    "large-activation": (
        [Made(_relu, _shaped(1, 1025, 32, 32))],
        [Made(_relu, _shaped(1, 1024, 32, 32))],
    ),
    "int8-activations": (
        [Made(lambda v: mb().quantize(input=v["x"], scale=np.float16(0.5), output_dtype="int8"))],
        [Made(_relu)],
    ),
    "newer-chips": ([Made(lambda v: mb().sin(x=v["x"]))], [Made(lambda v: mb().tanh(x=v["x"]))]),
    "enumerated-shape": (
        [Made(_relu, _open_width, convert_inputs=_enumerated)],
        [Made(_relu)],
    ),
}
_RULES = {rule.name: rule for rule in (*ERRORS, *WARNINGS)}


def test_every_rule_has_a_name_of_its_own_a_source_and_a_case() -> None:
    assert len(_RULES) == len(ERRORS) + len(WARNINGS)
    assert set(CASES) == set(_RULES)
    assert {rule.severity for rule in ERRORS} == {"error"}
    assert {rule.severity for rule in WARNINGS} == {"warning"}
    for rule in _RULES.values():
        assert rule.source.url.startswith("https://"), rule.name
        assert rule.says == rule.says.strip(" .")


def _deciding(lint: Lint) -> set[str]:
    """The rules that count: of errors the first."""
    return {rule.name for finding in lint.findings for rule in finding.decisive}


@pytest.mark.parametrize(("rule", "made"), [(name, made) for name, (breaking, _) in CASES.items() for made in breaking])
def test_rule_applies(rule: str, made: Made, tmp_path: Path) -> None:
    lint = made.lint(tmp_path / "p.mlpackage")
    assert rule in _deciding(lint)
    units = {finding.unit for finding in lint.findings if rule in {found.name for found in finding.decisive}}
    assert units == {"cpu" if _RULES[rule].severity == "error" else "ne"}


@pytest.mark.parametrize(("rule", "made"), [(name, made) for name, (_, keeping) in CASES.items() for made in keeping])
def test_rule_does_not_apply(rule: str, made: Made, tmp_path: Path) -> None:
    assert rule not in _deciding(made.lint(tmp_path / "p.mlpackage"))


def test_all_of_the_token_lookup_is_one_finding(tmp_path: Path) -> None:
    lint = Made(lambda v: mb().relu(x=_lookup(v, _wrapped(v))), IDS).lint(tmp_path / "p.mlpackage")
    assert lint.count("error") == {"token-lookup": 4}
    assert (lint.verdict, lint.avoidable_errors, lint.segments) == ("lookup", 0, ("cpu", "ne"))


def test_ids_that_something_else_reads_too_are_no_token_lookup(tmp_path: Path) -> None:
    lint = Made(_read_twice, IDS).lint(tmp_path / "p.mlpackage")
    assert lint.count("error") == {"integer-compute": 1, "token-lookup": 1, "integer-float-cast": 1}
    assert lint.avoidable_errors == 2


def test_every_operation_of_coremltools_is_documented_or_refused() -> None:
    builder()
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    known = {*SSAOpRegistry.core_ops} - {"const", "_const_symbolic"}
    constants = {name for name in known if name.startswith("constexpr_")}
    assert known - constants - DOCUMENTED - UNSUPPORTED == {"conv_quantized"}
    assert not DOCUMENTED & UNSUPPORTED
    assert NEWER_CHIPS <= DOCUMENTED


def test_findings_as_json(tmp_path: Path) -> None:
    made = Made(lambda v: mb().softmax(x=v["x"], axis=-1, name="s"), _shaped(1, 8, 33))
    found = made.lint(tmp_path / "p.mlpackage").as_json()
    (entry,) = found["ops"]
    assert (entry["name"], entry["op"], entry["shape"], entry["dtype"]) == ("s", "softmax", [1, 8, 33], "float16")
    assert (entry["unit"], entry["severity"], entry["rule"]) == ("ne", "warning", "softmax-axis")
    assert entry["also"] == ["rank-not-4", "unaligned-axis"]
    assert entry["says"] == _RULES["softmax-axis"].says
    assert entry["source"].endswith(_RULES["softmax-axis"].source.url)
    summary = found["summary"]
    assert summary["warnings"] == {"softmax-axis": 1, "rank-not-4": 1, "unaligned-axis": 1}
    assert [group["rule"] for group in summary["findings"]] == ["softmax-axis", "rank-not-4", "unaligned-axis"]
    assert summary["padding_factor"] == round(64 / 33, 3)  # 66 bytes a row take 128


def test_remedies_are_not_those_that_were_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.mlpackage"
    made = Made(lambda v: mb().linear(x=mb().cast(x=v["x"], dtype="fp16"), weight=half(4, 32)), _shaped(1, 8, 32, kind="fp32"))
    made.lint(path)
    assert [remedy.option for remedy in lint_package(path).remedies] == ["--layout ane"]
    assert lint_package(path, {"--layout ane"}).remedies == {}


def test_the_least_number_of_segments_is_found_whatever_the_order(tmp_path: Path) -> None:
    """Two branches from one input, each half on the CPU, written so that neighbours differ."""

    def body(v: dict[str, Any]) -> Any:
        a = mb().relu(x=v["x"], name="a")
        search = mb().reduce_argmax(x=v["x"], axis=3, keep_dims=False, name="search")
        b = mb().tanh(x=a, name="b")
        return b, mb().add(x=search, y=np.int32(1), name="next")

    lint = Made(body).lint(tmp_path / "p.mlpackage")
    assert [finding.unit for finding in lint.findings] == ["ne", "cpu", "ne", "cpu"]
    assert len(lint.segments) == 2


def test_a_program_that_needs_its_own_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.mlpackage"
    save(path, {"x": ((1, 8), "fp16")}, lambda v: mb().relu(x=mb().tanh(x=v["x"], name="t"), name="r"))
    with edited(path) as model:
        first = next(op for op in main_block(model).operations if op.type == "tanh")
        first.inputs["x"].arguments[0].name = "r"
    graph = Graph(Package(path))
    with pytest.raises(BundleError, match="their own results"):
        segments(graph, dict.fromkeys(range(2), "ne"))


def _without_axes(model: Any) -> None:
    """A weight that is declared to be a scalar."""
    weight = next(op for op in main_block(model).operations if op.type == "const" and len(_dimensions(op)) == 4)
    for kind in (weight.outputs[0].type.tensorType, weight.attributes["val"].type.tensorType):
        del kind.dimensions[:]
        kind.rank = 0


def _dimensions(operation: Any) -> Any:
    return operation.outputs[0].type.tensorType.dimensions


def _no_groups(model: Any) -> None:
    groups = next(op for op in main_block(model).operations if op.type == "const" and "groups" in op.outputs[0].name)
    groups.attributes["val"].immediateValue.tensor.ints.values[0] = 0


@pytest.mark.parametrize(
    ("body", "edit"),
    [(_conv((8, 8, 1, 3)), _without_axes), (_conv((8, 8, 1, 3), groups=1), _no_groups), (_relu, _rename("conv"))],
)
def test_a_program_that_contradicts_itself_is_refused(body: Body, edit: Callable[[Any], None], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"p\.mlpackage"):
        Made(body, edit=edit).lint(tmp_path / "p.mlpackage")


@pytest.mark.parametrize("opset", ["iOS16", "iOS17", "iOS18"])
def test_compressed_constants_are_no_operations(tmp_path: Path, opset: str) -> None:
    path = tmp_path / "p.mlpackage"
    weight = np.random.default_rng(0).standard_normal((64, 64, 1, 1)).astype(np.float16)
    save(path, {"x": ((1, 64, 1, 32), "fp16")}, lambda v: mb().conv(x=v["x"], weight=weight), opset=opset)
    _palettize(path)
    lint = lint_package(path)
    assert [finding.operation.type for finding in lint.findings] == ["conv"]
    assert lint.findings[0].severity == "ok"
    assert lint.macs == 64 * 64 * 32


def _palettize(path: Path) -> None:
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    model = ct.models.MLModel(str(path), skip_model_load=True)
    config = cto.OptimizationConfig(cto.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=16))
    cto.palettize_weights(model, config).save(str(path))
