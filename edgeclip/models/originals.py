"""Finding the torch original of a bundle again.

A manifest records where weights came from without anyone's folder names: for a file, its name and hash. Which file on
this machine has that hash is remembered in a small index in the user's cache folder, so `verify` after `convert` needs
no `--weights`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from edgeclip.cache import cache_folder
from edgeclip.errors import BundleError, InputError
from edgeclip.manifest import Manifest, file_sha256
from edgeclip.models import MODELS
from edgeclip.models.weights import LoadedModel, load_model
from edgeclip.progress import Task


def load_original(manifest: Manifest, weights: str | None = None, task: Task | None = None) -> LoadedModel:
    """Load the weights that a bundle was made from, and check that they are the same.

    `weights` overrides where they are looked for, not which they must be.
    """
    if manifest.model not in MODELS:
        raise BundleError(f"the bundle is of model {manifest.model!r}, which this version does not know")
    model = load_model(MODELS[manifest.model], weights or _source(manifest), task)
    if model.space_id != manifest.embedding.space_id:
        raise InputError(
            f"weights {weights or manifest.weights.source} are not those of the bundle"
            f" ({model.space_id}, bundle has {manifest.embedding.space_id})"
        )
    return model


def _source(manifest: Manifest) -> str:
    kind, _, rest = manifest.weights.source.partition(":")
    if kind == "hub":
        return "hub"
    if kind in ("demo", "seeded"):
        return manifest.weights.source
    path = remembered(manifest.weights.sha256)
    if path is None:
        raise InputError(
            f"the bundle was made from a file {rest} (sha256 {manifest.weights.sha256[:12]}...), which is not known on this"
            f" machine: pass --weights FILE"
        )
    return str(path)


def _index_file() -> Path:
    return cache_folder() / "weights.json"


def _index() -> dict[str, str]:
    try:
        content = json.loads(_index_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def remember(sha256: str, path: Path) -> None:
    """Note where weights of a hash lie. A cache that cannot be written is not an error."""
    file = _index_file()
    content = json.dumps({**_index(), sha256: str(path.resolve())}, indent=1)
    temporary = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(content, "utf-8")
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)


def remembered(sha256: str) -> Path | None:
    """A file on this machine that still has this hash."""
    path = _index().get(sha256)
    if not isinstance(path, str) or not Path(path).is_file() or file_sha256(Path(path)) != sha256:
        return None
    return Path(path)
