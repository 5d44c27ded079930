"""What takes part: a runtime with one way of making its artifact."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latency.case import Case

Encode = Callable[[np.ndarray], np.ndarray]  # one sample with its batch axis, (1, ...) -> (1, D) float32
ROOT = Path(__file__).parents[2]

# A float32 contender that is further off computes something else.
FLOAT_COSINE = 0.9999
# Quantized ones differ by design, and generated weights compress worse than trained ones. Embeddings of different inputs have a
# cosine of about 0.4 with such weights; an answer as far off as this is not the model's any more.
LOSSY_COSINE = 0.7


@dataclass(frozen=True)
class Contender:
    """One row.

    build: make the artifact in an empty folder; None where there is none. artifact: the file or folder of it that an app would
    ship. load: (case, folder, threads) -> what runs one sample. packages: the distributions that decide artifact and speed.
    sources: folders and files of the repository that decide the artifact; a change of either makes it anew. least_cosine: with
    torch, over the checked samples. note: what a reader has to know about how it is made.
    """

    name: str
    label: str
    packages: tuple[str, ...]
    load: Callable[[Case, Path, int], Encode]
    build: Callable[[Case, Path], None] | None = None
    artifact: Callable[[Case, Path], Path] = lambda _, folder: folder
    sources: tuple[str, ...] = ()
    least_cosine: float = FLOAT_COSINE
    ours: bool = False
    note: str = ""

    def versions(self) -> dict[str, str]:
        """Raises PackageNotFoundError where one is not installed."""
        return {package: importlib.metadata.version(package) for package in self.packages}

    def folder(self, case: Case) -> Path:
        """Where the artifact is cached: its name has a hash of all that decides its bytes."""
        digest = hashlib.sha256(json.dumps(self.versions(), sort_keys=True).encode())
        for source in (*self.sources, "edgeclip/models"):
            path = ROOT / source
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                digest.update(file.read_bytes())
        return case.folder / f"{self.name}-{digest.hexdigest()[:12]}"

    def made(self, case: Case) -> Path:
        """The folder with the artifact, which is made if it is not there yet."""
        folder = self.folder(case)
        if self.build is None or folder.exists():
            return folder
        case.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=case.folder, prefix="building-") as name:
            unfinished = Path(name) / folder.name
            unfinished.mkdir()
            started = time.perf_counter()
            self.build(case, unfinished)
            (unfinished / BUILT).write_text(json.dumps({"build_s": round(time.perf_counter() - started, 1)}))
            unfinished.rename(folder)
        return folder

    def size_bytes(self, case: Case, folder: Path) -> int | None:
        """Of what an app would ship; None where nothing is built."""
        if self.build is None:
            return None
        path = self.artifact(case, folder)
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file() and file.name != BUILT)


BUILT = "built.json"
