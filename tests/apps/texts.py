"""Texts that a tokenizer may meet, and those that tell one port of the cleaning from another. The same ones every time."""

from __future__ import annotations

import html.entities
import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Any

from ftfy import chardata

from edgeclip.data.prompts import read_templates, template_sets
from edgeclip.verify.samples import TEXTS

SENTENCES = (
    "a photo of a small dog running on the beach",
    "Über den Wolken müßte die Freiheit grenzenlos sein – schöne Grüße aus Köln!",
    "L’été dernier, à l’hôtel près de la forêt: crème brûlée, cœur, naïveté, ça va?",
    "El niño comió piñas en el jardín; ¿cuántas? ¡Muchísimas!",
    "À noite, o avião cruzou o céu; coração, pão e maçã.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy; Zażółć gęślą jaźń.",
    "Árvíztűrő tükörfúrógép, őszi eső",
    "Şişli'de ılık bir İstanbul akşamı, ağaçlar ve çiçekler",
    "Įlinkdama fechtuotojo špaga; ķērpis, ūdens, āboli, ņuja",
    "Съешь же ещё этих мягких французских булок, да выпей чаю № 5",
    "Їжак і ґава в саду — чудова світлина",
    "Ὀδυσσεύς, Σίσυφος και Ορφέας στη θάλασσα· ΟΔΟΣ ΤΗΣ ΘΑΛΑΣΣΑΣ",
    "שלום עולם, חתול יושב על הגג",
    "صورة لقطة تجلس على السطح، ١٢٣ و۴۵۶",
    "यह एक कुत्ते की तस्वीर है, क्षत्रिय",
    "นี่คือรูปถ่ายของแมวน้อย",
    "இது ஒரு பூனையின் படம்",
    "这是一张小狗在海滩上奔跑的照片。",
    "海辺を走る犬の写真、ｶﾀｶﾅ と ﾊﾝｶｸ、Ｆｕｌｌ　ｗｉｄｔｈ！",
    "해변을 달리는 강아지 사진",
    "Một bức ảnh về con chó nhỏ đang chạy trên bãi biển, Ằ ễ ợ",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪🇫🇷 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ ❤️‍🔥 🧑🏿‍🚀",
    "10³ m² ½ cup ±5 % × 3 ÷ 2 ≈ ∞, √2 ≠ 1.4142, ∂f/∂x, 25 °C, 5 µm",
    "“Curly” ‘quotes’ and ‚low‘ „ones“ « guillemets » ‹single›… – — ―",
    "price: €5, £4, ¥300, ¢99, ₧10, ₹7, ₿1",
    "© 2024 Æthelred™ & Ðóra® · §4 ¶2 †‡ •",
)
_SPACES = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
_MOJIBAKE_CODECS = (
    *chardata.CHARMAP_ENCODINGS,
    "sloppy-windows-1255",
    "sloppy-windows-1256",
    "sloppy-windows-1258",
    "sloppy-cp874",
    "windows-1252",
    "cp850",
    "koi8-r",
    "mac_cyrillic",
)


def texts(tables: dict[str, Any]) -> Iterator[str]:
    """All of them, each once. tables: `text_tables.json`, whose borders are walked along. None has a lone surrogate."""
    seen: set[str] = set()
    kinds = (
        _plain(),
        _ascii(),
        _contractions(),
        _whitespace(),
        _entities(),
        _mojibake(),
        _lossy(),
        _altered(),
        _suspicious(tables),
        _ligatures_and_widths(tables),
        _escapes(),
        _sigmas(tables),
        _combining(tables),
        _hangul(),
        _emoji(),
        _borders(tables),
        _sweep(),
        _anything(),
        _long(),
    )
    for text in itertools.chain.from_iterable(kinds):
        if text not in seen and not any(0xD800 <= ord(char) <= 0xDFFF for char in text):
            seen.add(text)
            yield text


def lone_surrogates() -> Iterator[str]:
    """What only strings of 16-bit units can hold."""
    for code in (0xD800, 0xDBFF, 0xDC00, 0xDFFF):
        char = chr(code)
        yield from (char, f"a{char}b", f"{char}{char}", f"caf\xe9 {char} Ã©", f"×{char}", f"{char}&#xD83D;&#xDE00;")
    yield "".join(map(chr, (0xDE00, 0xD83D)))


