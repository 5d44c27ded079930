"""Integers of few bits, against NumPy's bits and coremltools' own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from edgeclip.reference.mil.packing import look_up, packed_bytes, unpack
from edgeclip.reference.mil.values import DTYPES, TensorType, WeightFile
from tests.reference.oracle import floats, integers

_COUNTS = (0, 1, 2, 3, 7, 8, 9, 31, 5000)


def _packed(values: np.ndarray, bits: int) -> np.ndarray:
    flags = np.unpackbits(values.astype(np.uint8).reshape(-1, 1), axis=1, bitorder="little")[:, :bits]
    return np.packbits(flags, bitorder="little")


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("count", _COUNTS)
def test_unpack(bits: int, count: int) -> None:
    values = integers(count, low=0, high=1 << bits).astype(np.uint8)
    packed = _packed(values, bits)
    assert len(packed) == packed_bytes(count, bits)
    np.testing.assert_array_equal(unpack(packed, bits, count), values)
    signed = unpack(packed, bits, count, signed=True)
    np.testing.assert_array_equal(signed, np.where(values >= 1 << (bits - 1), values.astype(int) - (1 << bits), values))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("count", [*_COUNTS, (1 << 20) + 5])
def test_look_up(bits: int, count: int) -> None:
    values, table = integers(count, low=0, high=1 << bits), floats(1 << bits)
    np.testing.assert_array_equal(look_up(_packed(values, bits), bits, count, table), table[values])


_KINDS = {"int4": (-8, 8), "uint1": (0, 2), "uint2": (0, 4), "uint3": (0, 8), "uint4": (0, 16), "uint6": (0, 64)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, np.ndarray]]]:
    """A weight file by coremltools' writer: for each kind, where its record is and what is in it."""
    from coremltools.libmilstoragepython import _BlobStorageWriter as Writer

    path = tmp_path_factory.mktemp("written") / "weight.bin"
    writer: Any = Writer(str(path))
    places = {}
    for kind, (low, high) in _KINDS.items():
        values = integers(5, 7, low=low, high=high).astype(np.int8 if low else np.uint8)
        places[kind] = (int(getattr(writer, f"write_{kind}_data")(values.reshape(-1))), values)
    del writer
    return path, places


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(_KINDS))
def test_records_of_coremltools(kind: str, written: tuple[Path, dict[str, tuple[int, np.ndarray]]]) -> None:
    path, places = written
    offset, values = places[kind]
    got = WeightFile(path).read(offset, TensorType(kind.upper(), (5, 7)), "here")
    np.testing.assert_array_equal(got, values)
    assert got.dtype == DTYPES[kind.upper()].numpy


@pytest.mark.slow
def test_records_of_another_length_are_refused(written: tuple[Path, dict[str, tuple[int, np.ndarray]]]) -> None:
    """Also where the bytes would suffice: 35 values of 4 bits and 36 both take 18."""
    path, places = written
    for shape in ((36,), (34,), (37,), (2**31 - 1, 64)):
        with pytest.raises(BundleError, match="bytes cannot fill"):
            WeightFile(path).read(places["int4"][0], TensorType("INT4", shape), "here")
