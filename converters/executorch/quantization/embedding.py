"""Token embedding tables in int8 or int4.

Given:  embedding(table, ids), table: (V, C) float32
Result: embedding_byte or embedding_4bit, with one scale per row, or per 32 values of it, and ids as int64
Why: the table is half of MobileCLIP-S0 and is read 77 rows at a time; only these rows are decoded. No delegate does it: the
kernels are a library of ExecuTorch's, which the app has to link.
Source: quantized_decomposed::embedding_* in executorch/kernels/quantized/quantized.yaml; the first of two int4 values is in
the upper half of its byte, values are stored with 8 added (executorch/exir/passes/_quant_patterns_and_replacements.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from converters.executorch.passes.editor import Editor, argument, aten
from converters.executorch.quantization.pairs import operations
from converters.executorch.quantization.weights import rounded

LIBRARY = "quantized_ops_lib"  # CMake's name; kernels_quantized in the frameworks for iOS
_GROUP = 32  # values that share a scale in int4


@dataclass(frozen=True)
class _Form:
    """bits: of a value. group: values that share a scale; None, a row. packed: (V, C) int8 -> what the kernel reads."""

    bits: int
    group: int | None
    operation: str
    packed: Callable[[Tensor], Tensor]


def _pairs(values: Tensor) -> Tensor:
    """(V, C) int8 in -8..7 -> (V, C / 2) uint8."""
    high, low = (values + 8).to(torch.uint8).unflatten(1, (-1, 2)).unbind(2)
    return high << 4 | low


def _unpacked(pairs: Tensor) -> Tensor:
    """(..., C / 2) uint8 -> (..., C) int8 in -8..7."""
    return torch.stack((pairs >> 4, pairs & 15), dim=-1).flatten(-2).to(torch.int8) - 8


def looked_up(node: Any) -> Callable[..., Tensor] | None:
    """What computes a lookup from its arguments; None for other operations. ExecuTorch's own decodes the whole table."""
    name = getattr(node.target, "__name__", "").partition(".")[0]
    return next((partial(_rows, form) for form in _FORMS.values() if form.operation == name), None)


def _rows(form: _Form, table: Tensor, scales: Tensor, zeros: None, low: int, high: int, ids: Tensor) -> Tensor:
    """The arguments of the operation -> (..., C) float32."""
    values = _unpacked(table[ids]) if form.bits == 4 else table[ids]
    groups = scales.reshape(len(table), -1)[ids]
    return (values.unflatten(-1, (groups.shape[-1], -1)) * groups[..., None]).flatten(-2)


_FORMS = {
    "w8": _Form(8, None, "embedding_byte", lambda values: values),
    "w4": _Form(4, _GROUP, "embedding_4bit", _pairs),
}


def store_tables(editor: Editor, form: str) -> int:
    """Store every embedding table in a form; how many there were."""
    return sum(_stored(editor, node, _FORMS[form]) for node in editor.calls(aten.embedding.default))


def has_table(editor: Editor) -> bool:
    """Whether a tower looks anything up."""
    return bool(editor.calls(aten.embedding.default))


def table_values(editor: Editor) -> int:
    """How many values there are to look up."""
    tables = [editor.value(node.args[0]) for node in editor.calls(aten.embedding.default)]
    return sum(table.numel() for table in tables if table is not None)


def _stored(editor: Editor, node: Any, form: _Form) -> bool:
    table, ids = editor.value(node.args[0]), argument(node, "indices")
    if table is None:
        return False
    width = table.shape[1]
    group = width if form.group is None or width % form.group else form.group
    values, scales = rounded(table.reshape(-1, group), form.bits)
    highest = 2 ** (form.bits - 1) - 1
    _declare()
    with editor.before(node):
        stored = editor.constant(form.packed(values.reshape(table.shape)))
        per_row = editor.constant(scales.reshape(len(table), -1).squeeze(1))
        long = editor.call(aten.to.dtype, ids, torch.int64)
        lookup = getattr(operations(), form.operation).default
        editor.replace(node, editor.call(lookup, stored, per_row, None, -highest - 1, highest, long))
    return True


def _declare() -> None:
    """ExecuTorch declares these operations when this module of it is imported."""
    from executorch.exir.passes import _quant_patterns_and_replacements  # noqa: F401
