"""Names by which existing apps find a package and its inputs and outputs.

apple: Apple's MobileCLIP sample app. queryable: Queryable's photo search, which names files, the picture and both outputs in
its own way and takes the text tower's only input whatever its name. Types are the same in both: a pixel buffer, int32 ids,
float32 embeddings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeclip.registry import Registry
from edgeclip.spec import INPUT_NAME, OUTPUT_NAME, ModelSpec, Tower


@dataclass(frozen=True)
class Convention:
    """file_stem(spec, tower): the package's name without suffix. inputs, outputs: the name for each tower."""

    file_stem: Callable[[ModelSpec, Tower], str]
    inputs: dict[Tower, str]
    outputs: dict[Tower, str]


def _queryable_stem(spec: ModelSpec, tower: Tower) -> str:
    """`ImageEncoder_mobileCLIP_s2`: other models in their own spelling."""
    model = spec.file_stem.replace("mobileclip", "mobileCLIP", 1)
    return f"{'ImageEncoder' if tower == 'image' else 'TextEncoder'}_{model}"


CONVENTIONS: Registry[Convention] = Registry("convention")
CONVENTIONS.add(
    "apple",
    Convention(lambda spec, tower: f"{spec.file_stem}_{tower}", INPUT_NAME, {"image": OUTPUT_NAME, "text": OUTPUT_NAME}),
)
CONVENTIONS.add(
    "queryable",
    Convention(_queryable_stem, {"image": "colorImage", "text": "text"}, {"image": "embOutput", "text": "text_embeddings"}),
)
