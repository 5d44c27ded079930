"""Our tokenizer equals open_clip's, whatever the text."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeclip.data.cleaning import unescaped
from edgeclip.data.clip_bpe import MERGES_FILE, VOCAB_FILE, ClipBpe
from edgeclip.data.reference_tokenizer import reference_ids
from edgeclip.errors import BundleError, InputError
from edgeclip.models.openclip import CLIP_BPE
from edgeclip.verify.samples import TEXTS


@pytest.fixture(scope="module")
def tokenizer():
    return ClipBpe.published(CLIP_BPE)


def test_the_built_in_texts_tokenize_as_in_open_clip(tokenizer):
    np.testing.assert_array_equal(tokenizer(TEXTS), reference_ids(list(TEXTS), tokenizer))


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=120))
def test_any_text_tokenizes_as_in_open_clip(tokenizer, text):
    np.testing.assert_array_equal(tokenizer([text]), reference_ids([text], tokenizer))


_words = st.sampled_from(
    ["it's", "we'll", "<end_of_text>", "&amp;lt;", "iphone15", "don't", "café", "日本", "👩‍👩‍👧", "\u00a0", "#1", "İ", "ſ"]
)


@settings(max_examples=100, deadline=None)
@given(words=st.lists(_words, max_size=60))
def test_awkward_words_tokenize_as_in_open_clip(tokenizer, words):
    text = " ".join(words)
    np.testing.assert_array_equal(tokenizer([text]), reference_ids([text], tokenizer))


def test_a_row_starts_ends_and_is_padded(tokenizer):
    (row,) = tokenizer(["a dog"])
    assert row.dtype == np.int32
    assert row[0] == 49406
    assert row[3] == 49407
    assert not row[4:].any()
    assert len(row) == 77


def test_a_long_text_keeps_its_end_token(tokenizer):
    (row,) = tokenizer(["word " * 1000])
    assert row[-1] == 49407
    assert (row[1:-1] == row[1]).all()


def test_no_texts_give_no_rows(tokenizer):
    assert tokenizer([]).shape == (0, 77)


def test_an_endless_text_is_refused(tokenizer):
    with pytest.raises(InputError, match="text of 200000 characters is longer than"):
        tokenizer(["x" * 200_000])


@pytest.mark.parametrize(
    ("reference", "character"),
    [
        ("&#" + "0" * 5000 + "65;", "a"),
        ("&#" + "9" * 5000 + ";", "\ufffd"),
        ("&#1114112;", "\ufffd"),
        ("&#99999999;", "\ufffd"),
        ("&#000", "\ufffd"),
        ("&#x" + "0" * 5000 + "41;", "a"),
        ("&#x" + "f" * 5000, "\ufffd"),
    ],
)
def test_references_to_numbers_of_any_length(tokenizer, reference, character):
    """html.unescape refuses decimal numbers that Python refuses to read."""
    np.testing.assert_array_equal(tokenizer([f"x {reference}"]), tokenizer([f"x {character}"]))


@given(st.text("&#0123456789xX;aF ", max_size=60))
def test_short_references_are_as_html_unescape_has_them(text):
    assert unescaped(text) == html.unescape(text)


def test_the_files_of_a_bundle_give_the_same_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    np.testing.assert_array_equal(ClipBpe.load(tmp_path, CLIP_BPE)(TEXTS), tokenizer(TEXTS))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (VOCAB_FILE, "{"),
        (VOCAB_FILE, "[]"),
        (VOCAB_FILE, "{}"),
        (VOCAB_FILE, json.dumps({"<start_of_text>": 1, "<end_of_text>": 2})),
        (MERGES_FILE, ""),
        (MERGES_FILE, "#version: 0.2\nonlyone\n"),
        (MERGES_FILE, None),
    ],
)
def test_damaged_files_are_refused(tokenizer, tmp_path, file, content):
    tokenizer.save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(BundleError, match="tokenizer files cannot be used"):
        ClipBpe.load(tmp_path, CLIP_BPE)