def sweep() -> Iterator[str]:
    """Planes 0 to 3 and the tags, whole: too much for tokens, of which a row has few."""
    return ("".join(chunk) for chunk in _chunks(itertools.chain(range(0x34000), range(0xE0000, 0xE0200)), 256))


def _plain() -> Iterator[str]:
    yield from TEXTS
    yield from SENTENCES
    nouns = ("dog", "tench", "Golden Retriever", "São Paulo skyline", "X-ray", "iPhone 15 Pro", "T-shirt", "naïve café")
    templates = [template for name in template_sets() for template in read_templates(name)]
    for noun in nouns:
        yield from (template.replace("{}", noun) for template in templates)
    for sentence in SENTENCES:
        yield from (sentence.upper(), sentence.lower(), sentence.title(), sentence.swapcase(), sentence[::-1])
        yield from (sentence.replace(" ", separator) for separator in ("", "_", "-", ",", "\n", "\u3000", "<", "&"))
        yield from sentence.split()


def _ascii() -> Iterator[str]:
    chars = [chr(code) for code in range(128)]
    yield from chars
    yield from (f"a{char}b" for char in chars)
    yield from (f"1{char}2 {char}{char}" for char in chars)
    yield from ("".join(pair) for pair in itertools.product("".join(map(chr, range(0x20, 0x7F, 3))) + "\n\t", repeat=2))
    yield "".join(chars[0x20:0x7F])
    rng = random.Random(1)
    for _ in range(400):
        yield "".join(rng.choices(chars[0x20:0x7F], k=rng.randint(1, 60)))


