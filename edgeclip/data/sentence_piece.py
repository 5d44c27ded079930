"""SentencePiece tokenizers, from the one file that the published models have: SigLIP's has 32000 pieces of English (C4).

Text -> cleaned -> pieces (Kudo, "Subword Regularization", arXiv 1804.10959) -> `ids eot pad pad ...`. The end token stays when
a text is cut, and pads: SigLIP pools the last position, which is an end token in every text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgeclip.data.cleaning import CLEANING, check_length
from edgeclip.errors import BundleError, InputError, MissingPackageError
from edgeclip.spec import Tokenizer

MODEL_FILE = "spiece.model"
MAX_BYTES = 32 * 1024 * 1024  # the largest published one, of 256000 pieces, has 4 MB
_END = "</s>"


class SentencePiece:
    """Texts -> (N, context_length) int32 ids."""

    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)

    def __init__(self, spec: Tokenizer, content: bytes) -> None:
        """content: a serialised SentencePiece model. Raises ValueError where it is none, or not of this tokenizer."""
        self.spec = spec
        self.content = content
        self._processor = _processor(content)
        if (size := self._processor.get_piece_size()) != spec.vocab_size:
            raise ValueError(f"it has {size} pieces, the model {spec.vocab_size} ids")
        if (end := self._processor.piece_to_id(_END)) != spec.eot:
            raise ValueError(f"its end token {_END} has id {end}, the model's has {spec.eot}")

    @classmethod
    def load(cls, folder: Path, spec: Tokenizer) -> SentencePiece:
        """Read the tokenizer file of a bundle."""
        path = folder / MODEL_FILE
        try:
            return cls(spec, _content(path))
        except (OSError, ValueError) as error:
            raise BundleError(f"{path}: tokenizer file cannot be used ({error}); convert the model again") from error

    @classmethod
    def given(cls, path: Path, spec: Tokenizer) -> SentencePiece:
        """Read a user's file, or the hub's."""
        try:
            return cls(spec, _content(path))
        except OSError as error:
            raise InputError(f"--tokenizer {path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise InputError(f"--tokenizer {path}: not this model's {MODEL_FILE} ({error})") from error

    @classmethod
    def stand_in(cls, spec: Tokenizer) -> SentencePiece:
        """Pieces made of CLIP's vocabulary, see `stand_in_pieces`."""
        from edgeclip.data.stand_in_pieces import stand_in_model

        return cls(spec, stand_in_model(spec.vocab_size))

    def save(self, folder: Path) -> list[Path]:
        """Write `spiece.model`, the name that the hub has for it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / MODEL_FILE
        path.write_bytes(self.content)
        return [path]

    def __call__(self, texts: Iterable[str]) -> np.ndarray:
        """Tokenize: -> (N, context_length) int32."""
        rows = [self.spec.framed(self.encode(text)) for text in texts]
        return np.array(rows, np.int32).reshape(len(rows), self.spec.context_length)

    def encode(self, text: str) -> list[int]:
        """The ids of a text without end and padding."""
        check_length(text)
        ids: list[int] = self._processor.encode(CLEANING[self.spec.clean](text))
        return ids


def _content(path: Path) -> bytes:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size >> 20} MB, larger than any vocabulary")
    return path.read_bytes()


def _processor(content: bytes) -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise MissingPackageError('this model\'s tokenizer needs sentencepiece: pip install "edgeclip[siglip]"') from None
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content)
    except RuntimeError as error:
        raise ValueError("not a SentencePiece model") from error
    return processor
