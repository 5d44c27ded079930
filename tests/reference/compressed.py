"""Every way in which coremltools compresses the weights of a model, and its own reading of what comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Compress = Callable[[Any], Any]


def _palettized(joint: bool = False, **settings: Any) -> Compress:
    def run(model: Any) -> Any:
        import coremltools.optimize.coreml as cto

        config = cto.OptimizationConfig(cto.OpPalettizerConfig(mode="kmeans", weight_threshold=0, **settings))
        return cto.palettize_weights(model, config, joint_compression=joint)

    return run


def _quantized(joint: bool = False, **settings: Any) -> Compress:
    def run(model: Any) -> Any:
        import coremltools.optimize.coreml as cto

        config = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(weight_threshold=0, **settings))
        return cto.linear_quantize_weights(model, config, joint_compression=joint)

    return run


def _pruned(model: Any) -> Any:
    import coremltools.optimize.coreml as cto

    config = cto.OptimizationConfig(cto.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=0))
    return cto.prune_weights(model, config)


@dataclass(frozen=True)
class Form:
    """A compression: for which system, in which steps, and the operations that it leaves in the program."""

    opset: str
    steps: tuple[Compress, ...]
    operations: frozenset[str]


def _form(opset: str, operations: str, *steps: Compress) -> Form:
    return Form(opset, steps, frozenset(f"constexpr_{name}" for name in operations.split()))


_GROUPS: dict[str, Any] = {"granularity": "per_grouped_channel", "group_size": 4}
_BLOCKS: dict[str, Any] = {"granularity": "per_block", "block_size": 4}
_INT8: dict[str, Any] = {"mode": "linear_symmetric", "dtype": "int8"}
_SMALL_TABLE = _quantized(joint=True, granularity="per_tensor", **_INT8)
FORMS = {
    **{
        f"{os}-pal{bits}": _form(os, "lut_to_dense", _palettized(nbits=bits))
        for os in ("iOS16", "iOS17")
        for bits in (1, 2, 4, 6, 8)
    },
    **{f"iOS18-pal{bits}": _form("iOS18", "lut_to_dense", _palettized(nbits=bits)) for bits in (1, 2, 3, 4, 6, 8)},
    **{f"{os}-int8": _form(os, "affine_dequantize", _quantized(**_INT8)) for os in ("iOS16", "iOS17")},
    "iOS16-uint8": _form("iOS16", "affine_dequantize", _quantized(mode="linear", dtype="uint8")),
    "iOS16-sparse": _form("iOS16", "sparse_to_dense", _pruned),
    "groups": _form("iOS18", "lut_to_dense", _palettized(nbits=3, **_GROUPS)),
    "groups-of-inputs": _form("iOS18", "lut_to_dense", _palettized(nbits=2, channel_axis=1, **_GROUPS)),
    "scaled-pal4": _form("iOS18", "lut_to_dense blockwise_shift_scale", _palettized(nbits=4, enable_per_channel_scale=True)),
    "vectors": _form("iOS18", "lut_to_dense", _palettized(nbits=3, cluster_dim=2)),
    "vectors-in-groups": _form("iOS18", "lut_to_dense", _palettized(nbits=2, cluster_dim=2, **_GROUPS)),
    "int8": _form("iOS18", "blockwise_shift_scale", _quantized(**_INT8)),
    "int8-shifted": _form("iOS18", "blockwise_shift_scale", _quantized(mode="linear", dtype="int8", granularity="per_tensor")),
    "int4": _form("iOS18", "blockwise_shift_scale", _quantized(mode="linear_symmetric", dtype="int4", **_BLOCKS)),
    "uint4": _form("iOS18", "blockwise_shift_scale", _quantized(mode="linear", dtype="uint4", **_BLOCKS)),
    "sparse": _form("iOS18", "sparse_to_dense", _pruned),
    "sparse-pal4": _form("iOS18", "lut_to_sparse sparse_to_dense", _pruned, _palettized(joint=True, nbits=4)),
    "sparse-groups": _form("iOS18", "lut_to_sparse sparse_to_dense", _pruned, _palettized(joint=True, nbits=3, **_GROUPS)),
    "sparse-int8": _form("iOS18", "sparse_blockwise_shift_scale sparse_to_dense", _pruned, _quantized(joint=True, **_INT8)),
    "sparse-int4": _form(
        "iOS18",
        "sparse_blockwise_shift_scale sparse_to_dense",
        _pruned,
        _quantized(joint=True, mode="linear", dtype="int4", **_BLOCKS),
    ),
    "pal4-int8-tables": _form("iOS18", "lut_to_dense blockwise_shift_scale", _palettized(nbits=4), _SMALL_TABLE),
    "sparse-pal4-int8-tables": _form(
        "iOS18",
        "lut_to_sparse sparse_to_dense blockwise_shift_scale",
        _pruned,
        _palettized(joint=True, nbits=4),
        _SMALL_TABLE,
    ),
}


def compress(source: Path, form: Form, path: Path) -> Path:
    """Save the package `source`, compressed, at `path`."""
    import coremltools as ct

    model = ct.models.MLModel(str(source), skip_model_load=True)
    for step in form.steps:
        model = step(model)
    model.save(str(path))
    return path


def their_constants(path: Path) -> tuple[dict[str, np.ndarray], set[str]]:
    """All compressed constants of a package as coremltools decompresses them, by name, and the operations that made them."""
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    model = ct.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    found: dict[str, np.ndarray] = {}
    operations = set()
    for op in load(spec, spec.specificationVersion, model.weights_dir).functions["main"].operations:
        if op.op_type.startswith("constexpr_"):
            operations.add(op.op_type)
            result = _decompressed(op, found)
            found.update({out.name: part for out, part in zip(op.outputs, result, strict=True)})
    return found, operations


def _decompressed(op: Any, known: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """One operation's own formula on its operands; its `materialized_val_inference` knows no compressed table."""
    operands = [op.inputs.get(name) for name in inspect.signature(op.decompress).parameters]
    values = [None if operand is None else known.get(operand.name, operand.val) for operand in operands]
    result = op.decompress(*values)
    return result if isinstance(result, tuple) else (result,)
