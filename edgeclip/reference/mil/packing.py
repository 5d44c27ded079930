"""Integers of fewer than 8 bits, as ML Programs pack them: little-endian, the first value in the lowest bits of the first byte.

A value may lie across two bytes, its lower bits in the first (coremltools' documentation of the iOS16
`constexpr_lut_to_dense`; its `BlobWriter` packs the records of `weight.bin` in the same way).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# How many bits are looked up at once: whole values, and a table that stays in the cache; for fewer values one that is made
# sooner, and for very few none.
_WORD_BITS = {1: 16, 2: 16, 3: 12, 4: 16, 6: 12, 8: 16}
_SHORT_WORD_BITS = {1: 8, 2: 8, 3: 12, 4: 8, 6: 12, 8: 8}
_MANY, _FEW = 1 << 20, 1 << 12
_CHUNK = 1 << 15


def packed_bytes(count: int, bits: int) -> int:
    """How many bytes `count` values take."""
    return -(-count * bits // 8)


def unpack(packed: np.ndarray, bits: int, count: int, signed: bool = False) -> np.ndarray:
    """packed: (packed_bytes(count, bits),) uint8 -> (count,) uint8, or int8 where the highest bit is a sign.

    >>> unpack(np.array([0b11_01_10_00, 0b01], np.uint8), 2, 5).tolist()
    [0, 2, 1, 3, 1]
    """
    values = _fields(_grouped(packed, math.lcm(bits, 8)), bits, math.lcm(bits, 8)).astype(np.uint8).reshape(-1)[:count]
    if not signed:
        return values
    sign = np.uint8(1 << (bits - 1))
    return ((values ^ sign) - sign).view(np.int8)


def look_up(packed: np.ndarray, bits: int, count: int, table: np.ndarray) -> np.ndarray:
    """`table[unpack(packed, bits, count)]`, several values at a time: (count,) of the table's type.

    table: (1 << bits,). Unpacking first and then indexing takes ten times as long, most of it in 8-byte indices.
    """
    if count < _FEW:
        return table[unpack(packed, bits, count)]
    wide = (_WORD_BITS if count >= _MANY else _SHORT_WORD_BITS)[bits]
    rows = table[_fields(np.arange(1 << wide, dtype=np.uint32), bits, wide)]
    words = _words(packed, wide)
    found = np.empty((len(words), wide // bits), table.dtype)
    for start in range(0, len(words), _CHUNK):
        part = slice(start, start + _CHUNK)
        np.take(rows, words[part], axis=0, out=found[part], mode="clip")  # "raise" would copy; every word has its row
    return found.reshape(-1)[:count]


def _grouped(packed: np.ndarray, group_bits: int) -> np.ndarray:
    """Groups of whole bytes that hold whole values: one number each, at most 24 bits."""
    size = group_bits // 8
    if size == 1:
        return packed
    parts = _padded(packed, size).reshape(-1, size).astype(np.uint32)
    return np.bitwise_or.reduce(parts << np.arange(0, group_bits, 8, dtype=np.uint32), axis=1)


def _words(packed: np.ndarray, wide: int) -> np.ndarray:
    if wide == 8:
        return packed
    if wide == 16:
        return _padded(packed, 2).view("<u2")
    return _fields(_grouped(packed, 24), wide, 24).astype(np.uint16).reshape(-1)


def _fields(numbers: np.ndarray, bits: int, wide: int) -> np.ndarray:
    """The values in each number, lowest bits first: (n,) -> (n, wide // bits)."""
    kind: Any = numbers.dtype.type
    return (numbers[:, None] >> np.arange(0, wide, bits, dtype=numbers.dtype)) & kind((1 << bits) - 1)


def _padded(packed: np.ndarray, size: int) -> np.ndarray:
    missing = -len(packed) % size
    return np.concatenate([packed, np.zeros(missing, np.uint8)]) if missing else np.ascontiguousarray(packed)