def _contractions() -> Iterator[str]:
    endings = ("s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "vE", "LL", "ſ", "x", "sx", "res", "l", "v", "r", "'s")
    for apostrophe in ("'", "’", "‘", "ʼ", "‛", "`", "´", "＇", "&#39;", "&apos;", "&#x27;", "''"):
        for ending in endings:
            yield f"it{apostrophe}{ending}"
            yield f"{apostrophe}{ending} {apostrophe} {ending}1{apostrophe}{ending}!{apostrophe}{ending}"
    names = ("start_of_text", "end_of_text", "START_OF_TEXT", "ſtart_of_text", "end_of_text ", "endoftext", "")
    for name in names:
        yield from (
            f"<{name}>",
            f"a <{name}> b",
            f"a<{name}>b'<{name}",
            f"&lt;{name}&gt;",
            f"<<{name}>>",
            f"＜{name}＞",
            f"{name}>",
        )


def _whitespace() -> Iterator[str]:
    yield ""
    yield from _SPACES
    for space in _SPACES:
        yield from (f"a{space}b", f"{space}a", f"a{space}", f" {space} a {space}{space}b {space} ", f"{space}.{space}1{space}")
    rng = random.Random(2)
    for _ in range(60):
        yield "".join(rng.choices(_SPACES + "ab1.é", k=rng.randint(1, 40)))


def _entities() -> Iterator[str]:
    names = sorted(html.entities.html5)
    for name in names:
        yield f"a&{name}b"
    bare = sorted({name.rstrip(";") for name in names})
    for name in bare:
        yield f"{name} &{name.upper()}; &{name.capitalize()}; &{name}x &{name}"
    numbers = [*range(0, 0x21), *range(0x26, 0x28), *range(0x7F, 0xA1), 0x3B, 0x3C, 0x3E, 0x3A3, 0x2028, 0xD7FF, 0xD800, 0xDBFF]
    numbers += [0xDC00, 0xDFFF, 0xE000, 0xFDCF, 0xFDD0, 0xFDEF, 0xFDF0, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1F600]
    numbers += [0x1FFFE, 0x2FFFF, 0x10FFFE, 0x10FFFF, 0x110000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**64, 10**30]
    for number in numbers:
        yield from (f"&#{number};", f"a&#{number}b", f"a&#x{number:x};", f"&#X{number:X}", f"&#000{number};z", f"< &#{number};")
    yield f"&#{'9' * 5000};" + f"&#x{'f' * 5000};"
    yield f"&#{'0' * 5000}65;"
    for text in ("lt", "amp", "eacute", "#233", "#x27", "NTILDE", "hellip", "nbsp"):
        yield from (f"&{'amp;' * depth}{text};" for depth in range(6))
        yield from (f"1 < 2 &{text};\nnext &{text};", f"&{text};\n<b>\n&{text};")
        yield from (f"&lt;&{text};", f"& {text};", f"&{text} ;", f"&{text};;")
    yield from ("&", "&&", "&;", "&#;", "&#x;", "&#xg;", "&#a;", "&#12a;", "&#59;", "&#x3b;", "&#38;lt;")
    yield from ("&notit;", "&notin;", "&not in", *("&" + "a" * length + ";" for length in (23, 24, 25, 31, 32, 33)))
    yield from ("&ampersand", "a&b", "R&D", "AT&T;", "&" + "lt" * 20, "&gt<", "&lt\n;", "&copy&reg")
    yield from ("&é;", "&ampé", "&amp\u0130", "&lt\u0301;", "&" + "日" * 33 + ";", "&#１２;", "&#x１２;")


def _mojibake() -> Iterator[str]:
    for codec in _MOJIBAKE_CODECS:
        for sentence in SENTENCES:
            once = _misread(sentence, codec)
            yield once
            yield _misread(once, codec)
            yield f"{sentence} {once}"
            yield f"{once[: len(once) // 2]}\n{sentence}"
            yield from once.split(" ")[:6]
        for other in ("latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "macroman"):
            yield _misread(_misread("Les élèves — “ça” où? Привет ½", codec), other)
    for code in (0xE9, 0xA0, 0x2019, 0x20AC, 0x416, 0x5D0, 0x65E5, 0x1F600, 0x10FFFF):
        for codec in chardata.CHARMAP_ENCODINGS:
            broken = _misread(chr(code), codec)
            yield from (broken, f"a{broken}b", f"A {broken} B", f"1{broken}.")
    # CESU-8 and Java's zero, read as each codec
    for raw in (
        b"\xed\xa0\xbd\xed\xb8\x8d",
        b"caf\xc3\xa9 \xed\xa0\xbd\xed\xb8\x8d!",
        b"\xc3\xa9\xc0\x80",
        b"\xc3\xa9\xed\xa0\xbd",
        b"\xc3\xa9\xed\xb8\x8d\xed\xa0\xbd",
        b"\xed\x95\x9c\xea\xb5\xad",
        b"\xc3\xa9\xed\x95\x9c \xc0\x81",
        b"\xc3\xa9\xed",
        b"\xc3\xa9\xed\xa0",
        b"\xc3\xa9\xc0",
        b"\xc3\xa9\xed\xa0\xbd\xed\xb8",
        b"\xc3\xa9\xf5\x80\x80\x80",
        b"\xc3\xa9\xf4\x90\x80\x80",
        b"\xc3\xa9\xe0\x80\x80",
        b"\xc3\xa9\xf0\x80\x80\x80",
        b"\xc3\xa9\xef\xbf\xbe\xef\xbb\xbf",
        b"\xc3\xa9\xed\x9f\xbf\xee\x80\x80",
        b"\xc3\xa9\xc0\x80\xc0\x80\xed\xa0\xbd\xed\xb8\x8d\xed\xaf\xbf\xed\xbf\xbf",
        b"\xc3\xa9\xed\xa0\x80\x41\x42\x43",
        b"\xc3\xa9\xed\xa0\xbd\xed\x95\x9c\x41",
    ):
        for codec in chardata.CHARMAP_ENCODINGS:
            yield raw.decode(codec)


def _misread(text: str, codec: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode(codec, "replace")


def _lossy() -> Iterator[str]:
    """Mojibake that has lost bytes: to U+FFFD, to a question mark, to nothing, to an ellipsis."""
    rng = random.Random(3)
    for codec in ("latin-1", *(f"sloppy-windows-125{page}" for page in range(4)), "cp437"):
        for sentence in SENTENCES:
            broken = _misread(sentence, codec)
            odd = [place for place, char in enumerate(broken) if ord(char) > 127] or [0]
            for loss in ("\ufffd", "?", "", "\x1a", "...", " "):
                place = rng.choice(odd)
                yield broken[:place] + loss + broken[place + 1 :]
    for bits in itertools.product("Ââ€œ\ufffd? a", repeat=3):
        yield "".join(bits)


def _altered() -> Iterator[str]:
    """Mojibake whose no-break spaces became spaces; `à` before the words that are written with it."""
    for codec in chardata.CHARMAP_ENCODINGS:
        for sentence in (*SENTENCES, "à la mode", "voilà", "Š Π Р ٠ \u2020 \u3020 \U0001f420 \U00020020"):
            yield _misread(sentence, codec).replace("\xa0", " ")
    for word in ("la", "quele", "quela", "quilo", "quel point", "s", "s ", "squash", " ", "frica", "", "Ã ", "cil"):
        yield from (f"Ã {word}", f"fÃ {word} et Ã©", f"Ã© Ã {word}", f"VoilÃ {word} \xc3\xa0", f"Ã  {word}")
    for lead in "ÂÃÅÎÐÙâãàáðñ":
        for tail in (" ", " \x80", "\x80 ", " \x80\x80", "\x9f \x80", "\x9f\x92 ", " ©", "© ", " «»", " ", "\xa0"):
            yield from (f"{lead}{tail}", f"x{lead}{tail}y", f"Ã© {lead}{tail}.", f"{lead}{tail}".upper())


def _suspicious(tables: dict[str, Any]) -> Iterator[str]:
    """Every class of ftfy's detectors, beside every other."""
    rng = random.Random(4)
    classes = [_members(flat) for flat in tables["ftfy"]["bad"]["classes"]]
    small = [members for members in classes if len(members) < 2000]
    for pattern in tables["ftfy"]["bad"]["patterns"]:
        for _ in range(12):
            body = "".join(chr(rng.choice(classes[index])) for index in pattern)
            yield from (body, f"word{body}", f" {body} word")
    for body in tables["ftfy"]["bad"]["start_patterns"]:
        yield "".join(chr(rng.choice(classes[index])) for index in body)
        yield "x\n" + "".join(chr(rng.choice(classes[index])) for index in body)
    for first, second in itertools.product(range(len(small)), repeat=2):
        if rng.random() < 0.12:
            yield f"{chr(rng.choice(small[first]))}{chr(rng.choice(small[second]))}"
    clues = {name: _members(flat) for name, flat in tables["ftfy"]["utf8"].items()}
    for _ in range(400):
        parts = []
        for _ in range(rng.randint(1, 4)):
            size = rng.choice((2, 3, 4))
            parts.append(chr(rng.choice(clues[f"first_of_{size}"])))
            parts += [chr(rng.choice(clues["continuation"])) for _ in range(size - 1 - (rng.random() < 0.1))]
        yield f"{rng.choice(('', 'a ', '日本 ', 'Ă', '€'))}{''.join(parts)}{rng.choice(('', '日本', ' b', '…'))}"
    every = sorted(set().union(*small))
    for _ in range(500):
        yield "".join(chr(rng.choice(every)) for _ in range(rng.randint(1, 12)))
    for codec in chardata.CHARMAP_ENCODINGS:
        high = bytes(range(0x80, 0x100)).decode(codec)
        yield from (high[start : start + 16] for start in range(0, 128, 16))
        for _ in range(40):
            yield "".join(rng.choices(high + " ae", k=rng.randint(2, 10)))


def _ligatures_and_widths(tables: dict[str, Any]) -> Iterator[str]:
    for name in ("ligatures", "width"):
        codes = [int(code) for code in tables["ftfy"][name]]
        yield from (f"a{chr(code)}B{chr(code)} {chr(code)}" for code in codes)
        yield from ("".join(map(chr, codes[start : start + 30])) for start in range(0, len(codes), 30))
    yield from ("ｶﾞｷﾞﾊﾟ", "Ｉｔ＇ｓ　＆ａｍｐ；", "＆lt；", "ﬁne oﬃce ﬅ ŉ Ǆ ǆ", "ｈｔｔｐ：／／", "￡￢￣￤￥￦￨￩￪￫￬￭￮", "ﾡﾢﾰ ￂￃￜ")


def _escapes() -> Iterator[str]:
    esc = "\x1b"
    yield from (f"{esc}[31mred{esc}[0m", f"{esc}[1;32;40mbold{esc}[m", f"{esc}[", f"{esc}[1;", f"{esc}[1;é", f"{esc}]0;a\x07")
    yield from (f"{esc}[٣m", f"{esc}[１mx", f"{esc}[1 m", f"{esc}{esc}[2Jx", f"{esc}[1{esc}[2mm", f"a{esc}[38;5;196mb{esc}[Kc")
    yield from (f"{esc}[𝟏mx", f"{esc}[²mx", f"{esc}[;;;;Hx", "[31mx", "\x9b31mx", "&#27;[31mx", f"{esc}&#91;31mx", esc)
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0xAD,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x206C),
    ):
        yield from (f"x{chr(code)}y", f"{chr(code)}'s {chr(code)}", f"é{chr(code)}日")
    for code in (0x206F, 0xFEFF, 0xFFF9, 0xFFFB, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x1D173, 0xE0001, 0xE0020, 0xE007F, 0xE0100):
        yield from (f"x{chr(code)}y", f"{chr(code)}")
    yield from ("a\r\nb", "a\rb", "a\n\rb", "a\u2028b\u2029c\x85d", "\r\r\n\n", "é\x85", "…\x85 I")


def _sigmas(tables: dict[str, Any]) -> Iterator[str]:
    yield from ("Σ", "ΣΣ", "ΑΣ", "ΑΣΑ", "ΑΣ.", "ΑΣ.Α", "Α.Σ", "'Σ", "Α'Σ'", "1Σ", "ΑΣ1", "ΌΣΟΣ ΟΔΌΣ")
    yield from ("Α\u0301Σ\u0301", "aΣ\u00adb", "İΣ", "ßΣ")
    rng = random.Random(5)
    cased, ignorable = _members(tables["case"]["cased"]), _members(tables["case"]["case_ignorable"])
    for _ in range(250):
        pool = (*rng.choices(cased, k=2), *rng.choices(ignorable, k=3), 0x3A3, 0x3A3, 0x31, 0x20)
        yield "".join(chr(rng.choice(pool)) for _ in range(rng.randint(2, 9)))


def _combining(tables: dict[str, Any]) -> Iterator[str]:
    rng = random.Random(6)
    decompositions = tables["nfc"]["decompositions"]
    for code, parts in decompositions.items():
        whole = "".join(map(chr, parts))
        yield f"x{whole}y{chr(int(code))}"
    classes = tables["nfc"]["classes"]
    marks = [rng.randint(first, last) for first, last in zip(classes[::3], classes[1::3], strict=True)]
    bases = [parts[0] for parts in decompositions.values()] + [0x61, 0x20, 0x30, 0x1100, 0xAC00, 0x25CC]
    for _ in range(700):
        tail = [rng.choice(marks) for _ in range(rng.randint(1, 6))]
        yield chr(rng.choice(bases)) + "".join(map(chr, tail)) + rng.choice(("", "a", "\u0301", "é"))
    for parts in rng.sample(sorted(decompositions.values()), 300):
        shuffled = [parts[0], *rng.sample(parts[1:], len(parts) - 1), rng.choice(marks)]
        yield "".join(map(chr, shuffled))
    yield from ("e\u0301" * 200, "\u0301" * 300, "a" + "\u0323\u0307" * 150)
    yield from ("\u0344\u0345", "ᾳ\u0345", "\u0f71\u0f72\u0f74\u0f80")


def _hangul() -> Iterator[str]:
    rng = random.Random(7)
    for _ in range(120):
        lead, vowel, tail = rng.randint(0x10FE, 0x1114), rng.randint(0x115F, 0x1177), rng.randint(0x11A5, 0x11C4)
        syllable = rng.randint(0xAC00, 0xD7A3)
        jamo = [chr(code) for code in (lead, vowel, tail)]
        yield "".join([*jamo, " ", chr(syllable), jamo[2], " ", jamo[0], "\u0301", jamo[1], " ", chr(syllable), jamo[1]])


def _emoji() -> Iterator[str]:
    rng = random.Random(8)
    bases = [*range(0x1F300, 0x1F650), *range(0x1F900, 0x1FA00), *range(0x2600, 0x27C0), *range(0x1F1E6, 0x1F200)]
    joins = ("\u200d", "\ufe0f", "\ufe0e", "\U0001f3fb", "\U0001f3ff", "\u20e3", "\U000e0067", "\U000e007f", "", " ")
    for _ in range(300):
        yield "".join(chr(rng.choice(bases)) + rng.choice(joins) for _ in range(rng.randint(1, 10)))


def _borders(tables: dict[str, Any]) -> Iterator[str]:
    """Both sides of every border of every set, and what every map takes."""
    sections = (
        tables["case"],
        tables["words"],
        tables["words"]["folded"],
        tables["ftfy"],
        tables["ftfy"]["utf8"],
        tables["html"],
    )
    codes: set[int] = set()
    for flat in (value for section in sections for value in section.values()):
        if isinstance(flat, list) and all(isinstance(code, int) for code in flat):
            codes.update(code + off for code in flat for off in (-1, 0, 1))
    classes = tables["nfc"]["classes"]
    codes.update(code + off for place, code in enumerate(classes) if place % 3 < 2 for off in (-1, 0, 1))
    codes.update(int(code) for code in (*tables["case"]["lower"], *tables["html"]["numeric"]))
    for chunk in _chunks(sorted(code for code in codes if 0 <= code <= 0x10FFFF), 6):
        yield "".join(chunk)
        yield "a".join(chunk)


def _sweep() -> Iterator[str]:
    """Planes 0 and 1, but of ideographs, syllables and private use every eighth line; some of the others."""
    dense = ((0, 0x3400), (0x4DC0, 0x4E00), (0xA000, 0xAC00), (0xD7A4, 0xE000), (0xF900, 0x17000), (0x1AFF0, 0x1B400))
    for first, last in (*dense, (0x1BC00, 0x1FC00), (0xE0000, 0xE01F0)):
        yield from ("".join(chunk) for chunk in _chunks(range(first, last), 20))
    sparse = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xE000, 0xF900), (0x17000, 0x1AFF0), (0x20000, 0x33480))
    for first, last in sparse:
        yield from ("".join(map(chr, range(start, min(start + 18, last)))) for start in range(first, last, 8 * 18))
    for start in range(0x33480, 0x110000, 0x2F41):
        yield "".join(map(chr, range(start, min(start + 10, 0x110000))))


