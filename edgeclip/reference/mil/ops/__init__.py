"""ML Program operations as pure functions, one file per family.

A function's keyword parameters are named as the format names the operation's inputs, so that an input it does not know is an
error when a program is loaded, not a silent difference. Annotations say what a parameter takes: a tensor, or a constant
(`int`, `float`, `bool`, `str`, `Ints`). The reference for every operation is coremltools' operator documentation
(`coremltools/converters/mil/mil/ops/defs`).
"""

from __future__ import annotations

import importlib
from functools import cache

from edgeclip.reference.mil.ops.table import OPS, Op

_FAMILIES = (
    "activation",
    "comparison",
    "constexpr",
    "convolution",
    "creation",
    "elementwise",
    "gathering",
    "linear",
    "normalization",
    "palette",
    "pooling",
    "quantization",
    "reduction",
    "shape",
    "sparse",
    "unary",
)


@cache
def operations() -> dict[str, Op]:
    """All operations by name; imports the families on first use."""
    for family in _FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
    return {name: Op(name, tuple(forms)) for name, forms in OPS.items()}
