"""Which value of a package is which value of torch.

Converters derive names from the graph that they are given, but fuse and split operations, and a wrong one may have left
some out, so that all later numbers are off by one. Here both graphs are brought into the same order (operands before what
reads them, first operand first), every two values are scored by what speaks for them being the same - elements, shape,
operation, constant operands, name -, and the pairing of highest total that keeps the order is taken: Needleman and Wunsch,
"A general method applicable to the search for similarities in the amino acid sequence of two proteins" (1970), without a
price for gaps.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeclip.verify.package_trace import PackageOp
from edgeclip.verify.trace import INPUT, TorchOp

_SKETCH = 2048  # elements that stand for a value
_SAME_WEIGHT = 0.02  # difference of two norms of one weight: above what 8 bits cost, below what two layers differ by
_SMALLEST_WEIGHT = 16  # elements; masks and scales of one value tell nothing
_NEVER = -1e9
PRODUCTS = ("conv1d", "conv2d", "linear")  # torch's layers with weights
# What one operation of a package stands for, where the names differ.
_KINDS: dict[str, tuple[str, ...]] = {
    "add": ("add", "scaled_dot_product_attention.masked_scores"),
    "avg_pool": ("adaptive_avg_pool2d", "avg_pool2d", "mean"),
    "cast": ("_to_copy", "to", INPUT),
    "concat": ("cat",),
    "conv": ("conv1d", "conv2d", "linear", "matmul", "batch_norm", "_native_batch_norm_legit_no_training", "mul"),
    "batch_norm": ("_native_batch_norm_legit_no_training",),
    "expand_dims": ("unsqueeze",),
    "gather": ("embedding", "index", "select"),
    "gather_nd": ("index",),
    "linear": ("matmul", "addmm", "mm"),
    "matmul": ("bmm", "mm", "scaled_dot_product_attention.scores", "scaled_dot_product_attention"),
    "maximum": ("clamp_min", "clamp"),
    "mul": ("div", "scaled_dot_product_attention.scaled_query", INPUT),
    "real_div": ("div",),
    "reduce_argmax": ("argmax",),
    "reduce_l2_norm": ("linalg_vector_norm",),
    "reduce_mean": ("mean", "adaptive_avg_pool2d", "avg_pool2d"),
    "select": (INPUT,),
    "reshape": ("view", "flatten", "unsqueeze", "squeeze"),
    "slice_by_index": ("select", "slice"),
    "softmax": ("_softmax", "scaled_dot_product_attention.softmax"),
    "split": ("getitem",),
    "squeeze": ("getitem", "view"),
    "tile": ("expand", "repeat"),
    "transpose": ("permute", "t"),
}


def align(package: Sequence[PackageOp], torch_ops: Sequence[TorchOp], output: str) -> dict[str, TorchOp]:
    """The torch operation whose value each of the package's values should be, by the package's name; many have none.

    output: the package's output, which the last of torch's operations stands for.
    """
    if not package or not torch_ops:
        return {}
    left = _ordered({op.name: op for op in package}, output)
    right = _ordered({op.name: op for op in torch_ops}, torch_ops[-1].name)
    pairs = _best_path(_scores(left, right))
    return {left[i].name: right[j] for i, j in pairs}


def as_formed(right: Tensor, own: Tensor) -> Tensor | None:
    """A torch value in the form of the package's: as it is, reshaped, or with its axes in another order.

    Axes are only exchanged where the shapes say that they must be. None if no form has the package's shape.
    """
    if right.shape == own.shape:
        return right
    if right.numel() != own.numel():
        return None
    forms = [right.reshape(own.shape), *exchanged(right, own.shape)]
    return min(forms, key=lambda form: _distance(own, form))


def exchanged(value: Tensor, shape: torch.Size) -> list[Tensor]:
    """The value with its axes in each other order that gives `shape`, axes of one element aside."""
    squeezed, wanted = value.squeeze(), [size for size in shape if size != 1]
    if sorted(squeezed.shape) != sorted(wanted) or len(wanted) > 5:
        return []
    orders = itertools.permutations(range(len(wanted)))
    found = (order for order in orders if [squeezed.shape[axis] for axis in order] == wanted)
    return [squeezed.permute(order).reshape(shape) for order in found if order != tuple(range(len(wanted)))]


def _distance(own: Tensor, right: Tensor) -> float:
    difference = float(torch.linalg.vector_norm(own.double() - right.double()))
    return math.inf if math.isnan(difference) else difference


def _ordered(ops: Mapping[str, Any], last: str) -> list[Any]:
    """What `last` needs, in depth-first order; what it does not need is left out."""
    done: dict[str, None] = {}
    stack = [(last, False)]
    while stack:
        name, ready = stack.pop()
        if name in done or name not in ops:
            continue
        if ready:
            done[name] = None
            continue
        stack.append((name, True))
        stack.extend((operand, False) for operand in reversed(ops[name].reads))
    return [ops[name] for name in done]


def _scores(package: Sequence[PackageOp], torch_ops: Sequence[TorchOp]) -> np.ndarray:
    """(P, T): what speaks for each pair; far below 0 for values of different size."""
    scores = np.full((len(package), len(torch_ops)), _NEVER)
    mine, theirs, folded = _by_size(package), _by_size(torch_ops), _folded(torch_ops)
    for size in mine.keys() & theirs.keys():
        rows, columns = mine[size], theirs[size]
        a, b = _sketches(package, rows), _sketches(torch_ops, columns)
        inner = a @ b.T
        squares = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * inner, 0)
        distance = np.sqrt(squares / np.maximum((b**2).sum(1), 1e-24))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                scores[row, column] = _score(package[row], torch_ops[column], float(distance[i, j]), folded)
    return scores


def _by_size(ops: Sequence[Any]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index, op in enumerate(ops):
        found.setdefault(op.value.numel(), []).append(index)
    return found


def _sketches(ops: Sequence[Any], chosen: Iterable[int]) -> np.ndarray:
    """Evenly spaced elements of each value, (len(chosen), at most _SKETCH)."""
    rows = []
    for index in chosen:
        flat = ops[index].value.reshape(-1)
        rows.append(flat[:: -(-flat.numel() // _SKETCH)].double().numpy())
    sketches: np.ndarray = np.nan_to_num(np.stack(rows), nan=0.0, posinf=6e4, neginf=-6e4)
    return sketches


def _score(mine: PackageOp, theirs: TorchOp, distance: float, folded: Mapping[str, Sequence[Tensor]]) -> float:
    """Elements count most: 3 where they agree to 6 digits, 1 to 2 digits. A name alone decides nothing."""
    alike = min(max(-math.log10(distance + 1e-12), 0.0), 6.0) / 2
    shape = 0.5 if mine.value.shape == theirs.value.shape else 0.0
    kind = 1.0 if theirs.op == mine.op or theirs.op in _KINDS.get(mine.op, ()) else -1.0 if alike < 1 else 0.0
    name = 1.0 if _base(mine.name) == theirs.name else 0.0
    weight = 2.0 if _shares_weight(mine, theirs, folded) else 0.0
    return alike + shape + kind + name + weight - (0.5 if theirs.op == INPUT and alike < 1 else 0.0)


def scaled(weight: Tensor, factor: Tensor) -> Tensor:
    """A weight or bias whose output channels, the first axis, are multiplied by a scale of them."""
    return weight * factor.reshape(-1, *[1] * (weight.dim() - 1))


def _folded(torch_ops: Sequence[TorchOp]) -> dict[str, list[Tensor]]:
    """By the name of each scale of a layer's output channels: the scale, and the constants of the layer with it folded in."""
    by_name = {op.name: op for op in torch_ops}
    found: dict[str, list[Tensor]] = {}
    for op in torch_ops:
        layer = by_name.get(op.reads[0]) if op.op == "mul" and len(op.reads) == len(op.constants) == 1 else None
        if layer is not None and layer.op in PRODUCTS:
            (factor,) = op.constants.values()
            fitting = (value for value in layer.constants.values() if value.dim() and len(value) == factor.numel())
            found[op.name] = [factor, *(scaled(value, factor) for value in fitting)]
    return found


