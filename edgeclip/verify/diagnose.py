"""Why an artifact failed: its first operation that computes something else than torch, or what else it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from torch.export import ExportedProgram

from edgeclip.manifest import Artifact, Bundle
from edgeclip.models.towers import export_tower
from edgeclip.models.weights import LoadedModel
from edgeclip.plugins import RUNTIMES, TARGETS
from edgeclip.reference.mil.precision import Mode
from edgeclip.spec import Tower
from edgeclip.target import Target
from edgeclip.verify.localize import localize
from edgeclip.verify.trace import trace_torch
from edgeclip.verify.traced import Divergence, Localization

INTERPRETER = "mil"  # the runtime whose values can be looked at
_SAME_EMBEDDING = 1e-5  # of the original and of what is exported from it, largest difference of one component
_HALF_A_LEVEL = 0.5 / 255


@dataclass(frozen=True)
class Sample:
    """One input. reference, given: as the original and as the artifact takes it. embedding: the original's, (D,) float32."""

    name: str
    reference: np.ndarray
    given: np.ndarray
    embedding: np.ndarray


def can_be_traced(artifact: Artifact) -> bool:
    """Whether single operations of an artifact can be looked at here."""
    target: Target = TARGETS[artifact.target].load()
    return INTERPRETER in target.runtimes and RUNTIMES[INTERPRETER].available


class Diagnosis:
    """Looks into the artifacts of one bundle; the right conversions are made once."""

    def __init__(self, bundle: Bundle, loaded: LoadedModel) -> None:
        self._bundle = bundle
        self._loaded = loaded
        self._programs: dict[tuple[Tower, str | None], ExportedProgram] = {}

    def trace(self, artifact: Artifact, mode: str, sample: Sample) -> Localization:
        """Every operation of an artifact beside torch's. mode: of the interpreter. BundleError if it cannot be run."""
        path = self._bundle.verified_path(artifact)
        return localize(self._right(artifact), path, artifact.scheme, cast(Mode, mode), sample.given)

    def explain(self, artifact: Artifact, mode: str, sample: Sample, traced: Localization) -> dict[str, Any]:
        """What to say of an artifact that failed on a sample. traced: what `trace` found in the mode that failed."""
        found = traced.first
        if mode != "fp32":
            found = self._in_float32(artifact, sample, found)
        if found is None:
            found = _nothing(self._without_a_culprit(artifact, sample, traced))
        facts = {"artifact": artifact.path, "tower": artifact.tower, "target": artifact.target, "scheme": artifact.scheme}
        return {**facts, "runtime": INTERPRETER, "mode": mode, "sample": sample.name, **asdict(found)}

    def _in_float32(self, artifact: Artifact, sample: Sample, found: Divergence | None) -> Divergence | None:
        """What float32 arithmetic, where errors show more clearly, adds to a finding in another mode."""
        exact = self.trace(artifact, "fp32", sample).first
        if found is None:
            return exact and replace(exact, says=f"{exact.says}. Computed in float32, where it shows")
        if exact is None:
            return replace(found, says=f"{found.says}. In float32 arithmetic every operation is right: float16 costs this")
        return found

    def _without_a_culprit(self, artifact: Artifact, sample: Sample, traced: Localization) -> str:
        """Why an artifact fails although all its operations are right."""
        if other := _other_input(artifact.tower, sample):
            return f"every operation is right on its input, but {other}"
        exported = trace_torch(self._right(artifact), _batch(sample.reference))[-1].value[0].numpy()
        difference = float(np.abs(exported - sample.embedding).max())
        if difference > _SAME_EMBEDDING:
            return (
                f"every operation is right, but what is exported already differs from the original by {difference:.1e}:"
                " fusing or rewriting for the layout is wrong"
            )
        largest = traced.largest
        most = f"; most comes from {largest.op}, layer {largest.layer} ({largest.added_error:.1e})" if largest else ""
        return f"no operation is off by itself by more than scheme {artifact.scheme} explains; small errors add up{most}"

    def _right(self, artifact: Artifact) -> ExportedProgram:
        """The right conversion of the original, as far as torch goes, in the artifact's layout."""
        key = (artifact.tower, artifact.layout)
        if key not in self._programs:
            target: Target = TARGETS[artifact.target].load()
            rewrite = target.rewrite(artifact.layout)
            exported = export_tower(self._loaded.pair, self._loaded.spec, artifact.tower, rewrite)
            self._programs[key] = exported.program.run_decompositions({})
        return self._programs[key]


def _batch(sample: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(sample[None]))


def _other_input(tower: Tower, sample: Sample) -> str | None:
    """How the two roads' inputs differ, in words."""
    if sample.given.shape != sample.reference.shape:
        return f"the bundle states inputs of {list(sample.given.shape)}, the model has {list(sample.reference.shape)}"
    if tower == "image":
        difference = float(np.abs(sample.given - sample.reference).max())
        if difference > _HALF_A_LEVEL:
            return f"the preprocessing that the bundle states gives other pixels (by up to {difference * 255:.0f} of 255)"
        return None
    different = np.flatnonzero(sample.given != sample.reference)
    if different.size:
        return f"the bundle's tokenizer gives other ids, from position {different[0]} on"
    return None


def _nothing(says: str) -> Divergence:
    return Divergence(
        op=None,
        op_type=None,
        layer=None,
        torch_op=None,
        original=None,
        converted=None,
        relative_error=None,
        input_relative_error=None,
        cosine=None,
        says=says,
    )
