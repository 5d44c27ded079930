"""Schemes (how numbers are stored and computed) and recipes (the whole truth of a conversion)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeclip.errors import UsageError
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


DEFAULT_FLOOR = 0.995  # cosine that scheme `auto` holds where nothing else is asked

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
    Scheme(
        "w8a8",
        "8-bit integer weights and activations, ranges from calibration samples",
        Threshold(cosine_min=0.95, rank_agreement=0.9, reason="every layer's input is rounded to 255 steps of its range"),
    ),
    Scheme(
        "w4",
        "4-bit integer weights, one scale per block of 32",
        Threshold(cosine_min=0.9, rank_agreement=0.85, reason="15 steps per block, without training for them"),
    ),
    Scheme(
        "pal6",
        "6-bit indices into tables of 64 weights",
        Threshold(cosine_min=0.98, rank_agreement=0.93, reason="64 values, placed where the weights are dense"),
    ),
    Scheme(
        "pal4",
        "4-bit indices into tables of 16 weights",
        Threshold(cosine_min=0.85, rank_agreement=0.8, reason="16 values per table, without training for them"),
    ),
    Scheme(
        "pal4-lut8",
        "4-bit indices into tables of 16 weights of 8 bits",
        Threshold(cosine_min=0.85, rank_agreement=0.8, reason="as pal4; rounding the tables costs little beside it"),
    ),
    Scheme(
        "prune50",
        "the smaller half of all weights is zero and not stored",
        Threshold(cosine_min=0.25, rank_agreement=0.55, reason="half the weights are gone; made to be trained further"),
    ),
    Scheme(
        "prune50-w8",
        "half of the weights zero, the others 8-bit integers",
        Threshold(cosine_min=0.25, rank_agreement=0.55, reason="as prune50; 8 bits cost little beside it"),
    ),
    Scheme(
        "auto",
        "a form for each layer, by how much the embedding suffers",
        Threshold(cosine_min=DEFAULT_FLOOR, reason="the floor that was asked for, on samples the choice has not seen"),
    ),
):
    SCHEMES.add(_scheme.name, _scheme)

# Percent of a graph's operations that a delegate has to take. A text tower's token lookup and the pick of its end token stay
# outside by design: four operations of a hundred or more.
MIN_DELEGATED = 95.0
# A set of inputs that all land on nearly one embedding proves nothing, whatever the errors are.
DEGENERATE_COSINE = 0.98
# Embeddings have length 1 to within float16's rounding; without the normalisation they are nowhere near it.
UNIT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Goal:
    """What scheme `auto` aims for, over the calibration samples.

    min_cosine: the floor of every embedding's cosine with the original. max_mb: the most that a target's packages may take
    together, in 10^6 bytes. With a size and no floor, the most accurate of that size is chosen.
    """

    min_cosine: float | None = None
    max_mb: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--min-cosine", self.min_cosine), ("--max-mb", self.max_mb)):
            if value is not None and not math.isfinite(value):
                raise UsageError(f"{option} {value}: give a number")

    @property
    def floor(self) -> float | None:
        """The cosine to hold; None where only the size counts."""
        return DEFAULT_FLOOR if self.min_cosine is None and self.max_mb is None else self.min_cosine


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of an artifact. Same recipe, same tool versions, same bytes.

    token_table: how the token embedding table is stored, where that differs from the scheme. calibration: the hash of the
    samples, where the scheme looks at any. layers: how each named weight is stored, where a table of them was given.
    passes: what is different about the graph passes: -NAME leaves one out, +NAME applies one that is not exact. single_file:
    whether both towers are methods of one file.
    """

    model: str
    weights: str
    target: str
    backend: str | None
    scheme: str
    min_os: str | None
    layout: str | None = None
    token_table: str | None = None
    convention: str | None = None
    layers: Mapping[str, str] | None = None
    seed: int = 0
    passes: tuple[str, ...] = ()
    single_file: bool = False


@dataclass(frozen=True)
class TargetOptions:
    """What the user chose for one target; None means the target's default.

    layers: for each tower, how each named weight is stored, as the manifest of an earlier conversion has it. min_delegated: the
    percentage of operations that have to be in delegates, `MIN_DELEGATED` by default.
    """

    target: str
    scheme: str | None = None
    backend: str | None = None
    min_os: str | None = None
    layout: str | None = None
    token_table: str | None = None
    convention: str | None = None
    goal: Goal = field(default_factory=Goal)
    layers: Mapping[str, Mapping[str, str]] | None = None
    seed: int = 0
    passes: tuple[str, ...] | None = None
    single_file: bool | None = None
    min_delegated: float | None = None
