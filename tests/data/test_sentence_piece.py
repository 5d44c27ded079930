"""SentencePiece tokenizers against Hugging Face's SiglipTokenizer and open_clip's cleaning, with vocabularies trained here."""

from __future__ import annotations

import io

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from edgeclip.data import sentence_piece
from edgeclip.data.clip_bpe import ClipBpe
from edgeclip.data.reference_tokenizer import reference_ids
from edgeclip.data.sentence_piece import MODEL_FILE, SentencePiece
from edgeclip.errors import BundleError, InputError, UsageError
from edgeclip.models.openclip import CLIP_BPE
from edgeclip.models.siglip import C4_EN
from edgeclip.verify.samples import TEXTS

SIZE = 500
SMALL = structs.replace(C4_EN, vocab_size=SIZE)


@pytest.fixture(scope="module")
def content():
    """A model as T5's were trained: unigram, pad 0, end 1, unknown 2, no start."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            [*TEXTS, *(f"{a} {b} {c}" for a in TEXTS[:12] for b in ("red", "small") for c in ("cat", "tree"))]
        ),
        model_writer=model,
        vocab_size=SIZE,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def tokenizer(content):
    size = sentencepiece.SentencePieceProcessor(model_proto=content).get_piece_size()
    return SentencePiece(structs.replace(SMALL, vocab_size=size), content)


@pytest.fixture(scope="module")
def huggingface(tokenizer, tmp_path_factory):
    from transformers import SiglipTokenizer

    (path,) = tokenizer.save(tmp_path_factory.mktemp("spiece"))
    other = SiglipTokenizer(str(path))
    return lambda texts: np.array(other(texts, padding="max_length", truncation=True, max_length=64).input_ids, np.int32)


def test_as_hugging_face(tokenizer, huggingface):
    """On texts whose cleaning both agree on: Hugging Face repairs nothing, and takes `_` out."""
    texts = [text for text in TEXTS if "_" not in text and "&" not in text]
    np.testing.assert_array_equal(tokenizer(texts), huggingface(texts))


def test_the_built_in_texts_as_in_open_clip(tokenizer):
    np.testing.assert_array_equal(tokenizer(TEXTS), reference_ids(list(TEXTS), tokenizer))


@settings(max_examples=200)
@given(text=st.text(max_size=120))
def test_any_text_as_in_open_clip(tokenizer, text):
    np.testing.assert_array_equal(tokenizer([text]), reference_ids([text], tokenizer))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("A dog, running!", "a dog running"), ("snake_case", "snake case"), ("  two \n lines ", "two lines"), ("it's", "its")],
)
def test_canonical_texts(tokenizer, text, cleaned):
    """As big_vision's `canonicalize_text` documents."""
    np.testing.assert_array_equal(tokenizer([text]), tokenizer([cleaned]))


def test_rows_end_and_are_padded_with_the_end_token(tokenizer):
    short, empty, long = tokenizer(["a red cat", "?!", "a small tree " * 60])
    assert short.dtype == np.int32
    assert short.shape == (64,)
    assert short[-1] == long[-1] == 1
    assert set(empty) == {1}
    assert 1 not in long[:-1]


def test_the_file_of_a_bundle_gives_the_same_tokenizer(tokenizer, tmp_path):
    assert [path.name for path in tokenizer.save(tmp_path)] == [MODEL_FILE]
    np.testing.assert_array_equal(SentencePiece.load(tmp_path, tokenizer.spec)(TEXTS), tokenizer(TEXTS))


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 100, None, "cut", "other size", "other end"])
def test_files_of_something_else_are_refused(tokenizer, tmp_path, damage):
    (path,) = tokenizer.save(tmp_path)
    spec = tokenizer.spec
    path.unlink()
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    elif damage == "cut":
        path.write_bytes(tokenizer.content[: len(tokenizer.content) // 2])
    elif damage is not None:
        path.write_bytes(tokenizer.content)
        spec = structs.replace(spec, vocab_size=32000) if damage == "other size" else structs.replace(spec, eot=5)
    with pytest.raises(BundleError, match="tokenizer file cannot be used"):
        SentencePiece.load(tmp_path, spec)
    with pytest.raises(InputError, match=r"--tokenizer .*spiece\.model: (not this model's|cannot be read)"):
        SentencePiece.given(path, spec)


def test_a_size_that_is_not_the_models_is_named(tokenizer, tmp_path):
    (path,) = tokenizer.save(tmp_path)
    with pytest.raises(InputError, match=rf"it has {tokenizer.spec.vocab_size} pieces, the model 32000 ids"):
        SentencePiece.given(path, C4_EN)


def test_an_enormous_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sentence_piece, "MAX_BYTES", 10)
    (tmp_path / MODEL_FILE).write_bytes(b"x" * 11)
    with pytest.raises(InputError, match="larger than any vocabulary"):
        SentencePiece.given(tmp_path / MODEL_FILE, SMALL)


def test_clip_takes_no_other_vocabulary(tokenizer, tmp_path):
    (path,) = tokenizer.save(tmp_path)
    with pytest.raises(UsageError, match="this model has CLIP's own vocabulary, which edgeclip has; drop --tokenizer"):
        ClipBpe.given(path, CLIP_BPE)


def test_siglip_takes_no_vocabulary_of_clip(tmp_path):
    (vocab, _) = ClipBpe.published(CLIP_BPE).save(tmp_path)
    with pytest.raises(InputError, match="not a SentencePiece model"):
        SentencePiece.given(vocab, C4_EN)


def test_the_stand_in_has_the_size_and_covers_the_table():
    stand_in = SentencePiece.stand_in(C4_EN)
    ids = stand_in(TEXTS)
    assert ids.min() >= 0
    assert ids.max() < 32000
    words = np.unique(ids[ids > 258])
    assert len(words) > 60
    assert np.ptp(words) > 25000
    np.testing.assert_array_equal(ids, reference_ids(list(TEXTS), stand_in))
    assert 2 not in ids, "bytes stand for what no piece does"
