"""What is done to a text before its words are looked up, as the original models' training did it."""

from __future__ import annotations

import html
import re
import string
from collections.abc import Callable

import ftfy

from edgeclip.errors import InputError

MAX_TEXT_CHARS = 100_000
# Python refuses to read numbers of thousands of digits; eight that are not leading zeros are beyond Unicode already.
_REFERENCE = re.compile(r"&#0*([0-9]{1,8})[0-9]*")
_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def check_length(text: str) -> None:
    """Refuse what no caption is, before anything walks over it."""
    if len(text) > MAX_TEXT_CHARS:
        raise InputError(f"text of {len(text)} characters is longer than {MAX_TEXT_CHARS}: {text[:40]!r}...")


def lower(text: str) -> str:
    """CLIP's cleaning: mojibake and HTML entities repaired, whitespace folded, lower case."""
    return " ".join(_repaired(text).split()).lower()


def canonicalize(text: str) -> str:
    """SigLIP's, as open_clip has it: `_` as a space, ASCII punctuation out, lower case, whitespace folded.

    Source: big_vision, `evaluators/proj/image_text/prompt_engineering.py`; the repair in front is open_clip's.

    >>> canonicalize("A dog,  running_fast!")
    'a dog running fast'
    """
    return " ".join(_repaired(text).translate(_NO_PUNCTUATION).lower().split())


def repaired_by_ftfy(text: str) -> str:
    """Mojibake, ligatures, widths, quotes, line ends and control characters put right; HTML entities where no `<` is."""
    return ftfy.fix_text(text)


def unescaped(text: str) -> str:
    """HTML entities and character references as the characters they stand for."""
    return html.unescape(_REFERENCE.sub(r"&#\1", text) if "&#" in text else text)


def _repaired(text: str) -> str:
    return unescaped(unescaped(repaired_by_ftfy(text)))


# By the name that a manifest has for it, `Tokenizer.clean`.
CLEANING: dict[str, Callable[[str], str]] = {"lower": lower, "canonicalize": canonicalize}
