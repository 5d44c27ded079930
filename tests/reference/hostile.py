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
from tests.reference.oracle import floats
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
    data = np.arange(-64, 64, 4).astype(np.int8).reshape(8, 4)
    if opset == "iOS18":
        weight = mb.constexpr_blockwise_shift_scale(data=data, scale=floats(4, 2, low=0.01))
        x = mb.scaled_dot_product_attention(query=x, key=x, value=x)
    else:
        scale, zero = floats(8, low=0.01), np.arange(8).astype(np.int8)
        weight = mb.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale, axis=0)
    x = mb.linear(x=x, weight=weight, name="linear")
    rows = mb.gather(x=floats(6, 8), indices=variables["ids"], axis=0, name="rows")
    top = mb.reduce_argmax(x=variables["ids"], axis=1)
    row = mb.gather_nd(x=rows, indices=mb.stack(values=(np.array([0], np.int32), top), axis=1), name="row")
    tiled = mb.tile(x=mb.expand_dims(x=row, axes=(1,)), reps=(1, 2, 1), name="tile")
    x = mb.add(x=x, y=mb.slice_by_index(x=tiled, begin=(0, 1, 0), end=(1, 2, 8), name="slice"))
    x = mb.softmax(x=mb.cast(x=mb.cast(x=x, dtype="fp16"), dtype="fp32"), axis=-1)
    return mb.reduce_mean(x=x, axes=(1,), keep_dims=False, name="y")


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
