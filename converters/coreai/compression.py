"""Weights of an `AIProgram`, compressed by coreai-opt's passes.

A pass has one size of blocks for the whole program and leaves alone what that does not divide; so a scheme is several, from
the largest blocks to the smallest, and each takes what those before it left. What no block size divides, such as the one input
channel of a depthwise kernel, keeps 8 bits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from converters.coreai.asset import constants
from edgeclip.errors import ConversionError, MissingPackageError

SMALLEST = 1024  # values; what has no more stays in float16, as in coreai-opt
_PRODUCTS = frozenset({"batch_matmul", "broadcasting_batch_matmul", "conv2d", "gather_nd"})
_MOST_LEFT = 0.05  # of the weights' values that the passes may leave in float16


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


_SIZES = (32, 16, 8)
_CHANNELS = Blocks(8, 0)
FORMS: dict[str, tuple[Blocks | Palette, ...]] = {
    "w8": (_CHANNELS,),
    "w4": (*(Blocks(4, size) for size in _SIZES), _CHANNELS),
    "pal4": (*(Palette(4, size) for size in _SIZES), _CHANNELS),
}


def check_installed(scheme: str, which: Callable[[str], str | None] = shutil.which) -> None:
    """Raise MissingPackageError where a scheme needs what is not here: coreai-opt compiles its k-means at the first use."""
    compiler = os.environ.get("CXX", "c++")
    if any(isinstance(form, Palette) for form in FORMS.get(scheme, ())) and which(compiler) is None:
        raise MissingPackageError(
            f"--scheme {scheme}: coreai-opt compiles its k-means, and {compiler} is not installed: apt-get install g++"
        )


def compress(program: Any, scheme: str) -> Any:
    """The program with its weights as the scheme has them. Raises ConversionError where most were left as they are."""
    for form in FORMS[scheme]:
        program = form.apply(program)
    sizes = {True: 0, False: 0}
    for operation in constants(program._module._mlir_module):
        sizes[_is_float_weight(operation)] += _values(operation)
    if sizes[True] > _MOST_LEFT * (sizes[True] + sizes[False]):
        share = 100 * sizes[True] / (sizes[True] + sizes[False])
        raise ConversionError(f"coreai-opt left {share:.0f} % of the weights in float16; -v shows why")
    return program


def _values(operation: Any) -> int:
    count = 1
    for size in operation.results[0].type.shape:
        count *= size
    return count


def _is_float_weight(operation: Any) -> bool:
    """Whether a constant is a weight that a pass should have taken."""
    kind = str(operation.results[0].type.element_type)
    readers = {use.owner.name.rpartition(".")[2] for use in operation.results[0].uses}
    return kind in ("f16", "f32") and _values(operation) > SMALLEST and bool(readers & _PRODUCTS)
