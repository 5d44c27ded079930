"""What is asked of one artifact, wherever it runs."""

from __future__ import annotations

from dataclasses import replace

from edgeclip.manifest import Artifact
from edgeclip.recipe import SCHEMES, Threshold


def threshold_of(artifact: Artifact) -> Threshold:
    """Its scheme's, or that of a smaller token table; of scheme `auto`, with the cosine that the manifest promises."""
    threshold = SCHEMES[artifact.scheme].threshold
    if artifact.token_table is not None and artifact.token_table in SCHEMES and artifact.tower == "text":
        threshold = min(threshold, SCHEMES[artifact.token_table].threshold, key=lambda one: one.cosine_min)
    if artifact.min_cosine is not None and artifact.scheme == "auto":
        threshold = replace(threshold, cosine_min=artifact.min_cosine)
    return threshold
