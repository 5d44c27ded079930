"""Schemes (how numbers are stored and computed) and recipes (the whole truth of a conversion)."""

from __future__ import annotations

from dataclasses import dataclass

from edgeclip.registry import Registry


@dataclass(frozen=True)
class Threshold:
    """What `verify` demands of an artifact against the torch original, and why that much.

    cosine_min: smallest cosine between an embedding and its original over all samples.
    max_abs_error: largest absolute difference of one embedding component (embeddings have unit length).
    rank_agreement: share of candidate pairs that a query orders as with the original embeddings.
    """

    cosine_min: float
    reason: str
    max_abs_error: float | None = None
    rank_agreement: float | None = None


@dataclass(frozen=True)
class Scheme:
    """How numbers are stored and computed. Targets say which schemes they can do."""

    name: str
    summary: str
    threshold: Threshold


SCHEMES: Registry[Scheme] = Registry("scheme")
for _scheme in (
    Scheme(
        "fp32",
        "32-bit floats",
        Threshold(
            cosine_min=0.999999,
            max_abs_error=1e-5,
            reason="only the order of sums may differ; a tanh GELU already moves the output by 3e-5",
        ),
    ),
    Scheme(
        "fp16",
        "16-bit floats",
        Threshold(
            cosine_min=0.9995,
            reason="rounding each result to 11 bits costs at most 1.5e-3 per component on these towers",
        ),
    ),
    Scheme(
        "w8",
        "8-bit integer weights, one scale per channel",
        Threshold(
            cosine_min=0.99,
            rank_agreement=0.95,
            reason="half a step of 1/127 per weight; what users see is the order of results, so that is held too",
        ),
    ),
):
    SCHEMES.add(_scheme.name, _scheme)

# A set of inputs that all land on nearly one embedding proves nothing, whatever the errors are.
DEGENERATE_COSINE = 0.98
# Embeddings have length 1 to within float16's rounding; without the normalisation they are nowhere near it.
UNIT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of an artifact. Same recipe, same tool versions, same bytes."""

    model: str
    weights: str
    target: str
    backend: str | None
    scheme: str
    min_os: str | None
    seed: int = 0


@dataclass(frozen=True)
class TargetOptions:
    """What the user chose for one target; None means the target's default."""

    target: str
    scheme: str | None = None
    backend: str | None = None
    min_os: str | None = None
