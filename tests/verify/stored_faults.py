"""Faults of compression, planted into a package that was just written, or into what chooses its tables."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeclip.reference.mil.package import Package

Patch = pytest.MonkeyPatch
Numbers = Callable[[np.ndarray], np.ndarray]
_RECORD = struct.Struct("<IIQQQ")  # what precedes a constant in `weight.bin`: mark, data type, size, offset, padding


def stored(
    op: str, part: str, change: Callable[[np.ndarray, tuple[int, ...]], np.ndarray], dtype: str
) -> Callable[[Patch], None]:
    """Change one part of all compressed constants of a kind, once the package is written.

    change(numbers, shape) -> as many numbers; `dtype` is how the file's bytes are read, `shape` what the program declares.
    """

    def during(patch: Patch) -> None:
        from converters.coreml import lowering

        write = lowering.write_package

        def wrong(model: Any, metadata: dict[str, str], path: Path) -> None:
            final = bool(metadata)  # packages on the way have none
            write(model, metadata, path)
            if final:
                _change(path, op, part, change, dtype)

        patch.setattr(lowering, "write_package", wrong)

    return during


def _change(path: Path, op: str, part: str, change: Callable[[np.ndarray, tuple[int, ...]], np.ndarray], dtype: str) -> None:
    (file,) = path.rglob("weight.bin")
    content = bytearray(file.read_bytes())
    places = set(_places(path, op, part))
    assert places, f"no {op} with {part}"
    for offset, shape in places:
        mark, _, size, start, _ = _RECORD.unpack_from(content, offset)
        assert mark == 0xDEADBEEF
        numbers = np.frombuffer(bytes(content[start : start + size]), dtype)
        content[start : start + size] = change(numbers, shape).astype(dtype).tobytes()
    file.write_bytes(content)


def _places(path: Path, op: str, part: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Where the parts lie, and their shapes: attributes in the iOS16 forms, operands in the iOS18 forms."""
    function = Package(path).model.mlProgram.functions["main"]
    for operation in function.block_specializations[function.opset].operations:
        if operation.type != op:
            continue
        values = [operation.attributes[part]] if part in operation.attributes else []
        values += [b.value for b in operation.inputs[part].arguments] if part in operation.inputs else []
        for value in values:
            if value.WhichOneof("value") == "blobFileValue":
                shape = tuple(d.constant.size for d in value.type.tensorType.dimensions)
                yield value.blobFileValue.offset, shape


def swapped_halves(numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Of each byte, the first and the second four bits."""
    return (numbers << 4) | (numbers >> 4)


def rolled(numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.roll(numbers, 1)


def one_more(numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return numbers + 1


def other_axis(numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(out, blocks) scales, written as (blocks, out)."""
    return numbers.reshape(shape[0], -1).T.reshape(-1)


def tables(change: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Callable[[Patch], None]:
    """Change look-up tables as they are made; change(weight, table, index) -> the table and the indices."""

    def during(patch: Patch) -> None:
        from converters.coreml.compression import forms

        right = forms.lookup_table

        def wrong(weight: np.ndarray, entries: int) -> tuple[np.ndarray, np.ndarray]:
            return change(weight, *right(weight, entries))

        patch.setattr(forms, "lookup_table", wrong)

    return during


def shuffled(weight: np.ndarray, table: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).permutation(table), index


def one_row_down(rows: int) -> Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The indices of a table of so many rows, in that order in memory; others stay."""

    def change(weight: np.ndarray, table: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return table, np.roll(index, index.size // rows) if index.size % rows == 0 and index.size > rows else index

    return change


def of_the_layer_before() -> Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Every layer gets the table of the one before it."""
    last: list[np.ndarray] = []

    def change(weight: np.ndarray, table: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        last.append(table)
        return last[-2] if len(last) > 1 and len(last[-2]) == len(table) else table, index

    return change


def large_half_left_out(patch: Patch) -> None:
    """The mask of a pruned weight is inverted."""
    import coremltools.optimize.coreml._quantization_passes as passes

    right = passes.prune_weights.compress_by_magnitude

    def wrong(val: np.ndarray, target_sparsity: float, *rest: Any, **more: Any) -> Any:
        small = np.where(np.abs(val) > np.percentile(np.abs(val), 50), 0, val)
        return right(small.astype(val.dtype), target_sparsity, *rest, **more)

    patch.setattr(passes.prune_weights, "compress_by_magnitude", staticmethod(wrong))


def ranges(factor: float) -> Callable[[Patch], None]:
    """All activations' ranges are multiplied."""

    def during(patch: Patch) -> None:
        from converters.coreml import lowering

        right = lowering.activation_ranges

        def wrong(*args: Any) -> dict[str, dict[str, float]]:
            return {name: {end: factor * x for end, x in found.items()} for name, found in right(*args).items()}

        patch.setattr(lowering, "activation_ranges", wrong)

    return during


def doubled_on_the_way_back(patch: Patch) -> None:
    """Activations are divided by a scale, and multiplied by twice that."""
    from coremltools.converters.mil.mil import Builder

    right = Builder.dequantize

    def wrong(**given: Any) -> Any:
        first = isinstance(given["scale"], np.ndarray | np.generic)  # later passes hand on what the program has
        return right(**{**given, "scale": 2 * given["scale"] if first else given["scale"]})

    patch.setattr(Builder, "dequantize", wrong)


def one_left_out(patch: Patch) -> None:
    """One weight of the plan stays as it was, which coremltools says in its log only."""
    from converters.coreml import lowering

    right = lowering.carry_out
    patch.setattr(lowering, "carry_out", lambda plan, *rest: right(dict(list(plan.items())[1:]), *rest))
