"""The tokenizers that ours are verified against: open_clip's own, and what it makes of a SentencePiece vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeclip.data.tokenizer import TextTokenizer


def reference_ids(texts: list[str], tokenizer: TextTokenizer) -> np.ndarray:
    """Tokenize as `tokenizer` should, with the vocabulary that the original came with: -> (N, context_length) int32."""
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    return np.asarray(_REFERENCES[tokenizer.spec.tokenizer](texts, tokenizer), np.int32)


def _open_clip(texts: list[str], tokenizer: TextTokenizer) -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=tokenizer.spec.context_length, clean=tokenizer.spec.clean)(texts)


def _pieces(texts: list[str], tokenizer: TextTokenizer) -> list[list[int]]:
    """open_clip's cleaning, then the library by names of pieces, with the end token that it adds itself."""
    import sentencepiece
    from open_clip.tokenizer import get_clean_fn

    from edgeclip.data.sentence_piece import SentencePiece

    assert isinstance(tokenizer, SentencePiece)
    clean, length = get_clean_fn(tokenizer.spec.clean), tokenizer.spec.context_length
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.content, add_eos=True)
    rows = [[processor.piece_to_id(piece) for piece in processor.encode_as_pieces(clean(text))] for text in texts]
    end = processor.eos_id()
    cut = [row if len(row) <= length else [*row[: length - 1], end] for row in rows]
    return [row + [end] * (length - len(row)) for row in cut]


_REFERENCES: dict[str, Callable[[list[str], TextTokenizer], Any]] = {"clip-bpe": _open_clip, "sentencepiece": _pieces}
