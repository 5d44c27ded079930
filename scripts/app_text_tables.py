"""Write `sample_apps/shared/text_tables.json`: what the apps' tokenizers know of Unicode, HTML and mojibake.

The apps clean and split texts in code of their own, over these tables, because regular expressions, lower case and normal forms
of a phone are those of its system's Unicode, and token ids have to be the Python reference's on every phone.

    python scripts/app_text_tables.py            # writes the file
    python scripts/app_text_tables.py --check    # exit status 1 where a section is not what these versions make

**The file.** One JSON object. Code points are decimal numbers. A *set* is a flat list `[first, last, first, last, ...]` of
inclusive ranges, sorted, apart from each other. A *map* is an object from a decimal code point to the list of code points that
replaces it (an empty list: it is taken out). A *pattern* is a list of indices into the section's `classes`: one class per
position. Sections, and what each is for:

`schema`    "edgeclip.text_tables/1".

`made_by`   For every section, what it was read from. The `regex` package has a Unicode version of its own, newer than Python's:
            a character that is unknown to the one may be a letter to the other, and both matter.

`html`      `html.unescape`, which follows the HTML standard.
  `entities`    name without `&`, with `;` where it has one -> code points. html.unescape takes the longest name that the text
                begins with, also without `;`; ftfy takes whole names that end in `;`.
  `numeric`     map: numeric references that stand for something else.
  `dropped`     set: numeric references that stand for nothing. Asked after `numeric`, and after surrogates and numbers above
                0x10FFFF have become U+FFFD.

`ftfy`      `ftfy.fix_text` with its defaults.
  `entities`    further names, in capitals (`NTILDE;`), as in `html.entities`; only ftfy's own step knows them.
  `charmaps`    the encodings that a text may have been read in by mistake, in the order of the attempts. `name`; `sloppy`:
                lossy sequences are replaced; `restores_a0`: spaces may stand for the byte A0; `chars`: 256 code points, by
                byte. A text can be encoded if all its code points are among `chars`, where no code point is twice.
  `windows_1252`    256 code points by byte as the standard codec has it, null where a byte has none.
  `bad`         what looks like mojibake: `classes` (sets), `patterns` (anywhere in the text), `start_patterns` (at its very
                beginning). A text is bad if any pattern matches.
  `utf8`        classes of the detector of mojibake inside a text: `first_of_2`, `first_of_3`, `first_of_4`, `continuation`,
                `continuation_strict`. It matches, from left to right, one or more of: first_of_2 continuation; first_of_3
                continuation x 2; first_of_4 continuation x 3; the first of these that fits is taken. The character in front
                of a match is no continuation_strict.
  `altered_utf8`, `lossy_utf8`      `classes` of bytes, `patterns` over them; of several that match, the first is taken.
  `ligatures`, `width`              maps, one character at a time.
  `single_quotes`, `double_quotes`  sets: become ' and ".
  `c1`          set: become what windows-1252 has for the byte, in `charmaps`.
  `control`     set: taken out.
  `decimal`, `alphabetic`           sets: digits and letters of a terminal escape, ESC [ (digit | ;)* letter.

`nfc`       Normalisation form C of `unicodedata`. Hangul syllables are not in here: they are composed and decomposed by the
            arithmetic of the Unicode standard, section 3.12.
  `decompositions`  map: full canonical decompositions, in canonical order.
  `classes`         flat triples `first, last, canonical combining class`; 0 where absent.
  `compositions`    flat triples `first, second, composite`, exclusions applied.

`case`      `str.lower` and `str.split`.
  `lower`       map: where it is not the character itself. U+03A3 is not in it: it becomes U+03C2 where, beyond characters of
                `case_ignorable`, one of `cased` is before it and none after it, else U+03C3.
  `cased`, `case_ignorable`     sets. A character that is both counts as ignorable, and is in the latter alone.
  `space`       set: what `str.split()` splits at.

`words`     CLIP's word pattern as the `regex` package matches it, ignoring case.
  `letter`, `number`, `other`   sets; a character in none of them is between words. `other` is not simply the rest.
  `folded`      for each character of `<start_of_text>`, `<end_of_text>`, `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll`, `'d`, as a
                decimal code point: the set of what matches it.

`ascii_punctuation`     set: what `canonicalize` takes out; `_` is not in it, and becomes a space.

The file is the same wherever `made_by` is the same. Sources: the Python standard library's `html` and `unicodedata`; ftfy
(https://github.com/rspeer/python-ftfy, Apache-2.0); regex (https://github.com/mrabarnett/mrab-regex).
"""