def _chunks(codes: Iterable[int], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for code in codes:
        if not 0xD800 <= code <= 0xDFFF:
            chunk.append(chr(code))
        if len(chunk) == size:
            yield chunk
            chunk = []
    yield chunk


def _anything() -> Iterator[str]:
    """Random texts of one alphabet, and of all mixed."""
    rng = random.Random(9)
    ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x530), (0x530, 0x1100), (0x1E00, 0x2100), (0x2000, 0x2C00)]
    ranges += [(0x3000, 0x3400), (0xFB00, 0xFE00), (0xFE00, 0x10000), (0x1F000, 0x1FB00), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)]
    ranges += [(0, 0xD7FF), (0xE000, 0x10FFFF)]
    for _ in range(700):
        first, last = rng.choice(ranges)
        yield "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 25)))
    for _ in range(700):
        yield "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(1, 25)))
    pieces = ["&amp;", "&#39;", "<", "é", "Ã©", "â€™", "\n", "Σ", "'s", "ﬁ", "Ａ", "\x1b[1m", "e\u0301", "日本", "🇩🇪", "_"]
    pieces += ["\x85", "\ufffd", " ", "1"]
    for _ in range(900):
        yield "".join(rng.choices(pieces, k=rng.randint(2, 9)))


def _long() -> Iterator[str]:
    rng = random.Random(10)
    words = " ".join(SENTENCES).split()
    yield from ("a" * 10_000, "é" * 10_000, "日" * 10_000, "👩‍👩‍👧" * 2_000, "!" * 10_000, " " * 10_000)
    yield from ("&amp;" * 2_000, "1" * 10_000)
    yield from ("Ã©" * 5_000, "ab " * 3_334, "a\u0301" * 5_000, "\n" * 10_000, "&" * 10_000, "'s" * 5_000, "abcdefghij" * 1_000)
    for length in (70, 75, 76, 77, 78, 100, 1_000, 10_000):
        yield " ".join(rng.choices(words, k=length))[:10_000]
        yield " ".join("a" for _ in range(length))
        yield "x" * length
    yield (" ".join(rng.choices(words, k=30_000)) + "z" * 100_000)[:100_000]


def _members(flat: list[int]) -> list[int]:
    return [code for first, last in zip(flat[::2], flat[1::2], strict=True) for code in range(first, last + 1)]
