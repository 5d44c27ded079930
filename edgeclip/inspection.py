"""inspect(): what is in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgeclip.errors import UsageError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.plugins import PLACEMENTS, TARGETS
from edgeclip.progress import Progress, silent
from edgeclip.target import Target


def inspect(path: Path, progress: Progress = silent, neural_engine: bool = False) -> dict[str, Any]:
    """The manifest, and for every artifact what its target finds inside: ops, weights by type, delegates.

    neural_engine: add where each operation of Core ML artifacts would run, as "neural_engine" of the artifact's entry.
    """
    bundle = Bundle.open(path)
    placed = [artifact for artifact in bundle.manifest.artifacts if artifact.target in PLACEMENTS]
    if neural_engine and not placed:
        raise UsageError(f"{path}: has no Core ML artifact, and others do not run on the Neural Engine")
    contents = []
    for artifact in bundle.manifest.artifacts:
        target: Target = TARGETS[artifact.target].load()
        with progress(f"reading {artifact.label}"):
            where = bundle.verified_path(artifact)
            entry = {"artifact": artifact.path, **target.inspect(where, artifact.method)}
            if neural_engine and artifact in placed:
                entry["neural_engine"] = PLACEMENTS[artifact.target].load()(where, _options(artifact))
            contents.append(entry)
    for file in bundle.manifest.files:
        bundle.verified_path(file)
    return {"bundle": str(path), "manifest": msgspec.to_builtins(bundle.manifest), "contents": contents}


def _options(artifact: Artifact) -> set[str]:
    """The options that an artifact was converted with, as far as they decide where it runs."""
    compute = "fp32" if artifact.scheme == "fp32" else "fp16"  # all compressed schemes compute in float16
    return {f"--scheme {compute}", f"--layout {artifact.layout}"}
