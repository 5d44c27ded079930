"""The forms that weights of an `AIProgram` can be stored in, by coreai-opt's passes, and the schemes made of them.

A pass has one size of blocks and leaves alone what that does not divide; so a form is several, from the largest blocks to the
smallest, and the first that takes a weight is its. What no block size divides, such as the one input channel of a depthwise
kernel, gets the scheme's next form.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeclip.errors import MissingPackageError

SMALLEST = 1024  # values; what has no more stays in float16, as in coreai-opt
FLOAT = "fp16"  # the form of a weight that is not compressed


@dataclass(frozen=True)
class Blocks:
    """Integers of so many bits with one scale for `size` values along the input channels; 0: one per output channel."""

    bits: int
    size: int

    def apply(self, program: Any) -> Any:
        from coreai_opt.coreai_utils import CompressionGranularity, DType, quantize_weights
        from coreai_opt.coreai_utils.common import QScheme

        return quantize_weights(
            program,
            dtype=DType(f"int{self.bits}"),
            qscheme=QScheme.SYMMETRIC,
            granularity=CompressionGranularity.PER_BLOCK if self.size else CompressionGranularity.PER_CHANNEL,
            block_size=self.size,
            weight_num_threshold=SMALLEST,
            in_place=True,
        )


@dataclass(frozen=True)
class Palette:
    """Indices of so many bits into a table of float16 values, one table for `size` output channels."""

    bits: int
    size: int

    def apply(self, program: Any) -> Any:
        from coreai_opt.coreai_utils import CompressionGranularity, palettize_weights

        return palettize_weights(
            program,
            lut_dtype=None,
            n_bits=self.bits,
            granularity=CompressionGranularity.PER_GROUPED_CHANNEL,
            group_size=self.size,
            weight_num_threshold=SMALLEST,
            num_kmeans_workers=1,
            enable_fast_kmeans_mode=False,  # that rounds to four decimals, a hundredth of a typical weight
            in_place=True,
        )


@dataclass(frozen=True)
class Scheme:
    """forms: of a weight, the first that it can have, or a later one where the floor asks for it. floor: the smallest cosine
    on the calibration samples; above `verify`'s, as other samples fare a little worse, and float16 takes up to 0.001.
    """

    forms: tuple[str, ...]
    floor: float


_SIZES = (32, 16, 8)
FORMS: dict[str, tuple[Blocks | Palette, ...]] = {
    "w8": (Blocks(8, 0),),
    "w4": tuple(Blocks(4, size) for size in _SIZES),
    "pal4": tuple(Palette(4, size) for size in _SIZES),
}
BITS = {"w4": 4 + 16 / _SIZES[0], "pal4": 4, "w8": 8, FLOAT: 16}  # of each value; blocks have float16 scales
SCHEMES = {
    "w8": Scheme(("w8", FLOAT), 0.994),
    "w4": Scheme(("w4", "w8", FLOAT), 0.925),
    "pal4": Scheme(("pal4", "w8", FLOAT), 0.885),
}


def check_installed(scheme: str, which: Callable[[str], str | None] = shutil.which) -> None:
    """Raise MissingPackageError where a scheme needs what is not here: coreai-opt compiles its k-means at the first use."""
    compiler = os.environ.get("CXX", "c++")
    if any(isinstance(form, Palette) for form in FORMS.get(scheme, ())) and which(compiler) is None:
        raise MissingPackageError(
            f"--scheme {scheme}: coreai-opt compiles its k-means, and {compiler} is not installed: apt-get install g++"
        )
