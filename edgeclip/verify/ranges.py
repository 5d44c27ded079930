"""Whether 8-bit activations have ranges that fit what flows through them, and come back as they went in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from edgeclip.reference.mil.ops.axes import along
from edgeclip.reference.mil.steps import Program, Step

# How far the values of one sample reach, in units of the range; in brackets the most and the least on right packages, of
# pictures that are unlike those that the ranges were found on.
_FURTHEST = 4.0  # ranges end at a quarter of the largest value seen or later
_NEAREST = 0.05  # (0.086); fewer than 7 of 127 steps
_OUTERMOST = 1e-3  # share of the values that may lie anywhere: ranges leave outliers out on purpose
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def range_findings(program: Program, values: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """What is wrong with the quantization of computed values, in words, by the name of the step.

    values: what is quantized, by name, as torch computes it for one sample.
    """
    makers = {name: step for step in program.steps for name, _ in step.outputs}
    for step in program.steps:
        source = step.inputs.get("input")
        if not isinstance(source, str):
            continue
        if step.op == "quantize" and source in values:
            yield from ((step.name, says) for says in _of_the_range(step, values[source].float()))
        elif step.op == "dequantize" and (quantized := _quantize_behind(source, makers)) is not None:
            yield from ((step.name, says) for says in _of_the_pair(quantized, step))


def _of_the_range(step: Step, value: Tensor) -> Iterator[str]:
    low, high = _limits(step, value)
    widest = float(torch.maximum(low.abs(), high.abs()).max())
    sizes = value.abs().reshape(-1)
    reached = float(sizes.kthvalue(sizes.numel() - int(_OUTERMOST * sizes.numel())).values)
    if reached > _FURTHEST * widest:
        share = float(((value < low) | (value > high)).float().mean())
        yield f"its range ends at {widest:.3g}, torch's values reach {reached:.3g}: {100 * share:.2g} % of them are cut off"
    elif 0 < reached < _NEAREST * widest:
        yield f"its range ends at {widest:.3g}, torch's values reach {reached:.3g} only"


def _limits(step: Step, value: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest number that a step can give back."""
    scale, zero = _parameters(step, value)
    low, high = _LIMITS[step.constants["output_dtype"]]
    return (low - zero) * scale, (high - zero) * scale


def _parameters(step: Step, value: Tensor) -> tuple[Tensor, Tensor]:
    axis = step.constants.get("axis") or 0
    scale = step.constants["scale"]
    zero = step.constants.get("zero_point")
    zero = torch.zeros_like(scale) if zero is None else zero
    return along(scale, value, axis), along(zero, value, axis)


def _of_the_pair(quantized: Step, dequantized: Step) -> Iterator[str]:
    for name in ("scale", "zero_point"):
        before, after = (_number(step, name) for step in (quantized, dequantized))
        if before.shape != after.shape or not torch.equal(before, after):
            yield f"its {name} is {_shown(after)}, that of {quantized.name} is {_shown(before)}"


def _number(step: Step, name: str) -> Tensor:
    value = step.constants.get(name)
    return torch.zeros_like(step.constants["scale"]).float() if value is None else value.float()


def _shown(value: Tensor) -> str:
    return f"{float(value):.4g}" if value.numel() == 1 else f"one of {value.numel()} numbers"


def _quantize_behind(name: str, makers: Mapping[str, Step]) -> Step | None:
    """The step that made integers, where they are only moved on the way."""
    while (step := makers.get(name)) is not None and step.op != "quantize":
        if len(step.reads) != 1:
            return None
        (name,) = step.reads
    return step
