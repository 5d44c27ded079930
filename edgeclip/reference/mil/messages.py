"""Text from files and from other libraries, as it may stand in a one-line message."""

from __future__ import annotations

_MOST = 200


def printable(name: str) -> str:
    """A name from a file: as it is, or quoted where it holds what no terminal should see; cut if too long.

    >>> printable("hidden"), printable("a\\nb")
    ('hidden', "'a\\\\nb'")
    """
    shown = name if len(name) <= _MOST else f"{name[:_MOST]}..."
    return shown if shown.isprintable() else repr(shown)


def reason(error: Exception) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    said = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return printable(said.strip().split("\n", 1)[0])
