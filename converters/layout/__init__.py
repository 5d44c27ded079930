"""Towers rewritten for the Neural Engine: `--layout ane`.

Every rewritten module takes and gives maps of (N, C, H, W), tokens as (N, C, 1, L); an encoder gives (N, D, 1, 1). Which
module is rewritten how is a table by kind (`kinds`), filled by the files here. A new family is one more function.
"""

from __future__ import annotations

from converters.layout import blocks, fastvit, resnet, text, timm_vision, vision
from converters.layout.towers import for_neural_engine

__all__ = ["blocks", "fastvit", "for_neural_engine", "resnet", "text", "timm_vision", "vision"]
