"""The bundle that a conversion finds at its place: what of it stays, and what may be replaced."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclip.bundle_writer import reporting_disk
from edgeclip.errors import BundleError, UsageError
from edgeclip.manifest import MANIFEST_FILE, Artifact, Bundle
from edgeclip.spec import Tower

if TYPE_CHECKING:
    from edgeclip.models.weights import LoadedModel

RESULT_FILE = "verify.json"  # what `verify` writes; it says nothing of a bundle that changed since
Asked = set[tuple[str, Tower]]  # targets and towers that are to be converted


def existing_bundle(out: Path, force: bool) -> Bundle | None:
    """The bundle at `out`, None if there is nothing; anything else there is never overwritten."""
    if out.is_mount() or out.resolve() == Path.cwd():
        raise UsageError(
            f"{out}: a bundle takes the place of its folder, which cannot be this one; use --out with a folder in it"
        )
    if not out.exists():
        return None
    if out.is_dir() and not any(out.iterdir()):
        return None
    if not (out / MANIFEST_FILE).exists():
        raise UsageError(f"{out}: exists and is not a bundle; choose another folder with --out")
    try:
        return Bundle.open(out)
    except BundleError:
        if force:
            return None
        raise


def check_free(existing: Bundle, asked: Asked) -> None:
    """Raise UsageError if one of the artifacts asked for is there already."""
    for artifact in existing.manifest.artifacts:
        if (artifact.target, artifact.tower) in asked:
            raise UsageError(
                f"{existing.path}: already holds {artifact.label}; use --force to replace it, or --out for another bundle"
            )


def kept_artifacts(existing: Bundle | None, loaded: LoadedModel, asked: Asked, force: bool) -> tuple[Artifact, ...]:
    """The artifacts of the old bundle that stay: those of other targets and towers, if the weights agree."""
    if existing is None:
        return ()
    manifest = existing.manifest
    if (manifest.model, manifest.embedding.space_id) != (loaded.spec.name, loaded.space_id):
        if not force:
            raise UsageError(
                f"{existing.path}: holds {manifest.model} with other weights ({manifest.weights.source});"
                f" use --force to replace the bundle, or --out for another"
            )
        return ()
    return tuple(artifact for artifact in manifest.artifacts if (artifact.target, artifact.tower) not in asked)


def carry_over(existing: Bundle, kept: tuple[Artifact, ...], folder: Path) -> None:
    """Copy what stays: artifacts with the right hash, and what the manifest does not list, such as the user's notes."""
    for artifact in kept:
        existing.verified_path(artifact)
    manifest = existing.manifest
    gone = {MANIFEST_FILE, RESULT_FILE, *(entry.path for entry in manifest.files)}
    gone |= {artifact.path for artifact in manifest.artifacts} - {artifact.path for artifact in kept}

    def listed(place: str, names: list[str]) -> set[str]:
        at = Path(place).relative_to(existing.path)
        return {name for name in names if (at / name).as_posix() in gone}

    with reporting_disk(folder):
        shutil.copytree(existing.path, folder, symlinks=True, ignore=listed, dirs_exist_ok=True)
