"""Label banks: the text embeddings of a fixed list of labels, so that an app that only labels pictures ships no text tower.

A bank is a safetensors file (https://github.com/huggingface/safetensors, "Format": 8 bytes of little-endian header length, a
JSON header, row-major little-endian data) of one tensor, `embeddings`: float16 or float32, (labels, D), rows of length 1. Its
metadata, all strings: `schema` "edgeclip.labels/1"; `space_id` as in the manifest; `labels` and `templates`, JSON lists of
strings; `scoring`, a JSON object as in the manifest. Only a bundle of the same `space_id` may use it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from edgeclip.errors import InputError
from edgeclip.recipe import UNIT_TOLERANCE
from edgeclip.spec import Scoring
from edgeclip.whole_file import write_whole

SCHEMA: Final = "edgeclip.labels/1"
TENSOR: Final = "embeddings"
MAX_LABELS = 1_000_000
MAX_DIM = 65_536
MAX_HEADER_BYTES = 64 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024  # what the apps read
_ALIGNMENT = 8  # of the data; the header is padded with blanks
_DTYPES: dict[str, str] = {"F16": "<f2", "F32": "<f4"}

Dtype = Literal["F16", "F32"]


@dataclass(frozen=True)
class LabelBank:
    """embeddings: (labels, D) float32, each row of length 1, the class embedding over `templates`."""

    space_id: str
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    scoring: Scoring
    embeddings: np.ndarray


class _Metadata(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: Literal["edgeclip.labels/1"]
    space_id: str
    labels: str
    templates: str
    scoring: str


class _Tensor(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    dtype: Dtype
    shape: tuple[Annotated[int, Meta(ge=1, le=MAX_LABELS)], Annotated[int, Meta(ge=1, le=MAX_DIM)]]
    data_offsets: tuple[int, int]


class _Header(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    metadata: _Metadata = msgspec.field(name="__metadata__")
    embeddings: _Tensor


def write_label_bank(path: Path, bank: LabelBank, dtype: Dtype = "F16") -> None:
    """Write a bank in place of what is there; the same bank gives the same bytes.

    Raises InputError where the bank is none (see `read_label_bank`) or too large for apps, OSError where the file cannot
    be written.
    """
    embeddings = np.asarray(bank.embeddings)
    _check(path, bank.labels, bank.templates, bank.scoring, embeddings)
    data = embeddings.astype(_DTYPES[dtype]).tobytes()
    lists = [msgspec.json.encode(value).decode() for value in (bank.labels, bank.templates, bank.scoring)]
    metadata = _Metadata(schema=SCHEMA, space_id=bank.space_id, labels=lists[0], templates=lists[1], scoring=lists[2])
    rows, dim = embeddings.shape
    tensor = _Tensor(dtype=dtype, shape=(rows, dim), data_offsets=(0, len(data)))
    header = msgspec.json.encode(_Header(metadata=metadata, embeddings=tensor))
    header += b" " * (-len(header) % _ALIGNMENT)
    if (size := 8 + len(header) + len(data)) > MAX_BYTES or len(header) > MAX_HEADER_BYTES:
        raise InputError(
            f"{path}: {size} bytes, {len(header)} of them a header; apps read {MAX_BYTES} and {MAX_HEADER_BYTES}:"
            " take fewer labels"
        )
    write_whole(path, struct.pack("<Q", len(header)) + header + data)


def read_label_bank(path: Path) -> LabelBank:
    """Read a bank. Raises InputError where it cannot be read, is cut, states what is not so, or has rows not of length 1."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{size} bytes, over {MAX_BYTES}")
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"a header of {length} bytes is too long")
            header = msgspec.json.decode(file.read(length), type=_Header)
            tensor = header.embeddings
            expected = np.dtype(_DTYPES[tensor.dtype]).itemsize * tensor.shape[0] * tensor.shape[1]
            if tensor.data_offsets != (0, expected) or size != 8 + length + expected:
                raise ValueError(f"{size} bytes, not what a {tensor.dtype} tensor of {list(tensor.shape)} has")
            stored = np.frombuffer(file.read(expected), _DTYPES[tensor.dtype]).reshape(tensor.shape)
        stated = header.metadata
        labels, templates = (msgspec.json.decode(text, type=tuple[str, ...]) for text in (stated.labels, stated.templates))
        scoring = msgspec.json.decode(stated.scoring, type=Scoring)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make a label bank with `edgeclip labels`") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, struct.error, RecursionError) as error:
        raise InputError(f"{path}: not a label bank ({error}); make one with `edgeclip labels`") from error
    embeddings = stored.astype(np.float32)
    _check(path, labels, templates, scoring, embeddings)
    return LabelBank(stated.space_id, labels, templates, scoring, embeddings)


def _check(path: Path, labels: tuple[str, ...], templates: tuple[str, ...], scoring: Scoring, embeddings: np.ndarray) -> None:
    if reason := _refusal(labels, templates, scoring, embeddings):
        raise InputError(f"{path}: not a label bank ({reason}); make one with `edgeclip labels`")


def _refusal(labels: tuple[str, ...], templates: tuple[str, ...], scoring: Scoring, embeddings: np.ndarray) -> str | None:
    """Why these are no bank, or None."""
    if not labels or not all(label.strip() for label in labels):
        return "it needs labels, none of them blank"
    if len(set(labels)) != len(labels):
        return "a label is there twice"
    if any(template.count("{}") != 1 for template in templates) or not templates:
        return "its templates need {} once each"
    if not np.isfinite([scoring.logit_scale, scoring.logit_bias or 0.0]).all() or scoring.logit_scale <= 0:
        return "its scale is no positive number"
    if embeddings.ndim != 2 or len(embeddings) != len(labels):
        return f"{len(labels)} labels and embeddings of shape {list(embeddings.shape)}"
    if len(labels) > MAX_LABELS or not 1 <= embeddings.shape[1] <= MAX_DIM:
        return f"more than {MAX_LABELS} labels or {MAX_DIM} values each"
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if not (np.abs(lengths - 1) <= UNIT_TOLERANCE).all():  # NaN is not
        return "an embedding has not length 1"
    return None
