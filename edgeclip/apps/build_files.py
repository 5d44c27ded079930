"""Reading versions out of build files that people edit: what is not found, or is there twice, is an error and no guess."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeclip.errors import InputError


def without_comments(text: str, mark: str) -> str:
    """The text without what follows `mark` at the start of a line or after a blank."""
    return re.sub(rf"(?m)(^|\s){re.escape(mark)}.*$", r"\1", text)


def only(file: str, what: str, found: Sequence[str]) -> str:
    """The one value that was found. Raises InputError where there is none, or several that differ."""
    distinct = sorted(set(found))
    if len(distinct) != 1:
        how = f"says {what} {' and '.join(distinct)}" if distinct else f"does not say {what}"
        raise InputError(f"{file}: {how}, so what the app can run is not known; it should say it once")
    return distinct[0]


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version.

    >>> version("17.0")
    (17, 0)
    """
    return tuple(int(part) for part in text.split("."))
