"""Results in a text that people write: between two markers."""

from __future__ import annotations

from pathlib import Path


def put(text: Path, markers: tuple[str, str], results: str) -> None:
    """Replace what stands between the markers. Ends the program where the text lacks them."""
    begin, end = markers
    before, begun, rest = text.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise SystemExit(f"{text}: lacks the markers {begin} and {end}")
    text.write_text(f"{before}{begin}\n{results}\n{end}{after}", "utf-8")
