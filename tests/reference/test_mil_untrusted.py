"""Packages with one hostile value each, in every field that says how much to read, or from where."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from edgeclip.reference.mil.interpreter import MilModel
from tests.reference.hostile import outcome, save_many_operations
from tests.reference.oracle import floats
from tests.reference.packages import builder, edited, main_block, main_function, model_file, operation, read, save, weight_file

_HUGE = (2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_many_operations(tmp_path_factory.mktemp("untrusted") / "m.mlpackage", "iOS16")


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "m.mlpackage"))


def _refused(package: Path) -> None:
    assert outcome(package) == "refused"


def _blobs(model: Any) -> list[Any]:
    """All values in `weight.bin`."""
    values = [value for op in main_block(model).operations for value in op.attributes.values()]
    return [value for value in values if value.WhichOneof("value") == "blobFileValue"]


# --- records of weight.bin: <IIQQQ = sentinel, type, size, offset of the data, padding bits -----------------------------------


def _set_record(package: Path, field: int, value: int) -> None:
    content = bytearray(weight_file(package).read_bytes())
    offset = _blobs(read(package))[0].blobFileValue.offset
    record = list(struct.unpack_from("<IIQQQ", content, offset))
    record[field] = value
    struct.pack_into("<IIQQQ", content, offset, *record)
    weight_file(package).write_bytes(content)


@pytest.mark.parametrize("sentinel", [0, 0xDEADBEEE, 0xEFBEADDE, 2**32 - 1])
def test_sentinel(package: Path, sentinel: int) -> None:
    _set_record(package, 0, sentinel)
    with pytest.raises(BundleError, match=r"weight\.bin: .*damaged weight record"):
        MilModel.load(package)


@pytest.mark.parametrize("blob_type", [0, 1, 3, 5, 14, 99, 2**32 - 1])
def test_type(package: Path, blob_type: int) -> None:
    _set_record(package, 1, blob_type)
    with pytest.raises(BundleError, match=f"record of type {blob_type} where FLOAT32 is declared"):
        MilModel.load(package)


@pytest.mark.parametrize("size", [0, 1, 287, 289, 576, *_HUGE])
def test_size(package: Path, size: int) -> None:
    _set_record(package, 2, size)
    with pytest.raises(BundleError, match=f"{size} bytes cannot fill FLOAT32"):
        MilModel.load(package)


@pytest.mark.parametrize("beyond", [0, -1, -16, 2**20, *_HUGE])
def test_data_beyond_the_file(package: Path, beyond: int) -> None:
    end = weight_file(package).stat().st_size
    _set_record(package, 3, beyond if beyond >= 2**31 else end + beyond)
    with pytest.raises(BundleError, match="beyond the file"):
        MilModel.load(package)


@pytest.mark.parametrize("offset", [1, 63, 65, 130, 2])
def test_data_at_a_place_that_no_writer_uses(package: Path, offset: int) -> None:
    """Data starts on 64-byte boundaries; anything else is damage."""
    _set_record(package, 3, offset)
    _refused(package)


@pytest.mark.parametrize("offset", [0, 1, 32, 63, 2**20, *_HUGE])
def test_record_that_is_not_there(package: Path, offset: int) -> None:
    with edited(package) as model:
        _blobs(model)[0].blobFileValue.offset = offset
    with pytest.raises(BundleError, match="weight record"):
        MilModel.load(package)


@pytest.mark.parametrize("kept", [0, 1, 63, 64, 127, 128, -1])
def test_truncated_weights(package: Path, kept: int) -> None:
    content = weight_file(package).read_bytes()
    weight_file(package).write_bytes(content[:kept])
    _refused(package)


# --- names of weight files ----------------------------------------------------------------------------------------------------

_NAMES = (
    "",
    "weight.bin",
    "weights/weight.bin",
    "@model_path/",
    "@model_path/weights",
    "@model_path/nothing",
    "@model_path/../../../outside",
    "@model_path/weights/../../../../outside",
    "@model_path//etc/passwd",
    "/etc/passwd",
    "../../outside",
    "@model_path/weights/weight.bin\0",
    "@model_path/" + "a" * 5000,
    "@model_path/" + "a/" * 5000,
    "@model_path/weights/loop",
    "@model_path/weights/link",
    "@model_path/weights/pipe",
)


@pytest.mark.parametrize("name", _NAMES, ids=lambda name: name[:40].replace("\0", "NUL"))
def test_names_of_weight_files(package: Path, name: str) -> None:
    weights = weight_file(package)
    shutil.copy(weights, package.parent / "outside")
    (weights.parent / "link").symlink_to(package.parent / "outside")
    (weights.parent / "loop").symlink_to(weights.parent / "loop")
    os.mkfifo(weights.parent / "pipe")
    with edited(package) as model:
        for value in _blobs(model):
            value.blobFileValue.fileName = name
    _refused(package)


def test_a_model_that_links_outside(package: Path) -> None:
    model_file(package).rename(package.parent / "outside")
    model_file(package).symlink_to(package.parent / "outside")
    _refused(package)


def test_a_second_name_of_the_same_file_is_fine(package: Path) -> None:
    with edited(package) as model:
        _blobs(model)[0].blobFileValue.fileName = "@model_path/weights/../weights/weight.bin"
    assert outcome(package) == "ran"


# --- declared shapes ----------------------------------------------------------------------------------------------------------

_SHAPES = (
    (),
    (0,),
    (1,),
    (2**31 - 1,),
    (2**16, 2**16),
    (0, 2**63),
    (2**63, 0),
    (0, 2**64 - 1, 0),
    *((size,) for size in _HUGE),
    (1,) * 9,
    (1,) * 1000,
)


def _declare(value_type: Any, shape: tuple[int, ...]) -> None:
    kind = value_type.tensorType
    del kind.dimensions[:]
    for size in shape:
        kind.dimensions.add().constant.size = size
    kind.rank = len(shape)


@pytest.mark.parametrize("shape", _SHAPES, ids=lambda shape: str(shape)[:40])
@pytest.mark.parametrize("place", ["input", "result", "list result", "weights", "inside", "compressed"])
def test_declared_shapes(package: Path, place: str, shape: tuple[int, ...]) -> None:
    with edited(package) as model:
        if place == "input":
            _declare(main_function(model).inputs[0].type, shape)
        elif place == "result":
            _declare(operation(model, "flat").outputs[0].type, shape)
        elif place == "list result":
            _declare(next(op for op in main_block(model).operations if op.type == "split").outputs[1].type, shape)
        elif place == "weights":
            _declare(_blobs(model)[0].type, shape)
        elif place == "inside":
            _declare(operation(model, operation(model, "flat").inputs["shape"].arguments[0].name).attributes["val"].type, shape)
        else:
            op = next(op for op in main_block(model).operations if op.type.startswith("constexpr_"))
            _declare(op.outputs[0].type, shape)
    _refused(package)


@pytest.mark.parametrize("rank", [-1, 1, 2**31, -(2**63)])
def test_a_rank_that_disagrees_with_the_dimensions(package: Path, rank: int) -> None:
    with edited(package) as model:
        operation(model, "flat").outputs[0].type.tensorType.rank = rank
    _refused(package)


@pytest.mark.parametrize("data_type", [0, 1, 2, 12, 999, -1])
def test_types_that_do_not_exist_or_do_not_fit(package: Path, data_type: int) -> None:
    """Unknown numbers, BOOL, STRING and FLOAT64 in place of FLOAT32."""
    with edited(package) as model:
        _blobs(model)[0].type.tensorType.dataType = data_type
    _refused(package)


# --- values inside the program ------------------------------------------------------------------------------------------------


def _immediate(model: Any, op: str, name: str) -> Any:
    """The immediate tensor of a constant input."""
    argument = operation(model, op).inputs[name].arguments[0]
    value = argument.value if argument.WhichOneof("binding") == "value" else operation(model, argument.name).attributes["val"]
    return value.immediateValue.tensor, value.type.tensorType


@pytest.mark.parametrize(
    ("op", "name", "values"),
    [
        ("conv", "pad", (2**31 - 1,) * 4),
        ("conv", "pad", (2**14, 2**14, 2**14, 2**14)),
        ("conv", "pad", (2**14, 0, 2**14, 0)),
        ("conv", "pad", (-100, -100, 0, 0)),
        ("conv", "strides", (0, 0)),
        ("conv", "strides", (-1, 1)),
        ("conv", "dilations", (2**30, 2**30)),
        ("conv", "dilations", (0, 1)),
        ("conv", "groups", (0,)),
        ("conv", "groups", (-2,)),
        ("pool", "kernel_sizes", (0, 0)),
        ("pool", "kernel_sizes", (2**31 - 1, 2)),
        ("pool", "strides", (0, 2)),
        ("tile", "reps", (2**15, 2**15, 1)),
        ("tile", "reps", (2**31 - 1, 2**31 - 1, 2**31 - 1)),
        ("tile", "reps", (1, 0, 1)),
        ("flat", "shape", (2**31 - 1, 2**31 - 1, 2**31 - 1)),
        ("flat", "shape", (-5, 4, -1)),
        ("slice", "begin", (0, 2**31 - 1, 0)),
        ("slice", "end", (-(2**31), 2, 8)),
        ("rows", "axis", (2**31 - 1,)),
        ("rows", "axis", (7,)),
        ("rows", "batch_dims", (1,)),
        ("y", "axes", (9,)),
        ("y", "axes", (1, 1)),
    ],
    ids=lambda value: str(value),
)
def test_hostile_constants(package: Path, op: str, name: str, values: tuple[int, ...]) -> None:
    with edited(package) as model:
        tensor, _ = _immediate(model, op, name)
        del tensor.ints.values[:]
        tensor.ints.values.extend(values)
    _refused(package)


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -float("inf"), 1e30, 0.5])
def test_a_number_where_an_integer_belongs(package: Path, number: float) -> None:
    with edited(package) as model:
        tensor, kind = _immediate(model, "rows", "axis")
        tensor.floats.values.append(number)
        kind.dataType = 11  # FLOAT32
    _refused(package)


def test_a_16_bit_integer_of_more_bits(package: Path) -> None:
    with edited(package) as model:
        tensor, kind = _immediate(model, "rows", "axis")
        tensor.ints.values[0] = 70_000
        kind.dataType = 22  # INT16
    _refused(package)


@pytest.mark.parametrize("op", ["conv", "rows", "tile", "y", "linear"])
def test_a_text_where_a_tensor_belongs(package: Path, op: str) -> None:
    mode = next(op for op in main_block(read(package)).operations if op.type == "gelu").inputs["mode"].arguments[0].name
    for name in operation(read(package), op).inputs:
        with edited(package) as model:
            before = operation(model, op).inputs[name].arguments[0].name
            operation(model, op).inputs[name].arguments[0].name = mode
        _refused(package)
        with edited(package) as model:
            operation(model, op).inputs[name].arguments[0].name = before


def test_a_text_in_a_list_of_tensors(package: Path) -> None:
    with edited(package) as model:
        operations = main_block(model).operations
        mode = next(op for op in operations if op.type == "gelu").inputs["mode"].arguments[0].name
        next(op for op in operations if op.type == "concat").inputs["values"].arguments[0].name = mode
    _refused(package)


def test_an_output_that_the_program_does_not_give(package: Path) -> None:
    """The interface names a value that exists, but only on the way."""
    with edited(package) as model:
        model.description.output[0].name = "flat"
    _refused(package)


def test_an_input_that_the_interface_does_not_name(package: Path) -> None:
    with edited(package) as model:
        del model.description.input[0]
    _refused(package)


def test_an_interface_input_that_the_program_computes(package: Path) -> None:
    with edited(package) as model:
        model.description.input[0].name = "flat"
    _refused(package)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 1, 1, 1, 1), (2, 3, 4, 5), (1, 4, 6, 5)])
def test_a_picture_of_a_shape_that_is_none(package: Path, shape: tuple[int, ...]) -> None:
    with edited(package) as model:
        model.description.input[0].type.imageType.colorSpace = 20  # RGB
        _declare(main_function(model).inputs[0].type, shape)
    _refused(package)


def test_compressed_constants_stay_as_large_as_their_data(package: Path) -> None:
    """20,000 values and 20,000 scales along an axis of 1 would decompress to 1.6 GB."""
    many = 20_000
    blob = struct.pack("<II56x", 2, 2)
    for kind, itemsize in ((4, 1), (2, 4)):
        start = len(blob)
        blob += struct.pack("<IIQQQ", 0xDEADBEEF, kind, many * itemsize, start + 64, 0).ljust(64, b"\0") + bytes(
            many * itemsize
        )
        blob = blob.ljust(-(-len(blob) // 64) * 64, b"\0")
    second = blob.rindex(struct.pack("<I", 0xDEADBEEF))
    with edited(package) as model:
        op = next(op for op in main_block(model).operations if op.type == "constexpr_affine_dequantize")
        data, scale = (op.attributes[name] for name in ("quantized_data", "scale"))
        _declare(data.type, (many, 1))
        _declare(scale.type, (many,))
        for value, offset in ((data, 64), (scale, second)):
            value.blobFileValue.fileName, value.blobFileValue.offset = "@model_path/weights/other.bin", offset
        op.attributes["axis"].immediateValue.tensor.ints.values[0] = 1
        op.attributes["zero_point"].CopyFrom(scale)
        _declare(op.outputs[0].type, (many, many))
    (weight_file(package).parent / "other.bin").write_bytes(blob)
    _refused(package)


def test_a_small_file_cannot_ask_for_a_large_result(tmp_path: Path) -> None:
    """Two vectors of 80 KB make a product of 1.6 GB, declared as such."""
    column = floats(20_000, 1)

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        square = mb.add(x=mb.mul(x=variables["x"], y=column), y=column.T)
        return mb.reduce_mean(x=square, axes=(0, 1), keep_dims=True, name="y")

    path = save(tmp_path / "m.mlpackage", {"x": ((1, 1), "fp32")}, body)
    with pytest.raises(BundleError, match="impossible shape"):
        MilModel.load(path).run({"x": np.ones((1, 1), np.float32)})


# --- Manifest.json ------------------------------------------------------------------------------------------------------------


def _with_path(path: Any) -> str:
    return json.dumps({"itemInfoEntries": {"a": {"path": path}}, "rootModelIdentifier": "a"})


_MANIFESTS: dict[str, str | bytes] = {
    "empty": "",
    "no JSON": "{",
    "not UTF-8": b'{"\xff": 1}',
    "UTF-16": _with_path("com.apple.CoreML/model.mlmodel").encode("utf-16"),
    "null": "null",
    "list": "[]",
    "text": '"itemInfoEntries"',
    "number": "1",
    "no entries": "{}",
    "no root": '{"itemInfoEntries": {}}',
    "root missing": '{"itemInfoEntries": {}, "rootModelIdentifier": "a"}',
    "root a list": '{"itemInfoEntries": {}, "rootModelIdentifier": []}',
    "root an object": '{"itemInfoEntries": {}, "rootModelIdentifier": {}}',
    "entries a list": '{"itemInfoEntries": [], "rootModelIdentifier": "a"}',
    "entries a text": '{"itemInfoEntries": "a", "rootModelIdentifier": "a"}',
    "entries a list, root a number": '{"itemInfoEntries": [{"path": "x"}], "rootModelIdentifier": 0}',
    "entry null": '{"itemInfoEntries": {"a": null}, "rootModelIdentifier": "a"}',
    "entry a text": '{"itemInfoEntries": {"a": "b"}, "rootModelIdentifier": "a"}',
    "entry without a path": '{"itemInfoEntries": {"a": {}}, "rootModelIdentifier": "a"}',
    "path null": _with_path(None),
    "path a number": _with_path(7),
    "path a list": _with_path(["com.apple.CoreML"]),
    "path empty": _with_path(""),
    "path a folder": _with_path("com.apple.CoreML"),
    "path of nothing": _with_path("com.apple.CoreML/nothing"),
    "path escapes": _with_path("../../outside"),
    "path escapes later": _with_path("com.apple.CoreML/../../../outside"),
    "path absolute": _with_path("/etc/passwd"),
    "path with NUL": _with_path("com.apple.CoreML/model.mlmodel\0"),
    "path a lone surrogate": '{"itemInfoEntries": {"a": {"path": "\\ud800"}}, "rootModelIdentifier": "a"}',
    "path too long": _with_path("a" * 5000),
    "path too deep": _with_path("a/" * 5000),
    "path in circles": _with_path("loop"),
    "deep nesting": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "a long number": '{"itemInfoEntries": ' + "1" * 10_000 + "}",
}


@pytest.mark.parametrize("name", list(_MANIFESTS))
def test_manifests(package: Path, name: str) -> None:
    shutil.copy(model_file(package), package.parent / "outside")
    (package / "Data" / "loop").symlink_to(package / "Data" / "loop")
    content = _MANIFESTS[name]
    (package / "Manifest.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BundleError, match=r"m\.mlpackage"):
        MilModel.load(package)


def _manifest_is_a_folder(package: Path) -> None:
    (package / "Manifest.json").unlink()
    (package / "Manifest.json").mkdir()


def _no_manifest(package: Path) -> None:
    (package / "Manifest.json").unlink()


def _a_file(package: Path) -> None:
    shutil.rmtree(package)
    package.write_bytes(b"model")


def _nothing(package: Path) -> None:
    shutil.rmtree(package)


def _no_model(package: Path) -> None:
    model_file(package).unlink()


def _no_weights(package: Path) -> None:
    shutil.rmtree(weight_file(package).parent)


def _weights_are_a_folder(package: Path) -> None:
    weight_file(package).unlink()
    weight_file(package).mkdir()


def _huge_model(package: Path) -> None:
    with model_file(package).open("wb") as file:
        file.truncate(1 << 31)  # sparse: takes no room


@pytest.mark.parametrize(
    "damage",
    [
        _manifest_is_a_folder,
        _no_manifest,
        _a_file,
        _nothing,
        _no_model,
        _no_weights,
        _weights_are_a_folder,
        _huge_model,
    ],
    ids=lambda damage: damage.__name__[1:],
)
def test_files_that_are_not_there_or_are_something_else(package: Path, damage: Callable[[Path], None]) -> None:
    damage(package)
    _refused(package)