_SUFFIX = re.compile(r"(_cast_fp16|_cast_fp32|_cast_u?int16|_0)+$")


def _base(name: str) -> str:
    """`linear_3` for `linear_3_cast_fp16`."""
    return _SUFFIX.sub("", name)


def _shares_weight(mine: PackageOp, theirs: TorchOp, folded: Mapping[str, Sequence[Tensor]]) -> bool:
    return any(
        abs(a - b) <= _SAME_WEIGHT * b and own.numel() == right.numel()
        for own in mine.constants.values()
        if isinstance(own, Tensor) and own.is_floating_point() and own.numel() >= _SMALLEST_WEIGHT
        for right in folded.get(theirs.name, theirs.constants.values())
        if right.numel() == own.numel()
        for a, b in ((float(own.norm()), float(right.norm())),)
    )


def _best_path(scores: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (i, j), both rising, of the highest total score; pairs below 0 are never taken."""
    rows, columns = scores.shape
    best = np.zeros((rows + 1, columns + 1))
    for i in range(rows):
        taken = np.maximum(best[i, 1:], best[i, :-1] + scores[i])
        best[i + 1, 1:] = np.maximum.accumulate(taken)
    pairs = []
    i, j = rows, columns
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            pairs.append((i - 1, j - 1))
            i, j = i - 1, j - 1
    return pairs[::-1]
