"""The model table. Adding a model is a row in its family's file; importing this loads no torch."""

from __future__ import annotations

from edgeclip.models import clip, mobileclip, mobileclip2, siglip, tinyclip
from edgeclip.registry import Registry
from edgeclip.spec import ModelSpec

DEFAULT_MODEL = "mobileclip-demo"

MODELS: Registry[ModelSpec] = Registry("model")
for _spec in (*mobileclip.SPECS, *mobileclip2.SPECS, *tinyclip.SPECS, *siglip.SPECS, *clip.SPECS):
    MODELS.add(_spec.name, _spec, _spec.aliases)
