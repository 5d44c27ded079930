"""The two towers as they are exported: normalisation in front, unit length behind, fused inside."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgeclip.models.fusion import fuse
from edgeclip.models.pair import EncoderPair
from edgeclip.models.written_out import check_written_out, write_out
from edgeclip.spec import INPUT_NAME, OUTPUT_NAME, ModelSpec, Preprocess, Tower

# exp(-1e4) is 0 in float32 and float16 alike, so a causal mask of -1e4 is exact, and unlike -inf it survives
# quantization and palettization of constants, and the Neural Engine.
FINITE_MASK = -1e4


class ImageTower(nn.Module):
    """image: (N, 3, H, W) float32 RGB in [0, 1] -> (N, D) float32, unit length."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.encoder = encoder
        self.identity = preprocess.mean == (0.0, 0.0, 0.0) and preprocess.std == (1.0, 1.0, 1.0)
        self.register_buffer("mean", torch.tensor(preprocess.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.std).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = image if self.identity else (image - self.mean) / self.std
        return F.normalize(self.encoder(x), dim=-1)


class TextTower(nn.Module):
    """text: (N, L) int32 token ids -> (N, D) float32, unit length."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, text: Tensor) -> Tensor:
        return F.normalize(self.encoder(text), dim=-1)


def build_tower(pair: EncoderPair, spec: ModelSpec, tower: Tower) -> nn.Module:
    """Wrap one encoder, sharing its weights: the torch original that artifacts are compared with."""
    if tower == "image":
        return ImageTower(pair.visual, spec.preprocess).eval()
    return TextTower(pair.text).eval()


def with_shared_numbers(module: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers may be replaced, but not changed in place: they are the original's memory."""
    shared: dict[int, Tensor] = {id(buffer): buffer.detach() for buffer in module.buffers()}
    shared |= {id(value): nn.Parameter(value.detach(), requires_grad=False) for value in module.parameters()}
    return copy.deepcopy(module, shared)


def prepare_for_export(module: nn.Module) -> nn.Module:
    """A copy, fused, with finite masks and nothing that converters mistake, that computes the same function."""
    module = with_shared_numbers(module).eval()
    fuse(module)
    write_out(module)
    module.requires_grad_(False)
    for child in module.modules():
        for name, buffer in list(child.named_buffers(recurse=False)):
            if buffer.is_floating_point() and torch.isneginf(buffer).any():
                child.register_buffer(name, buffer.masked_fill(torch.isneginf(buffer), FINITE_MASK), persistent=False)
    return module


@dataclass(frozen=True)
class ExportedTower:
    """One tower as an ExportedProgram of static shape, batch 1."""

    spec: ModelSpec
    tower: Tower
    program: ExportedProgram

    @property
    def input_name(self) -> str:
        return INPUT_NAME[self.tower]

    @property
    def output_name(self) -> str:
        return OUTPUT_NAME

    @property
    def example(self) -> Tensor:
        return example_input(self.spec, self.tower)


def example_input(spec: ModelSpec, tower: Tower) -> Tensor:
    """A mid-grey picture, or a text of no words: valid input to trace and smoke-test with."""
    shape = spec.input_shape(tower)
    if tower == "image":
        return torch.full(shape, 0.5)
    return torch.tensor([spec.tokenizer.framed(())], dtype=torch.int32)


def export_tower(
    pair: EncoderPair, spec: ModelSpec, tower: Tower, rewrite: Callable[[nn.Module], nn.Module] | None = None
) -> ExportedTower:
    """Fuse and export one tower; `rewrite` is what a target does to the fused module first."""
    module = prepare_for_export(build_tower(pair, spec, tower))
    if rewrite is not None:
        module = rewrite(module)
    with torch.no_grad():
        program = torch.export.export(module, (example_input(spec, tower),), strict=False)
    check_written_out(program)
    return ExportedTower(spec=spec, tower=tower, program=program)
