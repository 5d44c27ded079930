"""TinyCLIP's own code, which wraps OpenCLIP's flat names into three encoders, perhaps with masks that prune them."""

from __future__ import annotations

from edgeclip.models.layouts.gates import plain
from edgeclip.models.layouts.layout import Layout, Source, prefixes


def _source(name: str) -> Source:
    if name.startswith("visual."):
        return Source((f"_image_encoder.{name}",))
    if name.startswith("text."):
        return Source((f"_text_encoder.{name.removeprefix('text.')}",))
    return Source((f"_logit_scale.{name}",))


TINYCLIP = Layout("tinyclip", "TinyCLIP", prefixes("_image_encoder.", "_text_encoder."), _source, prepared=plain)
