"""Whether a stored constant is the parameter that it stands for, as near as its form of storage comes to it.

Every form maps numbers to the nearest of those that it has: integers times a scale are half a step away at most, an index
names the nearest entry of its table, and what a mask leaves out is smaller than what it keeps. So a constant is held against
torch's parameter number by number, by what the file itself says of its scales, tables and masks. That tells a wrong table or
scale from a coarse one, which the size of the difference does not: two bits cost a third of a weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeclip.reference.mil.ops.axes import along
from edgeclip.reference.mil.steps import Program, Step
from edgeclip.verify.operands import Operand

# Of a step: a half, and what the quotient of two float16 numbers up to 127 may be off (127 * 2^-11).
_HALF_A_STEP = 0.5 + 0.07
_ROUNDING = 2e-3  # of each number: float16, of the weight and of what is folded into it
_SMALLEST = 1e-7  # of float16's numbers, rounded up
_STRAY = 1e-3  # share of numbers that may be further off
_SMALL_KEPT = 1e-3  # share of the kept numbers that a mask may keep although they are small
_MOST = 0.5  # relative difference of a whole constant: 2 bits cost 0.35, half of the numbers 0.3, a wrong weight about 1


@dataclass(frozen=True)
class Storage:
    """What the storage of a program's constants explains. rounding: relative difference of one that is not compressed."""

    program: Program
    rounding: float

    def explains(self, operand: Operand) -> bool:
        far = self._far(operand)
        if far is None:
            return operand.difference <= (_MOST if self._compressed(operand) else self.rounding)
        return operand.difference <= _MOST and far <= _STRAY

    def cost(self, operand: Operand) -> float:
        """About the relative difference that the storage of a right constant makes."""
        allowed = self._allowed(operand)
        if allowed is None:
            return self.rounding
        return self.rounding + float(allowed.norm() / operand.right.float().norm().clamp(min=1e-30))

    def remark(self, operand: Operand) -> str:
        """What to say of a compressed constant that is not explained; "" for others."""
        far, step = self._far(operand), self._compressed(operand)
        if far is None or step is None:
            return ""
        return f"{100 * far:.3g} % of its numbers are not the nearest that {step.op} has for them"

    def is_compressed(self, name: str) -> bool:
        """Whether a constant of the program is decompressed from something smaller."""
        return name in self.program.decompressed

    def _compressed(self, operand: Operand) -> Step | None:
        return self.program.decompressed.get(operand.source)

    def _far(self, operand: Operand) -> float | None:
        """The share of numbers that are further off than they may be; None where nothing is known of single numbers."""
        allowed = self._allowed(operand)
        if allowed is None:
            return None
        right = operand.right.float()
        beyond = (operand.own.float() - right).abs() > allowed + _ROUNDING * right.abs() + _SMALLEST
        return float(beyond.float().mean())

    def _allowed(self, operand: Operand) -> Tensor | None:
        step = self._compressed(operand)
        return None if step is None else _allowed(self.program, step, operand.right.float())


def _allowed(program: Program, step: Step, right: Tensor) -> Tensor | None:
    """How far from `right` each number of a compressed constant may be, in its shape; None where that is not known."""
    rule = _RULES.get(step.op)
    return None if rule is None else rule(program, step, right)


def _scaled(program: Program, step: Step, right: Tensor) -> Tensor:
    """Half a step of integers with a scale, one for each channel (iOS16) or block (iOS18)."""
    scale = step.constants["scale"]
    steps = along(scale, right, step.constants["axis"]) if "axis" in step.constants else _spread(scale, right)
    return _HALF_A_STEP * steps.abs().expand_as(right)


def _looked_up(program: Program, step: Step, right: Tensor) -> Tensor | None:
    """The distance to the nearest entry of the table. A table that is stored as integers was rounded after the choice."""
    lut = step.constants["lut"].float()
    tables = lut.reshape(*[1] * right.dim(), -1, 1) if lut.dim() == 1 else lut
    if tables.shape[-1] != 1:
        return None  # of vectors
    blocks = _blocks(right, tables.shape[:-2])
    inner = program.decompressed.get(step.sources.get("lut", ""))
    nearest = _to_nearest(blocks.reshape(tables[..., 0, 0].numel(), -1), tables.reshape(-1, tables.shape[-2]))
    if inner is not None:
        nearest = nearest + 2 * _HALF_A_STEP * inner.constants["scale"].abs().max()
    return _unblocked(nearest.reshape(blocks.shape), right.shape)


def _masked(program: Program, step: Step, right: Tensor) -> Tensor | None:
    """What is left out may be off by as much as the smallest that is kept, and what is kept by what its own form costs."""
    mask = _mask(program, step, right)
    kept = right.abs()[mask]
    if not kept.numel():
        return torch.zeros_like(right)
    smallest = kept.kthvalue(1 + int(_SMALL_KEPT * kept.numel())).values
    inner = program.decompressed.get(step.sources.get("nonzero_data", ""))
    of_kept = torch.zeros_like(right) if inner is None else _allowed(program, inner, right)
    return None if of_kept is None else torch.where(mask, of_kept, smallest)


def _mask(program: Program, step: Step, right: Tensor) -> Tensor:
    """The places of a sparse constant, of which the iOS16 form has the bits packed."""
    ones = {**step.constants, "nonzero_data": torch.ones_like(step.constants["nonzero_data"], dtype=torch.float32)}
    mask: Tensor = step.function(**ones)
    return mask.reshape(right.shape) > 0


_RULES: dict[str, Callable[[Program, Step, Tensor], Tensor | None]] = {
    "constexpr_affine_dequantize": _scaled,
    "constexpr_blockwise_shift_scale": _scaled,
    "constexpr_sparse_blockwise_shift_scale": _scaled,
    "constexpr_lut_to_dense": _looked_up,
    "constexpr_lut_to_sparse": _looked_up,
    "constexpr_sparse_to_dense": _masked,
}


def _spread(values: Tensor, data: Tensor) -> Tensor:
    """One value for each block, in the shape of `data`."""
    for axis, (size, blocks) in enumerate(zip(data.shape, values.shape, strict=True)):
        values = values.repeat_interleave(size // blocks, axis)
    return values.float()


def _blocks(data: Tensor, counts: tuple[int, ...]) -> Tensor:
    """(b0 n0, b1 n1, ...) -> (b0, b1, ..., n0, n1, ...), for `counts` (b0, b1, ...)."""
    split = [part for size, count in zip(data.shape, counts, strict=True) for part in (count, size // count)]
    rank = data.dim()
    return data.reshape(split).permute(*range(0, 2 * rank, 2), *range(1, 2 * rank, 2))


def _unblocked(blocks: Tensor, shape: torch.Size) -> Tensor:
    """What `_blocks` made, in its shape before."""
    rank = len(shape)
    return blocks.permute(*[axis for k in range(rank) for axis in (k, rank + k)]).reshape(shape)


def _to_nearest(values: Tensor, tables: Tensor) -> Tensor:
    """(T, N) numbers and (T, E) tables -> (T, N): the distance of each number to the nearest entry of its table."""
    ordered = tables.sort(dim=1).values.contiguous()
    after = torch.searchsorted(ordered, values.contiguous()).clamp(max=ordered.shape[1] - 1)
    before = (after - 1).clamp(min=0)
    return torch.minimum((values - ordered.gather(1, after)).abs(), (values - ordered.gather(1, before)).abs())