from __future__ import annotations

import argparse
import functools
import html
import html.entities
import itertools
import json
import re
import string
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import ftfy
import regex
from ftfy import badness, chardata

try:
    from re import _constants as sre
    from re import _parser as sre_parse
except ImportError:  # Python 3.10
    import sre_constants as sre
    import sre_parse

SCHEMA = "edgeclip.text_tables/1"
PATH = Path(__file__).resolve().parent.parent / "sample_apps" / "shared" / "text_tables.json"

_ALL = range(0x110000)
_WORD_LITERALS = ("<start_of_text>", "<end_of_text>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
_SIGMA = 0x3A3


def tables() -> dict[str, Any]:
    """The whole file, made by the Python and the packages that run this."""
    made: dict[str, Any] = {"schema": SCHEMA, "made_by": {name: version() for name, (version, _) in SECTIONS.items()}}
    return made | {name: build() for name, (_, build) in SECTIONS.items()}


def text(made: dict[str, Any]) -> str:
    """JSON with a line for each table, so that a difference shows where it is."""
    lines = []
    for name, section in made.items():
        if isinstance(section, dict):
            rows = [f"  {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in section.items()]
            lines.append(f"{json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n}")
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(section, separators=(',', ':'))}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


@functools.cache
def _every_character() -> str:
    return "".join(map(chr, _ALL))


def _set(members: Iterable[int]) -> list[int]:
    """A set as a flat list of inclusive ranges."""
    ranges: list[int] = []
    for code in sorted(members):
        if ranges and ranges[-1] == code - 1:
            ranges[-1] = code
        else:
            ranges += [code, code]
    return ranges


def expanded(flat: list[int]) -> Iterator[int]:
    """The members of a set."""
    for first, last in zip(flat[::2], flat[1::2], strict=True):
        yield from range(first, last + 1)


def _codes(value: str) -> list[int]:
    return [ord(char) for char in value]


def _map(pairs: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    return {str(code): _codes(value) for code, value in sorted(pairs)}


def _html() -> dict[str, Any]:
    replaced, dropped = [], []
    for code in range(0x20000):
        found = html.unescape(f"&#{code};")
        if not found:
            dropped.append(code)
        elif found != chr(code) and not 0xD800 <= code <= 0xDFFF:
            replaced.append((code, found))
    # Above, what stands for nothing are the last two code points of every plane, noncharacters.
    dropped += [plane + low for plane in range(0x20000, len(_ALL), 0x10000) for low in (0xFFFE, 0xFFFF)]
    return {
        "entities": {name: _codes(value) for name, value in sorted(html.entities.html5.items())},
        "numeric": _map(replaced),
        "dropped": _set(dropped),
    }


def _ftfy() -> dict[str, Any]:
    known = {"&" + name for name in html.entities.html5}
    return {
        "entities": {
            name.removeprefix("&"): _codes(value) for name, value in sorted(chardata.HTML_ENTITIES.items()) if name not in known
        },
        "charmaps": [_charmap(name) for name in chardata.CHARMAP_ENCODINGS],
        "windows_1252": [_decoded(byte) for byte in range(256)],
        "bad": _bad(),
        "utf8": {name.removeprefix("utf8_"): _class_of(value) for name, value in chardata.UTF8_CLUES.items()},
        "altered_utf8": _byte_patterns(chardata.ALTERED_UTF8_RE),
        "lossy_utf8": _byte_patterns(chardata.LOSSY_UTF8_RE),
        "ligatures": _map(chardata.LIGATURES.items()),
        "width": _map(chardata.WIDTH_MAP.items()),
        "single_quotes": _matching(chardata.SINGLE_QUOTE_RE),
        "double_quotes": _matching(chardata.DOUBLE_QUOTE_RE),
        "c1": _matching(chardata.C1_CONTROL_RE),
        "control": _set(chardata.CONTROL_CHARS),
        "decimal": _matching(re.compile(r"\d")),
        "alphabetic": _matching(re.compile("[a-zA-Z]")),
    }


def _charmap(name: str) -> dict[str, Any]:
    chars = _codes(bytes(range(256)).decode(name))
    if len(set(chars)) != 256 or any("".join(map(chr, chars)).encode(name)[byte] != byte for byte in range(256)):
        raise SystemExit(f"{name}: is no longer one character a byte, both ways")
    return {"name": name, "sloppy": name.startswith("sloppy"), "restores_a0": name != "macroman", "chars": chars}


def _decoded(byte: int) -> int | None:
    try:
        return ord(bytes([byte]).decode("windows-1252"))
    except UnicodeDecodeError:
        return None


def _matching(pattern: Any) -> list[int]:
    """The set of a pattern of one character."""
    return _set(map(ord, pattern.findall(_every_character())))


def _class_of(members: str) -> list[int]:
    """The set of a regular expression's class, given what is between its brackets."""
    return _matching(re.compile(f"[{members}]"))


def _bad() -> dict[str, Any]:
    classes: list[list[int]] = []
    patterns, start = [], []
    for sequence in _sequences(sre_parse.parse(badness.BADNESS_RE.pattern, re.VERBOSE)):
        target = patterns
        if sequence[0] == _START:
            target, sequence = start, sequence[1:]
        target.append([_index(classes, members) for members in sequence])
    return {"classes": classes, "patterns": patterns, "start_patterns": start}


def _byte_patterns(pattern: re.Pattern[bytes]) -> dict[str, Any]:
    classes: list[list[int]] = []
    sequences = list(_sequences(sre_parse.parse(pattern.pattern)))
    return {"classes": classes, "patterns": [[_index(classes, members) for members in sequence] for sequence in sequences]}


def _index(classes: list[list[int]], members: list[int]) -> int:
    if members not in classes:
        classes.append(members)
    return classes.index(members)


_START = [-1]  # in a sequence: the beginning of the text


def _sequences(parsed: Any) -> Iterator[list[list[int]]]:
    """The sequences of classes that a pattern stands for, in the order in which it tries them.

    Raises SystemExit at what no pattern of ftfy's has had so far.
    """
    for parts in itertools.product(*(list(_alternatives(operation, value)) for operation, value in parsed)):
        yield list(itertools.chain.from_iterable(parts))


def _alternatives(operation: Any, value: Any) -> Iterator[list[list[int]]]:
    if operation is sre.BRANCH:
        for branch in value[1]:
            yield from _sequences(branch)
    elif operation is sre.SUBPATTERN:
        yield from _sequences(value[3])
    elif operation is sre.MAX_REPEAT and value[:2] == (0, 1):
        yield from _sequences(value[2])
        yield []
    elif operation is sre.AT and value is sre.AT_BEGINNING:
        yield [_START]
    else:
        yield [_members(operation, value)]


def _members(operation: Any, value: Any) -> list[int]:
    """The set of one position of a pattern."""
    if operation is sre.LITERAL:
        return [value, value]
    if operation is sre.ANY:
        return _set(code for code in _ALL if code != ord("\n"))
    if operation is sre.RANGE:
        return list(value)
    if operation is sre.CATEGORY:
        return _matching(re.compile({sre.CATEGORY_SPACE: r"\s", sre.CATEGORY_WORD: r"\w"}[value]))
    if operation is sre.NOT_LITERAL:
        return _set(code for code in _ALL if code != value)
    if operation is not sre.IN:
        raise SystemExit(f"ftfy has a pattern with {operation}, which this script cannot read")
    negated = value[0][0] is sre.NEGATE
    ranges = [_members(*item) for item in value[negated:]]
    found = {code for flat in ranges for code in expanded(flat)}
    return _set(code for code in _ALL if code not in found) if negated else _set(found)


def _nfc() -> dict[str, Any]:
    decompositions, compositions, classes = [], [], []
    for code in _ALL:
        char = chr(code)
        if combining := unicodedata.combining(char):
            if classes and classes[-1][1:] == [code - 1, combining]:
                classes[-1][1] = code
            else:
                classes.append([code, code, combining])
        if code in _HANGUL_SYLLABLES:
            continue
        full = unicodedata.normalize("NFD", char)
        if full != char:
            decompositions.append((code, full))
            # A canonical decomposition is of one or two characters, and only of two is there a composition.
            pair = [int(part, 16) for part in unicodedata.decomposition(char).split()]
            if len(pair) == 2 and unicodedata.normalize("NFC", "".join(map(chr, pair))) == char:
                compositions.append([*pair, code])
    return {
        "decompositions": _map(decompositions),
        "classes": list(itertools.chain.from_iterable(classes)),
        "compositions": list(itertools.chain.from_iterable(sorted(compositions))),
    }


def _case() -> dict[str, Any]:
    lower, cased, ignorable, spaces = [], [], [], []
    for code in _ALL:
        char = chr(code)
        if char.isspace():
            spaces.append(code)
        if code != _SIGMA and char.lower() != char:
            lower.append((code, char.lower()))
        # How CPython looks around a capital sigma is not otherwise to be asked for.
        if f"{char}{chr(_SIGMA)}".lower().endswith("\u03c2"):
            cased.append(code)
        elif f"a{char}{chr(_SIGMA)}".lower().endswith("\u03c2"):
            ignorable.append(code)
    return {
        "lower": _map(lower),
        "cased": _set(cased),
        "case_ignorable": _set(ignorable),
        "space": _set(spaces),
    }


def _words() -> dict[str, Any]:
    def matching(pattern: str) -> list[int]:
        return _matching(regex.compile(pattern, regex.IGNORECASE))

    letters = sorted(set("".join(_WORD_LITERALS)))
    return {
        "letter": matching(r"[\p{L}]"),
        "number": matching(r"[\p{N}]"),
        "other": matching(r"[^\s\p{L}\p{N}]"),
        "folded": {str(ord(letter)): matching(regex.escape(letter)) for letter in letters},
    }


def _ascii_punctuation() -> list[int]:
    return _set(ord(char) for char in string.punctuation if char != "_")


def _unicode() -> str:
    return f"unicode {unicodedata.unidata_version}"


# By section: the version of what it is read from, and how.
SECTIONS: dict[str, tuple[Callable[[], str], Callable[[], Any]]] = {
    "html": (lambda: "html 5", _html),
    "ftfy": (lambda: f"ftfy {ftfy.__version__}, {_unicode()}", _ftfy),
    "nfc": (_unicode, _nfc),
    "case": (_unicode, _case),
    "words": (lambda: f"regex {regex.__version__}", _words),
    "ascii_punctuation": (lambda: "ascii", _ascii_punctuation),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the tables of the sample apps' tokenizers.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where the file is another")
    if not parser.parse_args().check:
        PATH.parent.mkdir(parents=True, exist_ok=True)
        PATH.write_text(text(tables()), "utf-8")
        print(f"{PATH}: {PATH.stat().st_size >> 10} KB")
        return 0
    stored, made = json.loads(PATH.read_text("utf-8")), tables()
    status = 0
    for name in SECTIONS:
        by, here = stored["made_by"][name], made["made_by"][name]
        same = stored[name] == made[name]
        print(f"{name}: {'the same' if same else 'DIFFERS'}, made by {by}" + ("" if by == here else f"; here {here}"))
        status |= not same
    return status


if __name__ == "__main__":
    sys.exit(main())
