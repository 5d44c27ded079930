"""Finding what float16 would ruin: results that overflow, or whose rounding shows in the embedding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgeclip.errors import ConversionError
from edgeclip.recipe import SCHEMES
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.precision import Mode
from edgeclip.reference.mil.steps import Step
from edgeclip.verify.metrics import cosines
from edgeclip.verify.package_trace import package_input

_LARGEST = 65504.0  # of float16
_ROUNDS = 4
_WORST = 8  # results that are moved to float32 in one round


def half_is_safe(path: Path, samples: np.ndarray) -> bool:
    """Whether a float16 package gives with rounding what it gives without, on all samples."""
    exact, rounded = (_embeddings(path, samples, mode) for mode in ("fp32", "fp16"))
    return float(cosines(exact, rounded).min()) >= SCHEMES["fp16"].threshold.cosine_min


def keep_in_fp32(
    single: Path, half: Callable[[frozenset[str]], Path], samples: np.ndarray, label: str
) -> tuple[frozenset[str], Path]:
    """The operations to leave in float32, and the package made so.

    single: the tower as a float32 package; half(names): makes the float16 package that leaves these operations alone.
    First those whose operands or results overflow; if that is not enough, those whose rounding alone costs most.
    """
    kept = _overflowing(single, samples)
    for _ in range(_ROUNDS):
        path = half(kept)
        if half_is_safe(path, samples):
            return kept, path
        kept |= _costly(single, samples, kept)
    raise ConversionError(f"coreml: {label}: float16 ruins the embedding wherever it is used; try --scheme fp32")


def _embeddings(path: Path, samples: np.ndarray, mode: Mode) -> np.ndarray:
    model = MilModel.load(path, mode)
    name = model.program.outputs[0].name
    return np.concatenate([model.run(package_input(model.program, row))[name] for row in samples])


def _overflowing(single: Path, samples: np.ndarray) -> frozenset[str]:
    """Operations with a result, or an operand, that float16 cannot hold."""
    model = MilModel.load(single, "fp32")
    large: set[str] = set()

    def see(step: Step, results: tuple[torch.Tensor, ...]) -> None:
        for (name, _), value in zip(step.outputs, results, strict=True):
            if value.is_floating_point() and not float(value.abs().max()) < _LARGEST:
                large.add(name)

    for row in samples:
        model.run(package_input(model.program, row), observe=see)
    touched = [step.name for step in model.program.steps if large & (step.reads | {name for name, _ in step.outputs})]
    return frozenset(touched)


def _costly(single: Path, samples: np.ndarray, known: frozenset[str]) -> frozenset[str]:
    """The results whose rounding alone moves the embedding most."""
    model = MilModel.load(single, "fp32")
    output = model.program.outputs[0].name
    cost: dict[str, float] = {}
    for row in samples:
        recording = model.record(package_input(model.program, row))
        exact = model.rerun(recording)[output]
        for step in model.program.steps:
            if step.name not in known and step.outputs[0][1].dtype == "FLOAT32":
                moved = model.rerun(recording, round_half={step.name})[output]
                cost[step.name] = max(cost.get(step.name, 0.0), 1 - float(cosines(exact, moved).min()))
    return frozenset(sorted(cost, key=lambda name: -cost[name])[:_WORST])
