"""Whether an operation of a package was given the parameters of the torch layer that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from edgeclip.verify.align import PRODUCTS, exchanged, scaled
from edgeclip.verify.package_trace import PackageOp
from edgeclip.verify.trace import TorchOp

_SAME_NUMBER = 0.05  # of epsilon, which float16 keeps to few bits
_EPSILON = ("epsilon", "eps")  # the package's name for it and ATen's
# How the package says what ATen's GELU says in its `approximate`.
_GELU_MODES = {"none": "EXACT", "tanh": "TANH_APPROXIMATION"}


@dataclass(frozen=True)
class Operand:
    """A parameter, and the constant of a package that comes closest to it.

    name: the parameter's. right: it, in the constant's shape. step, parameter, own: the operation that takes the constant, as
    what, and the constant. source: the constant's name in the file, "" without one. difference: relative, in the Euclidean
    norm.
    """

    name: str
    right: Tensor
    step: str
    parameter: str
    own: Tensor
    source: str
    difference: float


class Explanation(Protocol):
    """What explains a difference between a constant and its parameter."""

    def explains(self, operand: Operand) -> bool: ...

    def cost(self, operand: Operand) -> float:
        """The relative difference that a right constant has."""

    def remark(self, operand: Operand) -> str:
        """More to say of a constant that is not explained, or nothing."""


@dataclass(frozen=True)
class Tolerance:
    """A relative difference, the same for all."""

    difference: float

    def explains(self, operand: Operand) -> bool:
        return operand.difference <= self.difference

    def cost(self, operand: Operand) -> float:
        return self.difference

    def remark(self, operand: Operand) -> str:
        return ""


def operands(package: Sequence[PackageOp], torch_ops: Sequence[TorchOp]) -> Iterator[Operand | str]:
    """The parameters of some operations with what a package has of them, or what to say where it has nothing of the kind.

    package, torch_ops: those that stand for each other.
    """
    own = [
        (op.name, parameter, value, op.sources.get(parameter, ""))
        for op in package
        for parameter, value in op.constants.items()
        if _is_weight(value) and bool(torch.isfinite(value).all())
    ]
    for name, right in _expected(torch_ops, package).items():
        if right.numel() <= 1 or not bool(right.any()):  # zeros are left out of programs
            continue
        found = [
            Operand(name, form, step, parameter, value, source, _difference(value, form))
            for step, parameter, value, source in own
            if value.numel() == right.numel()
            for form in _forms(right, value.shape)
        ]
        yield min(found, key=lambda one: one.difference) if found else f"{name} {list(right.shape)} is not among its operands"


def findings(package: Sequence[PackageOp], torch_ops: Sequence[TorchOp], explanation: Explanation) -> tuple[str, ...]:
    """What is wrong with the constant operands of some operations, in words; nothing if they are right."""
    found = []
    for operand in operands(package, torch_ops):
        if isinstance(operand, str):
            found.append(operand)
        elif not explanation.explains(operand):
            how = next(_patterns(operand, explanation.cost(operand)), f"differs (relative difference {operand.difference:.2g})")
            found.append(", ".join(filter(None, (f"{operand.name} {how}", explanation.remark(operand)))))
    found += [text for op in package for other in torch_ops if (text := _other_setting(op, other))]
    return tuple(found)


def _other_setting(op: PackageOp, torch_op: TorchOp) -> str | None:
    """How the settings of two operations of the same kind differ."""
    mine, theirs = op.constants.get(_EPSILON[0]), torch_op.attributes.get(_EPSILON[1])
    if isinstance(mine, float) and isinstance(theirs, float) and abs(mine - theirs) > _SAME_NUMBER * theirs:
        return f"epsilon is {mine:.3g}, torch has {theirs:.3g}"
    wanted = _GELU_MODES.get(str(torch_op.attributes.get("approximate")))
    if op.op == torch_op.op == "gelu" and wanted is not None and op.constants.get("mode", wanted) != wanted:
        return f"mode is {op.constants['mode']}, torch's is {wanted}"
    return None


def parameters(torch_ops: Sequence[TorchOp]) -> tuple[str, ...]:
    """The names of the parameters that some operations take."""
    return tuple(dict.fromkeys(name for op in torch_ops for name, value in op.constants.items() if value.is_floating_point()))


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1


def _expected(torch_ops: Sequence[TorchOp], package: Sequence[PackageOp]) -> dict[str, Tensor]:
    """The constants that right operations have, by the names of the parameters behind them."""
    kinds = {op.op for op in package}
    scale = next((op for op in torch_ops if op.op == "mul" and len(op.constants) == 1), None)
    folded = scale is not None and any(op.op in PRODUCTS for op in torch_ops) and "mul" not in kinds
    wanted: dict[str, Tensor] = {}
    for op in torch_ops:
        for name, value in op.constants.items():
            if not value.is_floating_point() or (folded and op is scale):
                continue
            right = value
            if op.op == "div" and "mul" in kinds:
                right = 1 / right
            elif op.op in ("matmul", "mm") and "linear" in kinds:
                right = right.mT
            if folded and scale is not None and op.op in PRODUCTS:
                ((factor_name, factor),) = scale.constants.items()
                right = scaled(right, factor)
                name = f"{name} * {factor_name}"
            wanted[name] = right
    return wanted


def _forms(right: Tensor, shape: torch.Size) -> list[Tensor]:
    """A parameter in the shape of a constant; axes are only exchanged where the shapes differ."""
    same = right.squeeze().shape == torch.Size([size for size in shape if size != 1])
    return [right.reshape(shape)] if same else [right.reshape(shape), *exchanged(right, shape)]


def _difference(own: Tensor, right: Tensor) -> float:
    return float((own.float() - right.float()).norm() / right.float().norm().clamp(min=1e-30))


def _patterns(operand: Operand, tolerance: float) -> Iterator[str]:
    """How a wrong parameter comes from the right one, where that is one of the usual ways."""
    own, right = operand.own.float(), operand.right.float()
    close = min(tolerance, operand.difference / 4)  # a pattern has to explain most of the difference
    for says, change in _USUAL.items():
        changed = change(right)
        if changed is not None and changed.shape == right.shape and _difference(own, changed) <= close:
            yield says
    ratio = float((own * right).sum() / (right * right).sum())
    if _difference(own, ratio * right) <= close:
        yield f"is multiplied by {ratio:.4g}"
    if _difference(own.reshape(-1).sort().values, right.reshape(-1).sort().values) <= close:
        yield "has its values in another order"


_USUAL: Mapping[str, Callable[[Tensor], Tensor | None]] = {
    "is zero": torch.zeros_like,
    "is one": torch.ones_like,
    "is transposed": lambda t: t.mT if t.dim() == 2 else None,
    "is reversed along its first axis": lambda t: t.flip(0),
    "is shifted by one along its first axis": lambda t: t.roll(1, 0),
    "is shifted by minus one along its first axis": lambda t: t.roll(-1, 0),
}
