"""The bundle that goes into an app: what the app runs of another bundle, with a manifest that lists just that."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from edgeclip.apps.matching import matching_bank
from edgeclip.bundle_writer import BundleWriter, reporting_disk
from edgeclip.data.tokenizer import FOLDER as TOKENIZER_FOLDER
from edgeclip.errors import BundleError
from edgeclip.golden import read_golden
from edgeclip.golden_json import GOLDEN_JSON, encoded_golden_json
from edgeclip.manifest import Artifact, Bundle, FileEntry, Manifest, content_sha256, file_sha256, size_bytes

LABELS_FILE = "labels.safetensors"  # in an app's bundle

_Entry = Artifact | FileEntry


@dataclass(frozen=True)
class Shipment:
    """The bundle of an app before it is written. labels: the label bank in it; golden: the content of its `golden.json`."""

    source: Bundle
    manifest: Manifest
    labels: Path | None
    golden: bytes


def prepare(bundle: Bundle, artifacts: tuple[Artifact, ...], labels: Path | None) -> Shipment:
    """The part of a bundle with these artifacts only.

    A bundle without a text tower has no tokenizer either. `golden.json` is made anew, for these artifacts. labels: a label bank
    that comes along as `LABELS_FILE`; raises InputError where it is of another space.
    """
    reads_texts = any(artifact.tower == "text" for artifact in artifacts)
    files = [
        entry
        for entry in bundle.manifest.files
        if entry.path not in (LABELS_FILE, GOLDEN_JSON) and (reads_texts or not entry.path.startswith(f"{TOKENIZER_FOLDER}/"))
    ]
    golden = encoded_golden_json(read_golden(bundle), artifacts)
    files.append(FileEntry(path=GOLDEN_JSON, sha256=hashlib.sha256(golden).hexdigest(), size_bytes=len(golden)))
    if labels is not None:
        matching_bank(labels, bundle, "--labels")
        files.append(FileEntry(path=LABELS_FILE, sha256=file_sha256(labels), size_bytes=labels.stat().st_size))
    manifest = structs.replace(bundle.manifest, artifacts=artifacts, files=tuple(files))
    return Shipment(bundle, manifest, labels, golden)


def is_at(place: Path, manifest: Manifest) -> bool:
    """Whether just this bundle, whole, is at a place already."""
    try:
        there = Bundle.open(place)
        if there.manifest != manifest:
            return False
        for entry in entries_of(manifest):
            there.verified_path(entry)
    except BundleError:
        return False
    return True


def ship(shipment: Shipment, place: Path) -> None:
    """Write the bundle of an app, in place of what is there; each file is held against the manifest's size and hash."""
    with BundleWriter(place, force=True) as writer:
        for entry in entries_of(shipment.manifest):
            copy = writer.folder / entry.path
            _check_size(shipment, entry)
            with reporting_disk(place):
                copy.parent.mkdir(parents=True, exist_ok=True)
                _write(shipment, entry.path, copy)
            if content_sha256(copy) != entry.sha256:
                raise BundleError(
                    f"{shipment.source.path / entry.path}: content differs from its hash; convert the model again"
                )
        writer.commit(shipment.manifest)


def _check_size(shipment: Shipment, entry: _Entry) -> None:
    """Refuse, before it is copied, what has not the size that the manifest states: apps refuse it too."""
    if entry.path == GOLDEN_JSON:
        return
    source = _source(shipment, entry.path)
    if (size := size_bytes(source)) != entry.size_bytes:
        raise BundleError(f"{source}: {size} bytes, {entry.size_bytes} in the manifest; convert the model again")


def _source(shipment: Shipment, path: str) -> Path:
    return shipment.labels if shipment.labels is not None and path == LABELS_FILE else shipment.source.locate(path)


def _write(shipment: Shipment, path: str, copy: Path) -> None:
    if path == GOLDEN_JSON:
        copy.write_bytes(shipment.golden)
        return
    source = _source(shipment, path)
    shutil.copytree(source, copy, symlinks=True) if source.is_dir() else shutil.copyfile(source, copy)


def entries_of(manifest: Manifest) -> Iterator[_Entry]:
    """One entry for each path: methods of one file share theirs."""
    entries: list[_Entry] = [*manifest.artifacts, *manifest.files]
    yield from {entry.path: entry for entry in entries}.values()
