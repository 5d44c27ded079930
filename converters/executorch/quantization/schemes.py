"""The schemes of XNNPACK: which forms a tower's layers get, and how much they may cost the embedding."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """forms: of a unit, the first that it can have, or a later one where the floor asks for it. token_table: its form, or a
    more exact one likewise; None, the smallest. floor: the smallest cosine on the calibration samples; None, the goal's.
    """

    forms: tuple[str, ...]
    token_table: str | None
    floor: float | None


SCHEMES = {
    "w8": Scheme(("w8", "fp32"), "w8", 0.993),
    "w8a8": Scheme(("w8a8", "w8", "fp32"), "w8", 0.993),
    "w4": Scheme(("w4", "w8", "fp32"), "w4", 0.925),
    "auto": Scheme(("w4", "w8a8", "w8", "fp32"), None, None),
}
TABLE_FORMS = ("w4", "w8", "fp32")  # of a token table, the smallest first
