"""The bundle that goes into an app: what the app runs of another bundle, with a manifest that lists just that."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from edgeclip.apps.matching import matching_bank
from edgeclip.bundle_writer import BundleWriter, reporting_disk
from edgeclip.data.tokenizer import FOLDER as TOKENIZER_FOLDER
from edgeclip.errors import BundleError
from edgeclip.manifest import Artifact, Bundle, FileEntry, Manifest, content_sha256, file_sha256

LABELS_FILE = "labels.safetensors"  # in an app's bundle

_Entry = Artifact | FileEntry


def bundle_for_app(bundle: Bundle, artifacts: tuple[Artifact, ...], labels: Path | None) -> Manifest:
    """The manifest of the bundle with these artifacts only.

    A bundle without a text tower has no tokenizer either. labels: a label bank that comes along as `LABELS_FILE`; raises
    InputError where it is of another space.
    """
    read = any(artifact.tower == "text" for artifact in artifacts)
    files = [
        entry
        for entry in bundle.manifest.files
        if entry.path != LABELS_FILE and (read or not entry.path.startswith(f"{TOKENIZER_FOLDER}/"))
    ]
    if labels is not None:
        matching_bank(labels, bundle, "--labels")
        files.append(FileEntry(path=LABELS_FILE, sha256=file_sha256(labels), size_bytes=labels.stat().st_size))
    return structs.replace(bundle.manifest, artifacts=artifacts, files=tuple(files))


def same_bundle(place: Path, shipped: Manifest) -> bool:
    """Whether just this bundle, whole, is at a place already."""
    try:
        there = Bundle.open(place)
        if there.manifest != shipped:
            return False
        for entry in entries_of(shipped):
            there.verified_path(entry)
    except BundleError:
        return False
    return True


def ship(bundle: Bundle, shipped: Manifest, labels: Path | None, place: Path) -> None:
    """Write the bundle of an app, in place of what is there; each copy is held against the manifest's hash."""
    with BundleWriter(place, force=True) as writer:
        for entry in entries_of(shipped):
            source = labels if labels is not None and entry.path == LABELS_FILE else bundle.locate(entry.path)
            copy = writer.folder / entry.path
            with reporting_disk(place):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(source, copy, symlinks=True) if source.is_dir() else shutil.copyfile(source, copy)
            if content_sha256(copy) != entry.sha256:
                raise BundleError(f"{source}: content differs from the hash in its manifest; convert the model again")
        writer.commit(shipped)


def entries_of(manifest: Manifest) -> Iterator[_Entry]:
    """One entry for each path: methods of one file share theirs."""
    entries: list[_Entry] = [*manifest.artifacts, *manifest.files]
    yield from {entry.path: entry for entry in entries}.values()
