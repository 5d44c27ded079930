"""`LICENSE.txt` of a bundle: whose weights these are and what may be done with them."""

from __future__ import annotations

from pathlib import Path

from edgeclip.spec import Licence


def licence_summary(licence: Licence) -> str:
    """One line for people, printed at conversion."""
    use = "commercial use allowed" if licence.commercial_use else "NO commercial use"
    return f"{licence.name} ({use})" + (f" {licence.url}" if licence.url else "")


def licence_text(licence: Licence, model: str, source: str) -> str:
    """The content of `LICENSE.txt`: a summary, then the full text where we have it, else where to read it."""
    lines = [
        f"Weights of {model} ({source})",
        f"Licence: {licence_summary(licence)}",
        "",
        "The artifacts in this folder are conversions of these weights, and the same licence applies to them.",
        "",
    ]
    path = Path(__file__).with_name(f"{licence.name}.txt")
    if path.exists():
        lines += ["-" * 78, "", path.read_text("utf-8")]
    elif licence.url:
        lines += [f"Read the full text at {licence.url} before you distribute them, and distribute it along with them.", ""]
    return "\n".join(lines)
