"""Search indexes as the apps keep them on the phone: a folder `NAME.edgeindex`, written in the middle of whatever users do.

    index.json      {"schema": "edgeclip.index/1", "space_id", "dim", "rows"}
    embeddings.i8   rows x dim int8, row-major
    scales.f32      rows x float32, little-endian
    ids.txt         one id a line, UTF-8, `\\n` behind each; an id is not empty and has no `\\n` in it

A row is `scale * int8`: in float32, scale = max |x| / 127 and int8 = x / scale, rounded half to even. `index.json` is replaced
last and in one step, and says how many rows there are: what is longer was interrupted and is overwritten by the next append,
what is shorter is damaged. Embeddings of another `space_id` are no neighbours of these.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct, structs

from edgeclip.errors import InputError, UsageError
from edgeclip.whole_file import write_whole

SCHEMA: Final = "edgeclip.index/1"
SUFFIX: Final = ".edgeindex"
INDEX_FILE, ROWS_FILE, SCALES_FILE, IDS_FILE = "index.json", "embeddings.i8", "scales.f32", "ids.txt"
MAX_ROWS = 100_000_000
MAX_DIM = 65_536
MAX_ID_BYTES = 4096  # the longest path of a file
_MAX_INDEX_BYTES = 64 * 1024
_STEPS = np.float32(127)
_BLOCK_BYTES = 1 << 26  # of float32 rows at a time


class _Head(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`index.json`."""

    schema: Literal["edgeclip.index/1"]
    space_id: str
    dim: Annotated[int, Meta(ge=1, le=MAX_DIM)]
    rows: Annotated[int, Meta(ge=0, le=MAX_ROWS)]


@dataclass(frozen=True)
class Hit:
    """One row that was found, and its cosine with the query where both have length 1."""

    id: str
    row: int
    score: float


