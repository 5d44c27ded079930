"""A small bundle without any model in it, for tests of writing and reading."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeclip.bundle_writer import BundleWriter
from edgeclip.manifest import Embedding, FileEntry, Manifest, Weights, file_sha256
from edgeclip.models import MODELS
from edgeclip.spec import Scoring

FILES = 20


def write_small_bundle(destination: Path, text: str, replaces: Manifest | None = None) -> Manifest:
    """Write a bundle of `FILES` files, each holding `text`."""
    spec = MODELS["tinyclip-demo"]
    with BundleWriter(destination, replaces, force=replaces is None) as writer:
        entries = []
        for index in range(FILES):
            path = writer.folder / f"file-{index}.txt"
            path.write_text(text * 1000)
            entries.append(FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size))
        manifest = Manifest(
            schema="edgeclip.bundle/1",
            model=spec.name,
            weights=Weights(source="demo", sha256="0" * 64, licence=spec.licence),
            image=spec.preprocess,
            text=spec.tokenizer,
            embedding=Embedding(dim=128, l2_normalized=True, space_id=text),
            scoring=Scoring(kind="softmax", logit_scale=1.0),
            artifacts=(),
            tools={},
            golden="file-0.txt",
            files=tuple(entries),
        )
        writer.commit(manifest)
    return manifest


def write_forever(destination: Path) -> None:
    """Replace a bundle again and again, until killed."""
    count = 0
    while True:
        write_small_bundle(destination, f"round {count}")
        count += 1
        sys.stdout.write(f"{count}\n")
        sys.stdout.flush()
