"""The layouts in which checkpoints are published. Adding one is a file here and its line in the table."""

from __future__ import annotations

from edgeclip.models.layouts import apple, huggingface, openclip, siglip, tinyclip
from edgeclip.models.layouts.layout import Layout
from edgeclip.registry import Registry

# In the order in which a file is tried; names are what rows of the model table say.
LAYOUTS: Registry[Layout] = Registry("layout")
for _layout in (
    *(apple.APPLE, tinyclip.TINYCLIP, siglip.SIGLIP_MODEL),  # before CLIPModel, which has the same prefixes
    *(huggingface.CLIP_MODEL, openclip.CUSTOM_TEXT, openclip.FLAT),
):
    LAYOUTS.add(_layout.name, _layout)
