"""inspect(): what is in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgeclip.manifest import Bundle
from edgeclip.plugins import TARGETS
from edgeclip.progress import Progress, silent
from edgeclip.target import Target


def inspect(path: Path, progress: Progress = silent) -> dict[str, Any]:
    """The manifest, and for every artifact what its target finds inside: ops, weights by type, delegates."""
    bundle = Bundle.open(path)
    contents = []
    for artifact in bundle.manifest.artifacts:
        target: Target = TARGETS[artifact.target].load()
        with progress(f"reading {artifact.label}"):
            contents.append({"artifact": artifact.path, **target.inspect(bundle.verified_path(artifact))})
    for entry in bundle.manifest.files:
        bundle.verified_path(entry)
    return {"bundle": str(path), "manifest": msgspec.to_builtins(bundle.manifest), "contents": contents}
