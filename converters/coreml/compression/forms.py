"""How one weight can be stored: a form is a row here, and `plan` and `auto` choose among them.

Each form says twice what it does: to coremltools, which writes the package, and in NumPy, which `auto` uses to try it out.
Tests hold the two against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters.coreml.compression.kmeans import lookup_table
from converters.coreml.compression.weights import Weight
from edgeclip.registry import Registry

BLOCK = 32  # input channels that share a scale
GROUPS = (32, 16, 8)  # output channels that share a look-up table, the first that divides them
_FLOORS = ("iOS16", "iOS17", "iOS18")


@dataclass(frozen=True)
class Form:
    """One way to store a weight.

    bits: of each weight; None where it stays as it is. extra_bytes(weight, min_os): what scales, tables and kept numbers take
    besides. min_os: the first that reads it. steps(weight, min_os): which of coremltools' passes to run, in order, and with
    what configuration. values(weight, min_os): the float array that such a package decodes to.
    """

    name: str
    bits: float | None
    min_os: str
    steps: Callable[[Weight, str], tuple[tuple[str, Any], ...]]
    values: Callable[[Weight, str], np.ndarray]
    extra_bytes: Callable[[Weight, str], float] = lambda weight, min_os: 0

    def size(self, weight: Weight, min_os: str) -> int:
        """Bytes in the weight file, without alignment."""
        if self.bits is None:
            return weight.elements * weight.float_bytes
        entries = lossless_entries(weight)
        if entries:
            return round(weight.elements * math.log2(entries) / 8) + weight.float_bytes * entries
        return round(weight.elements * self.bits / 8 + self.extra_bytes(weight, min_os))


FORMS: Registry[Form] = Registry("form of weights")


def at_least(min_os: str, floor: str) -> bool:
    """Whether an OS floor is `floor` or later."""
    return _FLOORS.index(min_os) >= _FLOORS.index(floor)


def lossless_entries(weight: Weight) -> int | None:
    """How many values a table needs that holds them all, if 16 or fewer do, as for a table that marks tokens."""
    sample = weight.values.reshape(-1)
    if len(np.unique(sample[: 1 << 12])) > 16:
        return None
    count = len(np.unique(sample))
    return None if count > 16 else 1 << max(math.ceil(math.log2(max(count, 2))), 1)


def _half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def _scales(weight: Weight, min_os: str) -> float:
    """A scale for each output channel; before iOS18, a zero point too."""
    return weight.shape[weight.output_axis] * (weight.float_bytes + (0 if at_least(min_os, "iOS18") else 1))


def _block_scales(weight: Weight, min_os: str) -> float:
    return weight.float_bytes * weight.elements / _block(weight) if _block(weight) else _scales(weight, min_os)


def _tables(bits: int, width: int | None = None) -> Callable[[Weight, str], float]:
    """Look-up tables of `width` bytes an entry, by default as many as the weight's own."""

    def size(weight: Weight, min_os: str) -> float:
        group = _group(weight, min_os)
        return (weight.shape[weight.output_axis] // group if group else 1) * (width or weight.float_bytes) * 2**bits

    return size


def _symmetric(values: np.ndarray, axes: tuple[int, ...], limit: int) -> np.ndarray:
    """Rounded to -limit..limit steps, the step being the largest absolute value over `axes` divided by `limit`.

    In float16 throughout, as coremltools computes where the weights are float16: which way a weight between two steps goes
    depends on it.
    """
    half = values.astype(np.float16)
    largest = np.abs(half).max(axis=axes, keepdims=True)
    scale = (2 * largest) / (2 * limit)
    steps = np.round(half / np.where(scale == 0, np.float16(1), scale))
    return np.clip(steps, -limit, limit).astype(np.float32) * scale.astype(np.float32)


def _per_channel(weight: Weight, limit: int) -> np.ndarray:
    axes = tuple(axis for axis in range(weight.values.ndim) if axis != weight.output_axis)
    return _symmetric(weight.values, axes, limit)


def _block(weight: Weight) -> int:
    """Input channels that share a scale: BLOCK, or the largest part of it that divides them; 0 where a channel is too short."""
    size = math.gcd(weight.shape[weight.input_axis], BLOCK)
    return size if size >= 8 else 0


def _linear(dtype: str, **more: Any) -> Any:
    import coremltools.optimize.coreml as cto

    return cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype=dtype, weight_threshold=0, **more)


def _int8(weight: Weight, min_os: str) -> tuple[tuple[str, Any], ...]:
    return (("linear", _linear("int8", granularity="per_channel")),)


