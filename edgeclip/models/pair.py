"""The two towers of one model as torch modules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# CLIP-family training clamps the logit scale here (OpenAI CLIP, section 2.5; Apple's MobileCLIP does the same at inference).
MAX_LOGIT_SCALE = 100.0


class EncoderPair(nn.Module):
    """Image and text encoder of one model, with OpenCLIP's parameter names (`visual.*`, `text.*`, `logit_scale`).

    The encoders take normalised inputs and return embeddings of any length; `edgeclip.models.towers` wraps them into the
    contract of the artifacts.
    """

    def __init__(self, visual: nn.Module, text: nn.Module, logit_bias: bool = False) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if logit_bias:
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def encode_image(self, image: Tensor) -> Tensor:
        """image: (N, 3, H, W) float32, normalised -> (N, D) float32, any length."""
        return self.visual(image)

    def encode_text(self, text: Tensor) -> Tensor:
        """text: (N, L) int token ids -> (N, D) float32, any length."""
        return self.text(text)

    @property
    def score_scale(self) -> float:
        """The multiplier of cosines before softmax or sigmoid: SigLIP's training (arXiv 2303.15343) has no clamp."""
        scale = float(self.logit_scale.detach().exp())
        return scale if hasattr(self, "logit_bias") else min(scale, MAX_LOGIT_SCALE)

    @property
    def score_bias(self) -> float | None:
        """The addend before a sigmoid; None for softmax models."""
        bias = getattr(self, "logit_bias", None)
        return None if bias is None else float(bias)
