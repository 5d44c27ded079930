"""The committed tables of the apps' tokenizers: what the script makes, and enough to find what ftfy finds."""

from __future__ import annotations

import random

import pytest
import regex
from ftfy.badness import is_bad

from edgeclip.data import clip_bpe
from tests.apps.tables import differing, made_section, same_versions, script, stored_tables

SECTIONS = ("html", "ftfy", "nfc", "case", "words", "ascii_punctuation")


def _members(flat):
    return {code for first, last in zip(flat[::2], flat[1::2], strict=True) for code in range(first, last + 1)}


@pytest.mark.slow
@pytest.mark.parametrize("name", SECTIONS)
def test_the_script_makes_the_committed_tables(name):
    """Where the versions are those in `made_by`; elsewhere Unicode may differ, and the vectors leave out what does."""
    same = stored_tables()[name] == made_section(name)
    if not same and not same_versions(name):
        pytest.skip(f"made by {stored_tables()['made_by'][name]}, which differs from {script().SECTIONS[name][0]()} here")
    assert same, "run scripts/app_text_tables.py and commit the file"


@pytest.mark.slow
def test_what_differs_elsewhere_is_characters():
    """Never more than a few thousand of them, of which the vectors are free; anything else fails in `differing`."""
    assert len(differing()) < 20_000
    assert not differing() or not all(map(same_versions, SECTIONS))


def test_the_file_is_as_the_script_writes_it():
    assert script().PATH.read_text("utf-8") == script().text(stored_tables())
    assert set(stored_tables()) == {"schema", "made_by", *SECTIONS}
    assert script().PATH.stat().st_size < 300_000


@pytest.mark.skipif(not same_versions("ftfy"), reason="another ftfy or Unicode made the tables")
def test_the_patterns_find_the_mojibake_that_ftfy_finds():
    rng, bad = random.Random(0), stored_tables()["ftfy"]["bad"]
    classes = [_members(flat) for flat in bad["classes"]]
    characters = sorted(set().union(*(members for members in classes if len(members) < 2000)))
    found = 0
    for _ in range(4000):
        text = "".join(chr(rng.choice(characters)) for _ in range(rng.randint(1, 6)))
        matched = _matches(bad["start_patterns"], classes, text, starts=(0,)) or _matches(bad["patterns"], classes, text)
        assert matched == is_bad(text), text
        found += matched
    assert 1000 < found < 3000


def _matches(patterns, classes, text, starts=None):
    codes = [ord(char) for char in text]
    return any(
        start + len(pattern) <= len(codes)
        and all(code in classes[index] for code, index in zip(codes[start:], pattern, strict=False))
        for pattern in patterns
        for start in (starts or range(len(codes)))
    )


@pytest.mark.skipif(not same_versions("words"), reason="another regex made the tables")
def test_the_sets_split_words_as_the_pattern_does():
    """The pattern of `ClipBpe` itself, over texts of characters from every set and from none."""
    rng, words = random.Random(1), stored_tables()["words"]
    letter, number, other = (_members(words[name]) for name in ("letter", "number", "other"))
    pools = [
        sorted(letter)[::500],
        sorted(number)[::40],
        [ord(char) for char in "!_-.·…\u0301\u200d€"],
        [0x20, 0xA0, 0x345, 0x3000],
    ]
    for _ in range(500):
        text = "".join(chr(rng.choice(rng.choice(pools))) for _ in range(rng.randint(1, 12)))
        assert clip_bpe._WORDS.findall(text) == _split(text, letter, number, other)


def _split(text, letter, number, other):
    """Runs of letters, single numbers, runs of others; without contractions, of which the texts have none."""
    found: list[tuple[str, str]] = []
    for char in text:
        kind = next((kind for kind, members in (("l", letter), ("n", number), ("o", other)) if ord(char) in members), "")
        if found and found[-1][0] == kind and kind != "n":
            found[-1] = (kind, found[-1][1] + char)
        else:
            found.append((kind, char))
    return [word for kind, word in found if kind]


@pytest.mark.skipif(not same_versions("words"), reason="another regex made the tables")
def test_a_combining_iota_is_between_words():
    """U+0345 folds to a letter: regex takes it neither for one nor for anything else."""
    assert regex.findall(clip_bpe._WORDS, "a\u0345b") == ["a", "b"]
    words = stored_tables()["words"]
    assert not any(0x345 in _members(words[name]) for name in ("letter", "number", "other"))
