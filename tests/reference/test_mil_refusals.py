"""What the interpreter refuses, and that it says what and where: wrong inputs, and programs it cannot run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from edgeclip.reference.mil.interpreter import MilModel
from tests.reference.oracle import floats, integers
from tests.reference.packages import builder, edited, main_block, main_function, operation, save


def _body(variables: dict[str, Any]) -> Any:
    mb = builder()
    rows = mb.gather(x=floats(6, 4), indices=variables["ids"], axis=0, name="rows")
    x = mb.linear(x=variables["x"], weight=floats(4, 4), name="linear")
    x = mb.relu(x=mb.add(x=x, y=rows, name="sum"), name="relu")
    return mb.softmax(x=mb.reduce_mean(x=x, axes=(1,), keep_dims=True, name="mean"), axis=-1, name="y")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = {"x": ((1, 3, 4), "fp32"), "ids": ((1, 3), "int32")}
    return save(tmp_path_factory.mktemp("made") / "m.mlpackage", inputs, _body)


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(made, tmp_path / "m.mlpackage"))


_GOOD = {"x": floats(1, 3, 4), "ids": np.array([[0, 5, 2]], np.int32)}


def test_the_undamaged_package_runs(made: Path) -> None:
    assert MilModel.load(made, "fp32").run(_GOOD)["y"].shape == (1, 1, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "input 'x' is missing"),
        ({"ids": None}, "input 'ids' is missing"),
        ({"x": floats(1, 4, 3)}, r"input 'x' takes \[1, 3, 4\], not \[1, 4, 3\]"),
        ({"x": floats(3, 4)}, r"input 'x' takes \[1, 3, 4\], not \[3, 4\]"),
        ({"ids": np.zeros((2, 3), np.int32)}, r"input 'ids' takes \[1, 3\], not \[2, 3\]"),
        ({"ids": np.array([[0.5, 1, 2]], np.float32)}, "input 'ids'"),
        ({"ids": np.array([[0, 1, 2**32]], np.int64)}, "input 'ids'"),
        ({"x": np.full((1, 3, 4), "a")}, "input 'x'"),
        ({"x": np.full((1, 3, 4), None)}, "input 'x'"),
        ({"x": floats(1, 3, 4) + 1j}, "input 'x'"),
        ({"ids": np.array([[0, 6, 1]], np.int32)}, "gather 'rows' cannot run.*index 6 outside an axis of 6"),
    ],
)
def test_wrong_inputs(made: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    inputs = {name: value for name, value in (_GOOD | change).items() if value is not None}
    with pytest.raises(BundleError, match=message):
        MilModel.load(made, "fp32").run(inputs)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_floats_are_taken(made: Path, dtype: type) -> None:
    model = MilModel.load(made, "fp32")
    x = np.round(_GOOD["x"] * 4) / 4
    np.testing.assert_array_equal(model.run(_GOOD | {"x": x.astype(dtype)})["y"], model.run(_GOOD | {"x": x})["y"])


def test_inputs_need_not_be_contiguous(made: Path) -> None:
    model = MilModel.load(made, "fp32")
    strided = np.asfortranarray(_GOOD["x"])
    np.testing.assert_array_equal(model.run(_GOOD | {"x": strided})["y"], model.run(_GOOD)["y"])


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((6, 4, 3), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((1, 3, 4, 6), np.uint8),
        np.zeros((4, 6, 3), np.float32),
        np.zeros((4, 6), np.uint8),
    ],
)
def test_wrong_pictures(picture: np.ndarray, tmp_path: Path) -> None:
    import coremltools as ct

    path = save(
        tmp_path / "m.mlpackage",
        {"image": ((1, 3, 4, 6), "fp32")},
        lambda variables: builder().relu(x=variables["image"], name="y"),
        convert_inputs=[ct.ImageType(name="image", shape=(1, 3, 4, 6))],
        passes=True,
    )
    with pytest.raises(BundleError, match="input 'image' takes a 6 x 4 RGB picture"):
        MilModel.load(path, "fp32").run({"image": picture})


def _rename(op: str, name: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        operation(model, op).type = name

    return change


def _bind(op: str, parameter: str, *names: str) -> Callable[[Any], None]:
    """Bind an input of an operation to values by name."""

    def change(model: Any) -> None:
        argument = operation(model, op).inputs[parameter]
        del argument.arguments[:]
        for name in names:
            argument.arguments.add().name = name

    return change


def _remove(op: str, parameter: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        del operation(model, op).inputs[parameter]

    return change


def _last_first(model: Any) -> None:
    block = main_block(model)
    operations = list(block.operations)
    del block.operations[:]
    block.operations.extend([operations[-1], *operations[:-1]])


def _no_outputs(model: Any) -> None:
    del operation(model, "relu").outputs[:]


def _two_outputs(model: Any) -> None:
    relu = operation(model, "relu")
    relu.outputs.add().CopyFrom(relu.outputs[0])
    relu.outputs[1].name = "other"


def _other_output(model: Any) -> None:
    main_block(model).outputs[0] = "nothing"


def _other_interface(model: Any) -> None:
    model.description.output[0].name = "nothing"


def _no_main(model: Any) -> None:
    model.mlProgram.functions["other"].CopyFrom(main_function(model))
    del model.mlProgram.functions["main"]


def _other_opset(model: Any) -> None:
    main_function(model).opset = "CoreML99"


def _declared(op: str, *sizes: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        kind = operation(model, op).outputs[0].type.tensorType
        del kind.dimensions[:]
        for size in sizes:
            kind.dimensions.add().constant.size = size
        kind.rank = len(sizes)

    return change


def _flexible_input(model: Any) -> None:
    main_function(model).inputs[0].type.tensorType.dimensions[1].unknown.variadic = False


def _neural_network(model: Any) -> None:
    model.neuralNetwork.SetInParent()


def _constant_of(op: str) -> Callable[[Any], None]:
    """The value of a constant becomes a text."""

    def change(model: Any) -> None:
        name = operation(model, op).inputs["axis" if op == "y" else "axes"].arguments[0].name
        value = operation(model, name).attributes["val"]
        value.type.tensorType.dataType = 2  # STRING
        value.type.tensorType.rank = 0
        del value.type.tensorType.dimensions[:]
        value.immediateValue.tensor.strings.values.append("one")

    return change


_DAMAGE: dict[str, tuple[Callable[[Any], None], str]] = {
    "unknown op": (
        _rename("relu", "reluu"),
        r"reluu 'relu': unknown operation 'reluu': did you mean 'relu'\? known: .*softmax",
    ),
    "unknown op, nothing near": (_rename("relu", "zzz"), "zzz 'relu': unknown operation 'zzz': known: "),
    "unknown constexpr": (_rename("relu", "constexpr_foo"), "unknown operation 'constexpr_foo'"),
    "unknown input": (_bind("relu", "alpha", "linear"), "relu 'relu': unknown input 'alpha'"),
    "missing input": (_remove("relu", "x"), "relu 'relu': input 'x' is missing"),
    "missing constant": (_remove("linear", "weight"), "linear 'linear': input 'weight' is missing"),
    "runtime axes": (_bind("mean", "axes", "ids"), "reduce_mean 'mean': input 'axes' must be a constant"),
    "runtime axis": (_bind("y", "axis", "ids"), "softmax 'y': input 'axis' must be a constant"),
    "two values": (_bind("relu", "x", "sum", "sum"), "relu 'relu': input 'x' takes one value, not 2"),
    "no value": (_bind("relu", "x"), "relu 'relu': input 'x' takes one value, not 0"),
    "value from nowhere": (_bind("relu", "x", "ghost"), "relu 'relu': x: value 'ghost' is used before it is computed"),
    "value from later": (_bind("relu", "x", "mean"), "relu 'relu': x: value 'mean' is used before it is computed"),
    "order": (_last_first, "softmax 'y'.*is used before it is computed"),
    "text for numbers": (_constant_of("mean"), "reduce_mean 'mean': axes: a value that does not fit"),
    "text for a number": (_constant_of("y"), "softmax 'y': axis: a value that does not fit"),
    "no outputs": (_no_outputs, "relu '': an operation without outputs"),
    "no such output": (_other_output, "output 'nothing' is computed by no operation"),
    "no such interface": (_other_interface, "interface 'nothing' is not in the program"),
    "no main": (_no_main, "the program has no function 'main'; known: other"),
    "no such opset": (_other_opset, "function 'main' has nothing for its opset 'CoreML99'"),
    "flexible input": (_flexible_input, "interface 'x': it does not say which shapes"),
    "negative size": (_declared("relu", 2**64 - 1, 4), "relu 'relu': impossible shape"),
    "size of everything": (_declared("relu", 2**20, 2**20), "relu 'relu': impossible shape"),
    "rank 9": (_declared("relu", *[1] * 9), "relu 'relu': impossible shape"),
    "no ML program": (_neural_network, "not an ML Program, but neuralNetwork"),
}


@pytest.mark.parametrize("name", list(_DAMAGE))
def test_a_program_that_cannot_run_does_not_load(package: Path, name: str) -> None:
    change, message = _DAMAGE[name]
    with edited(package) as model:
        change(model)
    with pytest.raises(BundleError, match=message) as error:
        MilModel.load(package, "fp32")
    assert "m.mlpackage" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_declared("relu", 1, 4, 3), re.escape("relu 'relu' gives [1, 3, 4], declared [1, 4, 3]")),
        (_two_outputs, "relu 'relu' gives 1 results"),
        (_bind("mean", "x", "ids"), "reduce_mean 'mean' cannot run"),
    ],
    ids=["shape", "results", "integers into a mean"],
)
def test_a_program_that_contradicts_itself_stops(package: Path, change: Callable[[Any], None], message: str) -> None:
    with edited(package) as model:
        change(model)
    with pytest.raises(BundleError, match=message):
        MilModel.load(package, "fp32").run(_GOOD)


def test_control_flow_is_refused(tmp_path: Path) -> None:
    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        large = mb.greater_equal(x=mb.reduce_sum(x=variables["x"]), y=np.float32(0))
        up, down = (lambda: mb.add(x=variables["x"], y=np.float32(1))), (lambda: mb.relu(x=variables["x"]))
        return mb.cond(pred=large, _true_fn=up, _false_fn=down, name="y")

    path = save(tmp_path / "m.mlpackage", {"x": ((4,), "fp32")}, body)
    with pytest.raises(BundleError, match=r"cond .*: control flow is not supported"):
        MilModel.load(path)


def test_state_is_refused(tmp_path: Path) -> None:
    import coremltools as ct
    from coremltools.converters.mil.mil import Function, Program, types

    mb = builder()
    specs = {"x": mb.placeholder((4,)), "state": mb.state_tensor_placeholder((4,), types.fp16)}
    with Function(specs, opset_version=ct.target.iOS18) as function:
        kept = mb.cast(x=mb.read_state(input=function.inputs["state"]), dtype="fp32")
        function.set_outputs([mb.add(x=kept, y=function.inputs["x"], name="y")])
    program = Program()
    program.add_function("main", function)
    ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS18, skip_model_load=True).save(
        str(tmp_path / "m.mlpackage")
    )
    with pytest.raises(BundleError, match=r"state.*stateType values are not supported"):
        MilModel.load(tmp_path / "m.mlpackage")


def test_an_operation_that_exists_but_is_not_known(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.mlpackage",
        {"x": ((1, 4), "fp32")},
        lambda v: builder().scaled_tanh(x=v["x"], alpha=0.5, beta=0.5, name="y"),
    )
    with pytest.raises(BundleError, match=r"m\.mlpackage: scaled_tanh 'y': unknown operation 'scaled_tanh'"):
        MilModel.load(path)


def test_indices_are_checked_even_when_they_are_constants(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.mlpackage",
        {"x": ((5, 4), "fp32")},
        lambda variables: builder().gather(x=variables["x"], indices=integers(3, low=5, high=6), axis=0, name="y"),
    )
    with pytest.raises(BundleError, match=r"gather 'y' cannot run.*outside an axis of 5"):
        MilModel.load(path).run({"x": floats(5, 4)})
