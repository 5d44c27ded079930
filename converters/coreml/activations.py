"""8-bit activations: ranges seen on calibration samples, and the quantize-dequantize pairs that make use of them.

coremltools' own `linear_quantize_activations` calibrates through `MLModel.predict`, which exists on macOS only. Here the
interpreter finds the ranges, and coremltools' graph passes, which that function runs, put in the pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.steps import Step
from edgeclip.verify.package_trace import package_input

# The residual stream (`add`) stays in float16: its range grows with depth and a shared step would swallow small channels.
_QUANTIZED = ("conv", "linear")
_LEVELS = 127
_CLIPS = np.geomspace(0.25, 1.0, 25)  # of the largest value seen: ranges that are tried
_VALUES = 4096  # of each sample and value that stand for all


def activation_ranges(path: Path, samples: np.ndarray) -> dict[str, dict[str, float]]:
    """The range of every float input of a quantized operation, by value name: -limit to limit.

    Of the limits tried, the one that leaves the least squared error, relative to each sample's own size: a few large values
    saturate where that gives all others finer steps, and no picture counts for more than another.
    """
    model = MilModel.load(path, "fp16")
    wanted = {source for step in model.program.steps if step.op in _QUANTIZED for source in [step.inputs.get("x")]}
    seen: dict[str, list[np.ndarray]] = {}

    def see(step: Step, results: tuple[torch.Tensor, ...]) -> None:
        for (name, _), value in zip(step.outputs, results, strict=True):
            if name in wanted and value.is_floating_point():
                flat = value.abs().reshape(-1)
                some = flat[:: max(1, flat.numel() // _VALUES)]
                seen.setdefault(name, []).append(torch.cat([some, flat.max()[None]]).numpy())

    for row in samples:
        model.run(package_input(model.program, row), observe=see)
    limits = {name: _limit(values) for name, values in seen.items()}
    return {name: {"rmin": -limit, "rmax": limit} for name, limit in limits.items()}


def _limit(seen: list[np.ndarray]) -> float:
    """seen: magnitudes, one array for each sample."""
    largest = max(float(values.max()) for values in seen)
    if not largest > 0:
        return 1.0
    costs = []
    for clip in _CLIPS * largest:
        step = clip / _LEVELS
        rounded = [np.minimum(np.round(values / step), _LEVELS) * step for values in seen]
        pairs = zip(seen, rounded, strict=True)
        costs.append(sum(float(((v - r) ** 2).sum() / max((v**2).sum(), 1e-12)) for v, r in pairs))
    return float(_CLIPS[int(np.argmin(costs))] * largest)


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
