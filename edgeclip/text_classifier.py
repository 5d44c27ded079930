"""Class names and templates to prompts, and the prompts' embeddings to one embedding a class.

A class is the mean of the unit embeddings of its prompts, scaled to length 1 again: OpenAI CLIP's prompt ensembling
(section 3.1.4), as `open_clip.build_zero_shot_classifier` does it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeclip.verify.metrics import unit


def class_prompts(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every name of a class in every template.

    >>> class_prompts(["tench", "Tinca tinca"], ["{}", "a photo of {}"])
    ['tench', 'a photo of tench', 'Tinca tinca', 'a photo of Tinca tinca']
    """
    return [template.replace("{}", name) for name in names for template in templates]


def class_embeddings(prompts: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Embeddings of prompts (sum of counts, D), of any length, to one a class (classes, D) of length 1.

    counts: how many prompts each class has, in their order.
    """
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(unit(prompts), starts, axis=0)
    return unit(sums / np.asarray(counts, sums.dtype)[:, None])
