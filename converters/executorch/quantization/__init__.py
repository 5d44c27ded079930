"""Quantization of a tower's graph before it is lowered. A scheme is one row of `schemes.SCHEMES`."""

from __future__ import annotations

from converters.executorch.quantization.quantize import quantize
from converters.executorch.quantization.schemes import SCHEMES, TABLE_FORMS

__all__ = ["SCHEMES", "TABLE_FORMS", "quantize"]
