"""Finding the torch original of a bundle again.

A manifest records where weights came from without anyone's folder names: for a file, its name and hash. Which file on
this machine has that hash is remembered in a small index in the user's cache folder, so `verify` after `convert` needs
no `--weights`.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from edgeclip.cache import cache_folder
from edgeclip.data.tokenizer import FOLDER
from edgeclip.errors import BundleError, InputError
from edgeclip.manifest import Manifest
from edgeclip.models import MODELS
from edgeclip.models.shards import in_folder
from edgeclip.models.weights import LoadedModel, load_model, weights_sha256
from edgeclip.progress import Task
from edgeclip.whole_file import write_whole


def load_original(
    manifest: Manifest, weights: str | None = None, task: Task | None = None, tokenizer: Path | None = None
) -> LoadedModel:
    """Load the weights and the vocabulary that a bundle was made from, and check that the weights are the same.

    `weights` and `tokenizer` override where they are looked for, not which they must be.
    """
    if manifest.model not in MODELS:
        raise BundleError(f"the bundle is of model {manifest.model!r}, which this version does not know")
    model = load_model(MODELS[manifest.model], weights or _source(manifest), task, tokenizer or _vocabulary(manifest))
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
    return str(_known("a file", rest, manifest.weights.sha256, "--weights"))


def _vocabulary(manifest: Manifest) -> Path | None:
    """The file that the tokenizer was made of, where it was a user's; else it is found as `convert` found it."""
    kind, _, name = (manifest.text.vocabulary or "").partition(":")
    if kind != "file":
        return None
    (entry,) = (entry for entry in manifest.files if entry.path.startswith(f"{FOLDER}/"))
    return _known("the vocabulary", name, entry.sha256, "--tokenizer")


def _known(what: str, name: str, sha256: str, option: str) -> Path:
    path = remembered(sha256)
    if path is None:
        raise InputError(
            f"the bundle was made from {what} {name} (sha256 {sha256[:12]}...), which is not known on this"
            f" machine: pass {option} FILE"
        )
    return path


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
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content)


def remembered(sha256: str) -> Path | None:
    """A file on this machine that still has this hash."""
    place = _index().get(sha256)
    if not isinstance(place, str) or not (path := Path(place)).exists():
        return None
    try:
        found = weights_sha256(in_folder(path) if path.is_dir() else path)
    except (InputError, OSError):
        return None
    return path if found == sha256 else None
