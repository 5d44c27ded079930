"""CLIP's byte-pair tokenizer, from the two files that travel in every bundle.

Text -> ftfy and HTML unescaping -> whitespace folded, lower case -> words -> byte-level BPE -> `sot ids eot pad pad ...`.
Over-long texts are cut so that the end token stays. The reference is open_clip's `SimpleTokenizer`; tests compare with it.
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import regex

from edgeclip.data.cleaning import CLEANING, check_length
from edgeclip.errors import BundleError, InputError, UsageError
from edgeclip.spec import Tokenizer

VOCAB_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
_MERGES_HEADER = "#version: 0.2"
_SPECIAL = ("<start_of_text>", "<end_of_text>")
_WORDS = regex.compile("|".join(_SPECIAL) + r"""|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", regex.IGNORECASE)
_PUBLISHED_MERGES = 49152 - 256 - 2  # of the lines in OpenAI's file, CLIP uses this many
_CACHE_LIMIT = 50_000

Merge = tuple[str, str]
Id = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


def _byte_table() -> dict[int, str]:
    """One printable character per byte, in vocabulary order, as GPT-2 and CLIP assign them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + k) for k, byte in enumerate(others)}


def _tokens(merges: Sequence[Merge]) -> list[str]:
    """All tokens in the order of their ids."""
    symbols = _byte_table().values()
    return [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(merge) for merge in merges), *_SPECIAL]


def plain_tokens() -> list[str]:
    """The published tokens that are letters and digits of ASCII, in order, those that end a word with `</w>` behind."""
    return [token for token in _tokens(_published_merges()) if regex.fullmatch(r"[0-9a-z]+(</w>)?", token)]


def _published_merges() -> list[Merge]:
    """From the copy inside open_clip, which is not imported."""
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        raise InputError("the CLIP vocabulary comes with open_clip: pip install open_clip_torch")
    path = Path(package.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : _PUBLISHED_MERGES + 1]
    return [_merge(line) for line in lines]


class ClipBpe:
    """Texts -> (N, context_length) int32 ids."""

    files: ClassVar[tuple[str, ...]] = (VOCAB_FILE, MERGES_FILE)

    def __init__(self, spec: Tokenizer, vocab: dict[str, int], merges: Sequence[Merge]) -> None:
        self.spec = spec
        self._vocab = vocab
        self._merges = list(merges)
        self._ranks = {merge: rank for rank, merge in enumerate(merges)}
        self._bytes = _byte_table()
        self._cache: dict[str, list[int]] = {token: [vocab[token]] for token in _SPECIAL}

    @classmethod
    def published(cls, spec: Tokenizer) -> ClipBpe:
        """The vocabulary that OpenAI published with CLIP."""
        merges = _published_merges()
        return cls(spec, {token: index for index, token in enumerate(_tokens(merges))}, merges)

    @classmethod
    def load(cls, folder: Path, spec: Tokenizer) -> ClipBpe:
        """Read the tokenizer files of a bundle."""
        try:
            vocab = msgspec.json.decode((folder / VOCAB_FILE).read_bytes(), type=dict[str, Id])
            header, *lines = (folder / MERGES_FILE).read_text("utf-8").rstrip("\n").split("\n")
            if header != _MERGES_HEADER:
                raise ValueError("not a CLIP vocabulary")
            merges = [_merge(line) for line in lines]
            if missing := set(_tokens(merges)) - vocab.keys():
                raise ValueError(f"{len(missing)} tokens have no id, such as {min(missing)!r}")
            if vocab[_SPECIAL[0]] != spec.sot or vocab[_SPECIAL[1]] != spec.eot:
                raise ValueError(f"start and end ids are not {spec.sot} and {spec.eot}")
            return cls(spec, vocab, merges)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise BundleError(f"{folder}: tokenizer files cannot be used ({error}); convert the model again") from error

    @classmethod
    def stand_in(cls, spec: Tokenizer) -> ClipBpe:
        """The published vocabulary is always at hand."""
        return cls.published(spec)

    @classmethod
    def given(cls, path: Path, spec: Tokenizer) -> ClipBpe:
        """There is only one vocabulary of CLIP."""
        raise UsageError(f"--tokenizer {path}: this model has CLIP's own vocabulary, which edgeclip has; drop --tokenizer")

    def save(self, folder: Path) -> list[Path]:
        """Write `vocab.json` and `merges.txt`, the two files that CLIP tokenizers on every platform read."""
        folder.mkdir(parents=True, exist_ok=True)
        vocab, merges = folder / VOCAB_FILE, folder / MERGES_FILE
        vocab.write_text(json.dumps(self._vocab, ensure_ascii=False), "utf-8")
        merges.write_text("\n".join([_MERGES_HEADER, *(" ".join(merge) for merge in self._merges)]) + "\n", "utf-8")
        return [vocab, merges]

    def __call__(self, texts: Iterable[str]) -> np.ndarray:
        """Tokenize: -> (N, context_length) int32."""
        rows = [self.spec.framed(self.encode(text)) for text in texts]
        return np.array(rows, np.int32).reshape(len(rows), self.spec.context_length)

    def encode(self, text: str) -> list[int]:
        """The ids of a text without start, end and padding."""
        check_length(text)
        ids: list[int] = []
        for word in _WORDS.findall(CLEANING[self.spec.clean](text)):
            ids.extend(self._word_ids("".join(self._bytes[byte] for byte in word.encode("utf-8"))))
        return ids

    def _word_ids(self, word: str) -> list[int]:
        known = self._cache.get(word)
        if known is not None:
            return known
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            best = min(itertools.pairwise(parts), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            parts = _merged(parts, best)
        ids = [self._vocab[part] for part in parts]
        if len(self._cache) < _CACHE_LIMIT:
            self._cache[word] = ids
        return ids


def _merge(line: str) -> Merge:
    first, second = line.split()
    return first, second


def _merged(parts: list[str], pair: Merge) -> list[str]:
    """Join every occurrence of `pair`, left to right."""
    out: list[str] = []
    index = 0
    while index < len(parts):
        if tuple(parts[index : index + 2]) == pair:
            out.append(pair[0] + pair[1])
            index += 2
        else:
            out.append(parts[index])
            index += 1
    return out
