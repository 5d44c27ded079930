"""Texts with their token ids, and with what the cleaning makes of them on the way."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from edgeclip.data import cleaning
from edgeclip.data.clip_bpe import ClipBpe, plain_tokens
from edgeclip.data.sentence_piece import SentencePiece
from edgeclip.data.tokenizer import TextTokenizer
from edgeclip.models.openclip import CLIP_BPE
from edgeclip.models.siglip import C4_EN
from edgeclip.spec import Tokenizer
from tests.apps.tables import differing, stored_tables
from tests.apps.texts import SENTENCES, lone_surrogates, sweep, texts

MIN_TEXTS = 10_000
_SHORT = 2_000  # characters; longer ones are told apart by their ids
_PIECES = 1_500


def write_token_vectors(out: Path) -> None:
    """Write `tokens/`, `cleaning.jsonl` and `utf16/` below `out`."""
    wanted = list(_as_the_tables(texts(stored_tables())))
    if len(wanted) < MIN_TEXTS:
        raise SystemExit(f"only {len(wanted)} texts; {MIN_TEXTS} are wanted")
    folder, units = out / "tokens", out / "utf16"
    units.mkdir(parents=True, exist_ok=True)
    for name, tokenizer in _tokenizers():
        tokenizer.save(folder / name)
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(tokenizer.spec))
        ids = tokenizer(wanted).tolist()
        write_lines(folder / f"{name}.jsonl", ({"text": text, "ids": row} for text, row in zip(wanted, ids, strict=True)))
        odd = list(lone_surrogates())
        rows = zip(odd, tokenizer(odd).tolist(), strict=True)
        write_lines(units / f"{name}.jsonl", ({"utf16": _units(text), "ids": row} for text, row in rows))
    short = (text for text in wanted if len(text) <= _SHORT)
    write_lines(out / "cleaning.jsonl", map(_steps, (*short, *_as_the_tables(sweep()))))


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines in ASCII, so that no reader's ideas of line ends matter."""
    with path.open("w", encoding="ascii") as lines:
        for row in rows:
            lines.write(json.dumps(row, separators=(",", ":")) + "\n")


def _as_the_tables(wanted: Iterable[str]) -> Iterator[str]:
    """Those whose characters mean the same here as in the committed tables: all, where the same versions made them."""
    others = differing()
    for text in wanted:
        if not others or others.isdisjoint(map(ord, text + cleaning.lower(text))):
            yield text


def _steps(text: str) -> dict[str, str]:
    repaired = cleaning.repaired_by_ftfy(text)
    return {
        "text": text,
        "ftfy": repaired,
        "unescaped": cleaning.unescaped(cleaning.unescaped(repaired)),
        "lower": cleaning.lower(text),
        "canonicalize": cleaning.canonicalize(text),
    }


def _units(text: str) -> list[int]:
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), "<u2").tolist()


def _tokenizers() -> Iterator[tuple[str, TextTokenizer]]:
    yield "clip", ClipBpe.published(CLIP_BPE)
    trained = trained_pieces()
    yield "sentencepiece", SentencePiece(_sized(trained), trained)
    yield "sentencepiece-bytes", SentencePiece.stand_in(C4_EN)


def _sized(content: bytes) -> Tokenizer:
    import sentencepiece

    return structs.replace(C4_EN, vocab_size=sentencepiece.SentencePieceProcessor(model_proto=content).get_piece_size())


def trained_pieces() -> bytes:
    """A small model with the settings of SigLIP's `c4_en`: unigram, nmt_nfkc, a space in front, spaces folded, no bytes.

    Those of T5's vocabularies, of which it is one (big_vision, `pp/tokenizer.py`): pad 0, end 1, unknown 2, no start.
    """
    import sentencepiece

    words = [word.removesuffix("</w>") for word in plain_tokens() if word.endswith("</w>")]
    lines = [cleaning.canonicalize(sentence) for sentence in SENTENCES for _ in range(20)]
    lines += [" ".join(words[start::700]) for start in range(700)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc",
        vocab_size=_PIECES,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()
