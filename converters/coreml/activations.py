"""8-bit activations: ranges seen on calibration samples, and the quantize-dequantize pairs that make use of them.

coremltools' own `linear_quantize_activations` calibrates through `MLModel.predict`, which exists on macOS only. Here the
interpreter finds the ranges, and coremltools' graph passes, which that function runs, put in the pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.data.preprocess import to_pixels

# The residual stream (`add`) stays in float16: its range grows with depth and a shared step would swallow small channels.
_QUANTIZED = ("conv", "linear")
_KEPT_SHARE = 0.9999  # of each sample's values; the rest saturates


def activation_ranges(path: Path, samples: np.ndarray) -> dict[str, dict[str, float]]:
    """Smallest and largest value of every float input of a quantized operation, by value name, over all samples.

    Of each sample the outermost 0.01 % are left out, so that one outlier does not cost all others their resolution.
    """
    import torch

    from edgeclip.reference.mil.interpreter import MilModel
    from edgeclip.reference.mil.steps import Step

    model = MilModel.load(path, "fp16")
    given = model.program.inputs[0]
    wanted = {source for step in model.program.steps if step.op in _QUANTIZED for source in [step.inputs.get("x")]}
    ranges: dict[str, dict[str, float]] = {}

    def widen(name: str, value: torch.Tensor) -> None:
        flat = value.reshape(-1)
        outside = max(1, round((1 - _KEPT_SHARE) / 2 * flat.numel()))
        low, high = float(flat.kthvalue(outside).values), float((-flat).kthvalue(outside).values) * -1
        known = ranges.setdefault(name, {"rmin": low, "rmax": high})
        known["rmin"], known["rmax"] = min(known["rmin"], low), max(known["rmax"], high)

    def see(step: Step, results: tuple[torch.Tensor, ...]) -> None:
        for (name, _), value in zip(step.outputs, results, strict=True):
            if name in wanted and value.is_floating_point():
                widen(name, value)

    for row in samples:
        model.run({given.name: to_pixels(row) if given.color else row[None]}, observe=see)
    return ranges


def quantize_activations(model: Any, ranges: dict[str, dict[str, float]]) -> Any:
    """Put a quantize-dequantize pair, int8 and symmetric, before each convolution and linear layer whose input has a range."""
    import coremltools as ct
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil.mil.passes.graph_pass import PassOption
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY
    from coremltools.models.utils import _apply_graph_pass

    int8 = cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_tensor")
    config = cto.OptimizationConfig(op_type_configs=dict.fromkeys(_QUANTIZED, int8))
    insert = PASS_REGISTRY["compression::insert_prefix_quantize_dequantize_pair"]
    insert.set_options([PassOption("config", config), PassOption("activation_stats", ranges)])
    passes = [insert, PASS_REGISTRY["common::dequantize_quantize_pair_elimination"]]
    return _apply_graph_pass(model, passes, spec_version=ct.target.iOS17, skip_model_load=True)
