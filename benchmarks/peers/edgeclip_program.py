"""edgeclip's own `.pte`, one contender per scheme, through the public `convert`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from edgeclip.manifest import Bundle
from edgeclip.pipeline import convert
from edgeclip.plugins import TARGETS
from edgeclip.recipe import TargetOptions
from latency.case import Case
from latency.contender import FLOAT_COSINE, LOSSY_COSINE, Contender
from peers.executorch_program import load_program

TARGET = "executorch"
_LOSSLESS = ("fp32",)


def contenders(schemes: Iterable[str] | None = None) -> Iterable[Contender]:
    """Those of the given schemes, or of all that the target has."""
    for scheme in TARGETS[TARGET].load().schemes if schemes is None else schemes:
        yield Contender(
            name=f"edgeclip-{scheme}",
            label=f"edgeclip {scheme}",
            packages=("torch", "executorch", "torchao"),
            sources=("converters/executorch", "edgeclip/pipeline.py", "edgeclip/calibration.py", "edgeclip/data"),
            build=partial(_build, scheme),
            artifact=_artifact,
            load=lambda case, folder, threads: load_program(_artifact(case, folder), threads),
            least_cosine=FLOAT_COSINE if scheme in _LOSSLESS else LOSSY_COSINE,
            ours=True,
        )


def _build(scheme: str, case: Case, folder: Path) -> None:
    convert(case.model, [TargetOptions(TARGET, scheme=scheme)], folder / "bundle", case.weights, towers=(case.tower,))


def _artifact(case: Case, folder: Path) -> Path:
    bundle = Bundle.open(folder / "bundle")
    (artifact,) = bundle.manifest.artifacts
    return bundle.verified_path(artifact)
