"""Exact rewrites of a tower for XNNPACK, in the order in which they are applied. A new pass is one file and one row here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram

from converters.executorch.passes import (
    attention,
    centred_stream,
    channel_multiplier,
    constants,
    input_normalisation,
    large_depthwise,
    layer_norm,
    layer_scale,
    matmul,
    no_ops,
    norm_affine,
    pooling,
    token_pick,
    unit_length,
)
from converters.executorch.passes.editor import Editor


@dataclass(frozen=True)
class Pass:
    """One rewrite. run: edits in place, gives how many places it changed."""

    name: str
    run: Callable[[Editor], int]


PASSES = (
    Pass("unit-length", unit_length.rewrite),
    Pass("no-ops", no_ops.remove),
    Pass("constants", constants.fold),
    Pass("matmul", matmul.to_linear),
    Pass("input-normalisation", input_normalisation.fold),
    Pass("pooling", pooling.to_mean),
    Pass("attention", attention.split),
    Pass("layer-scale", layer_scale.fold),
    Pass("norm-affine", norm_affine.fold),
    Pass("centred-stream", centred_stream.centre),
    Pass("layer-norm", layer_norm.decompose),
    Pass("token-pick", token_pick.sink),
    Pass("channel-multiplier", channel_multiplier.split),
    Pass("large-depthwise", large_depthwise.split),
)


def apply_passes(
    program: ExportedProgram, example: tuple[Tensor, ...], without: Collection[str] = ()
) -> tuple[ExportedProgram, dict[str, int]]:
    """The rewritten program, and how many places each pass changed. without: names of passes to leave out."""
    editor = Editor(program)
    with torch.no_grad():
        counts = {step.name: step.run(editor) for step in PASSES if step.name not in without}
        return editor.finish(example), counts
