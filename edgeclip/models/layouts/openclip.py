"""OpenCLIP: `visual.*`, and the text tower either flat (`CLIP`) or under `text.` (`CustomTextCLIP`)."""

from __future__ import annotations

import re

from edgeclip.models.layouts.layout import Layout, Source, prefixes


def _flat(name: str) -> Source:
    return Source((name.removeprefix("text."),))


def _custom(name: str) -> Source:
    return Source((name,))


CUSTOM_TEXT = Layout(
    "openclip-custom-text",
    "OpenCLIP (text tower apart)",
    prefixes("visual.", "text."),
    _custom,
    re.compile(r"text\.attn_mask"),
)
FLAT = Layout(
    "openclip",
    "OpenCLIP",
    prefixes("visual.", "transformer.", "token_embedding."),
    _flat,
    re.compile(r"attn_mask|input_resolution|context_length|vocab_size"),
)
