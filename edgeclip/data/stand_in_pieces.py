"""A SentencePiece model made up by code, for weights that were never trained: `seeded:N`.

Its pieces are words and parts of words of CLIP's vocabulary, the commonest first, each with a score that falls slowly with its
rank, so that few long pieces win over many short ones. All bytes are there too, so that no text is unknown. Ids are shuffled,
so that common words reach over the whole token table. What it makes of a text is realistic; it is no published model's.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

import numpy as np

_PAD, _END, _UNKNOWN = "<pad>", "</s>", "<unk>"  # ids 0, 1, 2, as in T5's vocabularies
_SPACE = "\u2581"  # what SentencePiece has for one
_NORMAL, _UNKNOWN_TYPE, _CONTROL, _BYTE = 1, 2, 3, 6  # SentencePiece.Type of sentencepiece_model.proto
_SEED = 0


@functools.cache
def stand_in_model(size: int) -> bytes:
    """A serialised model of `size` pieces: unigram, with byte fallback; the same bytes every time."""
    special = [(_PAD, 0.0, _CONTROL), (_END, 0.0, _CONTROL), (_UNKNOWN, 0.0, _UNKNOWN_TYPE)]
    special += [(f"<0x{byte:02X}>", 0.0, _BYTE) for byte in range(256)]
    words = list(dict.fromkeys(_words()))[: size - len(special)]
    if len(special) + len(words) != size:
        raise ValueError(f"CLIP's vocabulary has words for {len(special) + len(words)} pieces, not for {size}")
    scored = [(word, -10.0 - np.log1p(rank), _NORMAL) for rank, word in enumerate(words)]
    order = np.random.RandomState(_SEED).permutation(len(scored))  # its stream is frozen (NEP 19)
    pieces = [*special, *(scored[place] for place in order)]
    # ModelProto: pieces 1, trainer_spec 2, normalizer_spec 3
    return b"".join(_field(1, _piece(*piece)) for piece in pieces) + _field(2, _trainer(size)) + _field(3, _normalizer())


def _words() -> Iterator[str]:
    """Single characters, then CLIP's tokens that are plain text: at a word's start, and anywhere."""
    from edgeclip.data.clip_bpe import plain_tokens

    yield _SPACE
    for token in plain_tokens():
        word = token.removesuffix("</w>")
        if word == token:
            yield word
        else:
            yield _SPACE + word
            if len(word) <= 2:
                yield word


def _piece(piece: str, score: float, kind: int) -> bytes:
    """SentencePiece: piece 1, score 2, type 3."""
    return _field(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind)


def _trainer(size: int) -> bytes:
    """TrainerSpec: model_type 3 (1: unigram), vocab_size 4, byte_fallback 35, unk_id 40, bos_id 41, eos_id 42, pad_id 43."""
    none = (1 << 64) - 1  # -1
    numbers = ((3, 1), (4, size), (35, 1), (40, 2), (41, none), (42, 1), (43, 0))
    return b"".join(_number(field, value) for field, value in numbers)


def _normalizer() -> bytes:
    """NormalizerSpec: name 1, add_dummy_prefix 3, remove_extra_whitespaces 4, escape_whitespaces 5."""
    return _field(1, b"identity") + b"".join(_number(field, 1) for field in (3, 4, 5))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content
