"""A small package that uses many operations, and a judge of what a damaged copy of it does."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeclip.errors import BundleError
from edgeclip.reference.mil.interpreter import MilModel
from tests.reference.oracle import floats, integers
from tests.reference.packages import builder, edited, save

INPUTS = {"x": floats(1, 4, 6, 5), "ids": np.array([[0, 5, 2]], np.int32)}
_MOST_BYTES = 1 << 30


def _body(variables: dict[str, Any], opset: str) -> Any:
    mb = builder()
    x = mb.conv(x=variables["x"], weight=floats(4, 2, 3, 3), pad_type="custom", pad=(1, 1, 2, 0), groups=2, name="conv")
    x = mb.gelu(x=mb.batch_norm(x=x, mean=floats(4), variance=floats(4, low=0.1), epsilon=1e-5), mode="EXACT")
    x = mb.avg_pool(x=x, kernel_sizes=(2, 2), strides=(2, 2), pad_type="valid", name="pool")
    x = mb.transpose(x=mb.reshape(x=x, shape=(1, 4, -1), name="flat"), perm=(0, 2, 1))
    left, right = mb.split(x=x, axis=2, split_sizes=(1, 3))
    x = mb.layer_norm(x=mb.concat(values=(right, left), axis=2), axes=(-1,), gamma=floats(4), beta=floats(4))
    if opset == "iOS18":
        x = mb.scaled_dot_product_attention(query=x, key=x, value=x)
    weight = _modern_weight() if opset == "iOS18" else _early_weight()
    x = mb.matmul(x=x, y=weight, transpose_y=True, name="linear")
    rows = mb.gather(x=floats(6, 8), indices=variables["ids"], axis=0, name="rows")
    top = mb.reduce_argmax(x=variables["ids"], axis=1)
    row = mb.gather_nd(x=rows, indices=mb.stack(values=(np.array([0], np.int32), top), axis=1), name="row")
    tiled = mb.tile(x=mb.expand_dims(x=row, axes=(1,)), reps=(1, 2, 1), name="tile")
    x = mb.add(x=x, y=mb.slice_by_index(x=tiled, begin=(0, 1, 0), end=(1, 2, 8), name="slice"))
    x = mb.softmax(x=mb.cast(x=mb.cast(x=x, dtype="fp16"), dtype="fp32"), axis=-1)
    return mb.reduce_mean(x=x, axes=(1,), keep_dims=False, name="y")


_CODES = np.arange(-64, 64, 4).astype(np.int8).reshape(8, 4)
_MASK = floats(8, 4, seed=5) > 0.2
_PLACES = int(_MASK.sum())


def _narrow(values: np.ndarray, kind: str) -> np.ndarray:
    """An array of few bits, marked as coremltools marks it."""
    from coremltools.converters.mil.mil import types

    return values.astype(types.nptype_from_builtin(types.string_to_builtin(kind)))


def _early_weight() -> Any:
    """(8, 4), the sum of all forms of iOS16."""
    mb = builder()
    scale, zero = floats(8, low=0.01), np.arange(8).astype(np.int8)
    weight = mb.constexpr_affine_dequantize(quantized_data=_CODES, zero_point=zero, scale=scale, axis=0)
    packed, shape = integers(16, low=0, high=256).astype(np.uint8), np.array([8, 4], np.uint32)
    weight = mb.add(x=weight, y=mb.constexpr_lut_to_dense(indices=packed, lut=floats(16), shape=shape))
    mask = np.packbits(_MASK.reshape(-1), bitorder="little")
    sparse = mb.constexpr_sparse_to_dense(nonzero_data=floats(_PLACES), mask=mask, shape=shape)
    cast = mb.constexpr_cast(source_val=floats(8, 4, seed=6).astype(np.float16), output_dtype="fp32")
    return mb.add(x=mb.add(x=weight, y=sparse), y=cast)


def _modern_weight() -> Any:
    """(8, 4), the sum of all forms of iOS18, among them tables, codes and sparse data that are compressed themselves."""
    mb = builder()
    scale, mask = floats(4, 2, low=0.01), _narrow(_MASK, "uint1")
    weight = mb.constexpr_blockwise_shift_scale(data=_CODES, scale=scale)
    few = _narrow(integers(8, 4, low=-8, high=8), "int4")
    weight = mb.add(x=weight, y=mb.constexpr_blockwise_shift_scale(data=few, scale=scale, offset=_narrow(few[:4, :2], "int4")))
    tables = mb.constexpr_blockwise_shift_scale(
        data=integers(2, 1, 8, 1, low=-128, high=128).astype(np.int8), scale=floats(1, 1, 1, 1, low=0.01)
    )
    indices = _narrow(integers(8, 4, low=0, high=8), "uint3")
    weight = mb.add(x=weight, y=mb.constexpr_lut_to_dense(indices=indices, lut=tables))
    vectors = mb.constexpr_lut_to_dense(
        indices=_narrow(integers(4, 4, low=0, high=4), "uint2"), lut=floats(1, 1, 4, 2), vector_axis=np.int32(0)
    )
    picked = _narrow(integers(_PLACES, low=0, high=16), "uint4")
    pair = mb.constexpr_lut_to_sparse(indices_mask=mask, indices_nonzero_data=picked, lut=floats(1, 1, 16, 1))
    found = mb.constexpr_sparse_to_dense(nonzero_data=pair[1], mask=pair[0])
    codes = integers(_PLACES, low=-128, high=128).astype(np.int8)
    pair = mb.constexpr_sparse_blockwise_shift_scale(data_mask=mask, nonzero_data=codes, scale=scale)
    scaled = mb.constexpr_sparse_to_dense(nonzero_data=pair[1], mask=pair[0])
    cast = mb.constexpr_cast(source_val=floats(8, 4, seed=6).astype(np.float16), output_dtype="fp32")
    return mb.add(x=mb.add(x=mb.add(x=mb.add(x=weight, y=vectors), y=found), y=scaled), y=cast)


def save_many_operations(path: Path, opset: str) -> Path:
    """The same bytes whenever it is made: no dates, no random identifiers, map entries in order."""
    inputs = {"x": (INPUTS["x"].shape, "fp32"), "ids": (INPUTS["ids"].shape, "int32")}
    save(path, inputs, lambda variables: _body(variables, opset), opset)
    with edited(path) as model:
        model.description.metadata.Clear()
    entries = {"model": {"author": "com.apple.CoreML", "name": "model.mlmodel", "path": "com.apple.CoreML/model.mlmodel"}}
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": "model"}
    (path / "Manifest.json").write_text(json.dumps(manifest, indent=4), "utf-8")
    return path


def outcome(path: Path) -> Literal["ran", "refused"]:
    """Load and run in a bounded address space; anything but success or a BundleError escapes, as does asking for too much."""
    refusal = ""
    with _bounded():
        try:
            MilModel.load(path).run(INPUTS)
        except BundleError as error:
            refusal = str(error)
    assert "allocate" not in refusal
    return "refused" if refusal else "ran"


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """No more than 1 GB beyond what the process has mapped, where the system can tell."""
    if sys.platform != "linux":
        yield
        return
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MOST_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