def _int4(weight: Weight, min_os: str) -> tuple[tuple[str, Any], ...]:
    block = _block(weight)
    if not block:
        return (("linear", _linear("int4", granularity="per_channel")),)
    return (("linear", _linear("int4", granularity="per_block", block_size=block)),)


def _int4_values(weight: Weight, min_os: str) -> np.ndarray:
    block = _block(weight)
    if not block:
        return _per_channel(weight, 7)
    moved = np.moveaxis(weight.values, (weight.output_axis, weight.input_axis), (0, 1))
    split = moved.reshape(moved.shape[0], moved.shape[1] // block, block, *moved.shape[2:])
    rounded = _symmetric(split, tuple(range(2, split.ndim)), 7).reshape(moved.shape)
    return np.moveaxis(rounded, (0, 1), (weight.output_axis, weight.input_axis))


def _group(weight: Weight, min_os: str) -> int:
    """Output channels that share a table; 0 for one table in all."""
    if not at_least(min_os, "iOS18"):
        return 0
    channels = weight.shape[weight.output_axis]
    return next((size for size in GROUPS if channels % size == 0 and channels > size), 0)


def _palette(bits: int) -> Callable[[Weight, str], Any]:
    def steps(weight: Weight, min_os: str) -> tuple[tuple[str, Any], ...]:
        import coremltools.optimize.coreml as cto

        group = _group(weight, min_os)
        more = {"granularity": "per_grouped_channel", "group_size": group} if group else {"granularity": "per_tensor"}
        config = cto.OpPalettizerConfig(
            mode="custom", lut_function=lambda values: lookup_table(values, 1 << bits), weight_threshold=0, **more
        )
        return (("palettize", config),)

    return steps


def _palette_values(bits: int, lut_limit: int | None = None) -> Callable[[Weight, str], np.ndarray]:
    def values(weight: Weight, min_os: str) -> np.ndarray:
        group = _group(weight, min_os) or weight.shape[weight.output_axis]
        moved = np.moveaxis(_half(weight.values), weight.output_axis, 0)
        tables, indices = [], []
        for start in range(0, len(moved), group):
            table, index = lookup_table(moved[start : start + group].astype(np.float16), 1 << bits)
            tables.append(table.astype(np.float32))
            indices.append(index)
        stacked = np.stack(tables)
        if lut_limit is not None:
            stacked = _symmetric(stacked, (0, 1), lut_limit)
        found = np.concatenate([table[index] for table, index in zip(stacked, indices, strict=True)])
        return np.moveaxis(found.reshape(moved.shape), 0, weight.output_axis)

    return values


def _palette_int8(weight: Weight, min_os: str) -> tuple[tuple[str, Any], ...]:
    return (*_palette(4)(weight, min_os), ("joint", _linear("int8", granularity="per_tensor")))


def _prune(weight: Weight, min_os: str) -> tuple[tuple[str, Any], ...]:
    import coremltools.optimize.coreml as cto

    return (("prune", cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=0)),)


def _prune_int8(weight: Weight, min_os: str) -> tuple[tuple[str, Any], ...]:
    return (*_prune(weight, min_os), ("joint", _linear("int8", granularity="per_channel")))


def _pruned(weight: Weight, min_os: str) -> np.ndarray:
    """The smaller half by magnitude is zero."""
    half = np.abs(weight.values.astype(np.float16))
    return np.where(half <= np.percentile(half, 50), 0, weight.values)


def _pruned_int8(weight: Weight, min_os: str) -> np.ndarray:
    return _per_channel(replace(weight, values=_pruned(weight, min_os)), 127)


for _form in (
    Form("fp16", None, "iOS16", lambda w, o: (), lambda w, o: w.values),
    Form("w8", 8, "iOS16", _int8, lambda w, o: _per_channel(w, 127), _scales),
    Form("w4", 4, "iOS18", _int4, _int4_values, _block_scales),
    *(
        # a table of 8 entries is stored in 3 bits only since iOS18
        Form(f"pal{bits}", bits, "iOS18" if bits == 3 else "iOS16", _palette(bits), _palette_values(bits), _tables(bits))
        for bits in (8, 6, 4, 3, 2)
    ),
    Form("pal4-lut8", 4, "iOS18", _palette_int8, _palette_values(4, lut_limit=127), _tables(4, width=1)),
    Form("prune50", 1, "iOS16", _prune, _pruned, lambda w, o: w.elements * w.float_bytes / 2),  # a mask, and half as it is
    Form("prune50-w8", 5, "iOS18", _prune_int8, _pruned_int8, _scales),
):
    FORMS.add(_form.name, _form)