@dataclass(frozen=True)
class EmbeddingIndex:
    """An opened index: values (rows, dim) int8, mapped into memory; scales (rows) float32; ids in the order of rows."""

    path: Path
    space_id: str
    values: np.ndarray
    scales: np.ndarray
    ids: tuple[str, ...]

    def embeddings(self) -> np.ndarray:
        """All rows as float32, (rows, dim)."""
        rows: np.ndarray = self.values.astype(np.float32) * self.scales[:, None]
        return rows

    def search(self, query: np.ndarray, k: int) -> tuple[Hit, ...]:
        """The k best rows of a query (dim), the best first, of equals the earlier; all where there are fewer than k.

        Scores are `scale * (int8 . query)` in float32. Raises UsageError where the query is not of the index's size, or not
        finite.
        """
        query = np.asarray(query, np.float32)
        if query.shape != (self.values.shape[1],) or not np.isfinite(query).all():
            raise UsageError(f"{self.path}: a query has {self.values.shape[1]} finite values")
        if k < 1:
            raise UsageError(f"{self.path}: k is {k}; ask for one row or more")
        block = max(1, _BLOCK_BYTES // (4 * len(query)))
        parts = [self.values[start : start + block].astype(np.float32) @ query for start in range(0, len(self.values), block)]
        scores = np.concatenate([*parts, np.zeros(0, np.float32)]) * self.scales
        best = np.argsort(-scores, kind="stable")[:k]
        return tuple(Hit(self.ids[row], int(row), float(scores[row])) for row in best)


def quantized(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, D) as values (N, D) int8 and scales (N) float32. Raises UsageError at a row that is zero or not finite.

    >>> quantized(np.array([[0.0, -2.0, 1.0]]))
    (array([[   0, -127,   64]], dtype=int8), array([0.01574803], dtype=float32))
    """
    rows = np.asarray(embeddings, np.float32)
    scales: np.ndarray = np.abs(rows).max(axis=1, initial=0) / _STEPS
    if not np.isfinite(rows).all() or not (scales > 0).all():
        raise UsageError("an embedding is zero or not finite, which no search would find")
    return np.rint(rows / scales[:, None]).clip(-_STEPS, _STEPS).astype(np.int8), scales


def append_rows(path: Path, space_id: str, ids: Sequence[str], embeddings: np.ndarray) -> None:
    """Add rows (N, D) behind those of an index, or make one. All of them are there afterwards, or none; one writer at a time.

    Raises UsageError where the rows cannot be in such an index, InputError where it is damaged or cannot be written.
    """
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or len(rows) != len(ids) or not 1 <= rows.shape[1] <= MAX_DIM:
        raise UsageError(f"{path}: {len(ids)} ids for embeddings of shape {list(rows.shape)}")
    lines = b"".join(_line(path, one) for one in ids)
    values, scales = quantized(rows)
    dim = rows.shape[1]
    try:
        path.mkdir(parents=True, exist_ok=True)
        head = _head(path) if (path / INDEX_FILE).exists() else _Head(schema=SCHEMA, space_id=space_id, dim=dim, rows=0)
        if (head.space_id, head.dim) != (space_id, dim):
            raise UsageError(f"{path}: is of space {head.space_id}, {head.dim} values a row; these are of {space_id}, {dim}")
        if head.rows + len(rows) > MAX_ROWS:
            raise UsageError(f"{path}: more than {MAX_ROWS} rows")
        _extend(path / ROWS_FILE, head.rows * dim, values.tobytes())
        _extend(path / SCALES_FILE, head.rows * 4, scales.astype("<f4").tobytes())
        _extend(path / IDS_FILE, _read_ids(path, head.rows)[1], lines)
        write_whole(path / INDEX_FILE, msgspec.json.encode(structs.replace(head, rows=head.rows + len(rows))))
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be written ({error.strerror})") from error


def read_index(path: Path) -> EmbeddingIndex:
    """Open an index. Raises InputError where it cannot be read, or is not what `index.json` says."""
    try:
        head = _head(path)
        shape, row_bytes, scale_bytes = (head.rows, head.dim), head.rows * head.dim, head.rows * 4
        for name, needed in ((ROWS_FILE, row_bytes), (SCALES_FILE, scale_bytes)):
            if (size := (path / name).stat().st_size) < needed:
                raise _damaged(path, f"{name} has {size} bytes, {head.rows} rows need {needed}")
        values = np.memmap(path / ROWS_FILE, np.int8, "r", shape=shape) if head.rows else np.zeros(shape, np.int8)
        scales = np.fromfile(path / SCALES_FILE, "<f4", head.rows).astype(np.float32)
        ids, _ = _read_ids(path, head.rows)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    if not np.isfinite(scales).all() or not (scales > 0).all():
        raise _damaged(path, f"a scale in {SCALES_FILE} is no positive number")
    return EmbeddingIndex(path, head.space_id, values, scales, ids)


def _head(path: Path) -> _Head:
    file = path / INDEX_FILE
    if not file.exists():
        raise InputError(f"{path}: no search index (no {INDEX_FILE})")
    try:
        if file.stat().st_size > _MAX_INDEX_BYTES:
            raise _damaged(path, f"{INDEX_FILE} is larger than any")
        return msgspec.json.decode(file.read_bytes(), type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(path, f"{INDEX_FILE}: {error}") from error


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path}: damaged search index ({why}); delete it and index again")


def _line(path: Path, one: str) -> bytes:
    """An id as it is stored."""
    try:
        line = one.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{path}: id {one[:40]!r} is not Unicode text") from error
    if not 1 <= len(line) <= MAX_ID_BYTES or b"\n" in line:
        raise UsageError(f"{path}: {one[:40]!r} is no id: it takes 1 to {MAX_ID_BYTES} bytes and no line break")
    return line + b"\n"


def _read_ids(path: Path, rows: int) -> tuple[tuple[str, ...], int]:
    """The ids of the first rows, and how many bytes they take."""
    found: list[str] = []
    if rows == 0:
        return (), 0
    with (path / IDS_FILE).open("rb") as file:
        while len(found) < rows:
            line = file.readline(MAX_ID_BYTES + 1)
            if len(line) < 2 or not line.endswith(b"\n"):
                raise _damaged(path, f"{IDS_FILE} has no id for row {len(found)}")
            try:
                found.append(line[:-1].decode())
            except UnicodeDecodeError as error:
                raise _damaged(path, f"{IDS_FILE}: the id of row {len(found)} is not UTF-8") from error
        return tuple(found), file.tell()


def _extend(path: Path, committed: int, data: bytes) -> None:
    """Put data behind the committed bytes of a file, in place of what an interrupted append left there."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        if (size := file.seek(0, os.SEEK_END)) < committed:
            raise _damaged(path.parent, f"{path.name} has {size} bytes, not {committed}")
        file.truncate(committed)
        file.seek(committed)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
