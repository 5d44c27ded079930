"""Weights by stored type: what coremltools compresses, against the file itself and against arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.coreml.inspection import inspect_package
from edgeclip.errors import BundleError
from tests.reference.packages import builder, edited, main_function, save, weight_file

COUNT = 64 * 64
RECORD_BYTES = 64


pytestmark = pytest.mark.usefixtures("quick_collections")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A convolution of 64 x 64 float16 weights."""
    weight = np.random.default_rng(0).standard_normal((64, 64, 1, 1)).astype(np.float16)
    return _saved(tmp_path / "plain.mlpackage", weight, "iOS17")


def _saved(path: Path, weight: np.ndarray, opset: str) -> Path:
    return save(path, {"x": ((1, 64, 1, 8), "fp16")}, lambda v: builder().conv(x=v["x"], weight=weight), opset=opset)


def _compressed(tmp_path: Path, opset: str, kind: str, **options: Any) -> Path:
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    weight = np.random.default_rng(0).standard_normal((64, 64, 1, 1)).astype(np.float16)
    source = _saved(tmp_path / "source.mlpackage", weight, opset)
    ways = {
        "palette": (cto.OpPalettizerConfig, cto.palettize_weights),
        "linear": (cto.OpLinearQuantizerConfig, cto.linear_quantize_weights),
        "prune": (cto.OpMagnitudePrunerConfig, cto.prune_weights),
    }
    config, compress = ways[kind]
    model = ct.models.MLModel(str(source), skip_model_load=True)
    made = compress(model, cto.OptimizationConfig(config(weight_threshold=16, **options)))
    path = tmp_path / "made.mlpackage"
    made.save(str(path))
    return path


def test_plain_weights(plain: Path) -> None:
    found = inspect_package(plain)
    assert found["weights"]["float16"] == {"values": COUNT, "bytes": 2 * COUNT}
    assert found["weight_count"] == COUNT
    assert found["bits_per_weight"] == 16


# scheme -> opset, coremltools' options, stored type of the matrix, its bits, float16 values beside it
CASES = {
    "pal4, iOS16": ("iOS16", "palette", {"mode": "uniform", "nbits": 4}, "uint4", 4, 16),
    "pal6, iOS16": ("iOS16", "palette", {"mode": "uniform", "nbits": 6}, "uint6", 6, 64),
    "pal4, iOS18": ("iOS18", "palette", {"mode": "uniform", "nbits": 4}, "uint4", 4, 16),
    "pal1, iOS18": ("iOS18", "palette", {"mode": "uniform", "nbits": 1}, "uint1", 1, 2),
    "int8, iOS16": ("iOS16", "linear", {"mode": "linear_symmetric", "granularity": "per_channel"}, "int8", 8, 64),
    "int8, iOS18": ("iOS18", "linear", {"mode": "linear_symmetric", "granularity": "per_channel"}, "int8", 8, 64),
    "int4 blocks, iOS18": (
        "iOS18",
        "linear",
        {"mode": "linear_symmetric", "dtype": "int4", "granularity": "per_block", "block_size": 32},
        "int4",
        4,
        128,
    ),
    # The smallest of the larger half, which the threshold is read from, becomes zero as well.
    "half zeros, iOS16": ("iOS16", "prune", {"target_sparsity": 0.5}, "uint1", 1, COUNT // 2 - 1),
    "half zeros, iOS18": ("iOS18", "prune", {"target_sparsity": 0.5}, "uint1", 1, COUNT // 2 - 1),
}


@pytest.mark.parametrize("name", CASES)
def test_compressed_weights(name: str, tmp_path: Path) -> None:
    opset, kind, options, stored, bits, beside = CASES[name]
    path = _compressed(tmp_path, opset, kind, **options)
    found = inspect_package(path)
    zero_points = 64 if name == "int8, iOS16" else 0  # which this form always has
    assert found["weights"][stored] == {"values": COUNT + zero_points, "bytes": COUNT * bits // 8 + zero_points}
    assert found["weight_count"] == COUNT
    assert found["weights"].get("float16", {"values": 0})["values"] in (beside, 0), "small tables are in the program itself"
    total = sum(entry["bytes"] for entry in found["weights"].values())
    assert found["bits_per_weight"] == round(8 * total / COUNT, 3)
    size = weight_file(path).stat().st_size
    records = 2 * len(found["weights"]) + 2
    assert total <= size <= total + records * 2 * RECORD_BYTES, "all of the file but headers and padding"


def test_a_record_that_is_shared_is_stored_once(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64, 1, 1)).astype(np.float16)
    path = _saved(tmp_path / "p.mlpackage", weight, "iOS17")
    before = inspect_package(path)["weights"]["float16"]["bytes"]
    with edited(path) as model:
        function = main_function(model)
        block = function.block_specializations[function.opset]
        source = next(op for op in block.operations if op.type == "const" and len(_shape(op)) == 4)
        twin = block.operations.add()
        twin.CopyFrom(source)
        twin.outputs[0].name = "twin"
    after = inspect_package(path)
    assert after["weights"]["float16"]["bytes"] == before
    assert after["bits_per_weight"] < 16


def _shape(operation: Any) -> list[int]:
    return [size.constant.size for size in operation.outputs[0].type.tensorType.dimensions]


def test_a_program_without_main_is_refused(plain: Path) -> None:
    with edited(plain) as model:
        function = main_function(model)
        model.mlProgram.functions["other"].CopyFrom(function)
        del model.mlProgram.functions["main"]
    with pytest.raises(BundleError, match="no function 'main'"):
        inspect_package(plain)
