"""Prompt templates: a label is put into each, and the embeddings are averaged (OpenAI CLIP, section 3.1.4)."""

from __future__ import annotations

DEFAULT_TEMPLATES = ("{}", "a photo of {}", "a picture of {}", "an image of {}", "a drawing of {}")
