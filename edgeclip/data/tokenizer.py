"""Tokenizers by the name that a manifest has for them. A new one is a file and a row here.

Importing this imports none of them: each has its own needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from edgeclip.errors import BundleError
from edgeclip.manifest import Bundle
from edgeclip.registry import Registry
from edgeclip.spec import Tokenizer

FOLDER = "tokenizer"  # in a bundle


class TextTokenizer(Protocol):
    """Texts -> (N, context_length) int32 ids. `files` are what it needs in a bundle's folder."""

    files: ClassVar[tuple[str, ...]]
    spec: Tokenizer

    @classmethod
    def load(cls, folder: Path, spec: Tokenizer) -> TextTokenizer:
        """From a bundle's files, whose hashes are checked. Raises BundleError."""

    @classmethod
    def given(cls, path: Path, spec: Tokenizer) -> TextTokenizer:
        """From the file that a user or a hub has. Raises InputError where it is not this model's."""

    @classmethod
    def stand_in(cls, spec: Tokenizer) -> TextTokenizer:
        """One that needs no file, for weights that were never trained with any."""

    def save(self, folder: Path) -> list[Path]:
        """Write `files`."""

    def __call__(self, texts: Iterable[str]) -> np.ndarray:
        """Tokenize: -> (N, context_length) int32."""


# "package.module:CLASS", imported on use.
TOKENIZERS: Registry[str] = Registry("tokenizer")
TOKENIZERS.add("clip-bpe", "edgeclip.data.clip_bpe:ClipBpe")
TOKENIZERS.add("sentencepiece", "edgeclip.data.sentence_piece:SentencePiece")


def tokenizer_class(spec: Tokenizer) -> type[TextTokenizer]:
    """The class behind a tokenizer's name."""
    module, _, name = TOKENIZERS[spec.tokenizer].partition(":")
    found: type[TextTokenizer] = getattr(importlib.import_module(module), name)
    return found


def load_tokenizer(bundle: Bundle) -> TextTokenizer:
    """The tokenizer in a bundle, after checking its files' hashes."""
    spec = bundle.manifest.text
    kind = tokenizer_class(spec)
    for name in kind.files:
        bundle.verified_file(f"{FOLDER}/{name}")
    loaded = kind.load(bundle.path / FOLDER, spec)
    ids = (spec.eot, spec.pad, 0 if spec.sot is None else spec.sot)
    if max(ids) >= spec.vocab_size:
        raise BundleError(f"{bundle.path}: the manifest has ids beyond the vocabulary of {spec.vocab_size}")
    return loaded
