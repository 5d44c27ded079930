"""One tower's way to an asset: decomposed, in float16 unless the scheme is float32, converted, compressed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.export import ExportedProgram

from converters.coreai.asset import write_asset
from converters.coreai.choice import compress
from converters.coreai.compression import SCHEMES
from converters.coreai.half import overflowing, to_half
from edgeclip.models.towers import ExportedTower
from edgeclip.progress import silent
from edgeclip.recipe import Recipe
from edgeclip.target import Context, Lowered

_CHECKED = 5  # calibration samples on which float16's range is tried


def lower(exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path, context: Context | None) -> Lowered:
    """Write the asset at `path`."""
    from coreai_torch import get_decomp_table

    progress = silent if context is None else context.progress
    kept: frozenset[str] = frozenset()
    with progress(f"lowering the {exported.tower} tower: coreai {recipe.scheme}"):
        program = exported.program.run_decompositions(get_decomp_table())
        if recipe.scheme != "fp32":
            kept = frozenset() if context is None else overflowing(program, _spread(context.samples()))
            program = to_half(program, kept)
        converted = _convert(exported, program)
    layers = None
    if recipe.scheme in SCHEMES:
        layers = compress(converted, program, exported, recipe, context, progress)
    write_asset(converted, dict(metadata), path)
    chosen = recipe.scheme in SCHEMES and context is not None
    return Lowered(layers=layers, kept_fp32=tuple(sorted(kept)), calibrated=chosen or bool(kept))


def _spread(samples: np.ndarray) -> np.ndarray:
    return samples[np.linspace(0, len(samples) - 1, _CHECKED).astype(int)]


def _convert(exported: ExportedTower, program: ExportedProgram) -> Any:
    """An `AIProgram`. Debug information beyond numbers would hold paths of this machine."""
    from coreai_torch import TorchConverter

    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converter.add_exported_program(program, input_names=[exported.input_name], output_names=[exported.output_name])
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it begins
        return converter.to_coreai()
