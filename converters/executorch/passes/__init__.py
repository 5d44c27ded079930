"""Exact rewrites of a tower for XNNPACK, in the order in which they are applied. A new pass is one file and one row here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram

from converters.executorch.passes import (
    attention,
    centred_stream,
    channel_multiplier,
    constants,
    gelu,
    gelu_tanh,
    input_normalisation,
    large_depthwise,
    layer_norm,
    layer_scale,
    matmul,
    no_ops,
    norm_affine,
    pooling,
    token_mean,
    token_pick,
    unit_length,
)
from converters.executorch.passes.editor import Editor


@dataclass(frozen=True)
class Pass:
    """One rewrite. run: edits in place, gives how many places it changed. exact: whether it computes the same function;
    what does not is applied only where it is asked for.
    """

    name: str
    run: Callable[[Editor], int]
    exact: bool = True


PASSES = (
    Pass("unit-length", unit_length.rewrite),
    Pass("no-ops", no_ops.remove),
    Pass("constants", constants.fold),
    Pass("gelu-tanh", gelu_tanh.to_sigmoid),
    Pass("matmul", matmul.to_linear),
    Pass("input-normalisation", input_normalisation.fold),
    Pass("pooling", pooling.rewrite),
    Pass("token-mean", token_mean.to_map),
    Pass("attention", attention.split),
    Pass("layer-scale", layer_scale.fold),
    Pass("norm-affine", norm_affine.fold),
    Pass("centred-stream", centred_stream.centre),
    Pass("layer-norm", layer_norm.decompose),
    Pass("token-pick", token_pick.sink),
    Pass("channel-multiplier", channel_multiplier.split),
    Pass("large-depthwise", large_depthwise.split),
    Pass("gelu-sigmoid", gelu.as_sigmoid, exact=False),
)


# -NAME leaves an exact pass out, +NAME applies one that is not.
PASS_CHOICES = tuple(f"{'-' if step.exact else '+'}{step.name}" for step in PASSES)


def chosen(changes: Collection[str] = ()) -> tuple[Pass, ...]:
    """The exact passes, with these changes of `PASS_CHOICES`."""
    assert set(changes) <= set(PASS_CHOICES), changes
    return tuple(step for step in PASSES if (f"-{step.name}" not in changes if step.exact else f"+{step.name}" in changes))


def apply_passes(
    program: ExportedProgram, example: tuple[Tensor, ...], passes: Iterable[Pass] | None = None
) -> tuple[ExportedProgram, dict[str, int]]:
    """The program rewritten by these passes, all exact ones if None, and how many places each of them changed."""
    editor = Editor(program)
    with torch.no_grad():
        counts = {step.name: step.run(editor) for step in (chosen() if passes is None else passes)}
        return editor.finish(example), counts
