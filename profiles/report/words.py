"""Numbers and names as they stand on the page. Names come from files that nobody vouches for."""

from __future__ import annotations

_MOST = 160
_EXACT_FROM = 1000.0
_SCIENTIFIC_BELOW = 1e-3


def clean(text: str, most: int = _MOST) -> str:
    """A text without control and direction characters, cut if too long.

    >>> clean("a\\u202eb"), clean("abcdef", 4)
    ('a�b', 'abc…')
    """
    shown = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(letter if letter.isprintable() else "�" for letter in shown)


def number(value: float) -> str:
    """Three significant digits.

    >>> number(0.01234), number(12.345), number(12345.6)
    ('0.0123', '12.3', '12,346')
    """
    if abs(value) >= _EXACT_FROM:
        return f"{value:,.0f}"
    if 0 < abs(value) < _SCIENTIFIC_BELOW:
        return f"{value:.1e}"
    return f"{value:#.3g}".rstrip(".")


def span(low: float, high: float) -> str:
    """`1.20–1.80`."""
    return f"{number(low)}–{number(high)}"


def plural(count: int, what: str) -> str:
    """`1 bundle`, `2 bundles`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
