"""What is timed: one tower of one model with one set of weights, and the samples that every contender must agree on."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.calibration import Calibration, Samples
from edgeclip.models import MODELS
from edgeclip.models.weights import LoadedModel, load_model
from edgeclip.spec import INPUT_NAME, ModelSpec, Tower

CHECKED_SAMPLES = 8  # spread over all calibration samples


@dataclass(frozen=True)
class Case:
    """One tower. `work` is where artifacts are cached, in a folder of this case's own."""

    model: str
    tower: Tower
    weights: str
    work: Path

    @property
    def label(self) -> str:
        return f"{self.model} {self.tower}"

    @property
    def spec(self) -> ModelSpec:
        return MODELS[self.model]

    @property
    def input_name(self) -> str:
        return INPUT_NAME[self.tower]

    @cached_property
    def folder(self) -> Path:
        """Other weights have another folder; a file is known by its content."""
        path = Path(self.weights)
        known = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else re.sub(r"\W", "-", self.weights)
        return self.work / f"{self.model}-{known}" / self.tower

    @cached_property
    def loaded(self) -> LoadedModel:
        return load_model(self.spec, self.weights)

    @cached_property
    def samples(self) -> Samples:
        """The inputs that edgeclip calibrates on, which peers that quantize statically calibrate on too."""
        return Samples(self.loaded, Calibration())

    def original(self) -> Any:
        """The tower as the checkpoint holds it: `nn.Module`, with normalisation in front and unit length behind."""
        from edgeclip.models.towers import build_tower

        return build_tower(self.loaded.pair, self.spec, self.tower)

    def fused(self) -> Any:
        """The tower with training-time branches and batch norms merged, as MobileCLIP's authors tell users to before export.

        Peers get this one: what edgeclip gains over them is then not what `reparameterize_model` of
        https://github.com/apple/ml-mobileclip gives everybody.
        """
        from edgeclip.models.towers import prepare_for_export

        return prepare_for_export(self.original())

    def example(self) -> Any:
        """A torch tensor to trace with."""
        from edgeclip.models.towers import example_input

        return example_input(self.spec, self.tower)

    @cached_property
    def reference(self) -> Reference:
        """Torch's answers, computed once and kept beside the artifacts."""
        path = self.folder / "reference.npz"
        if not path.exists():
            _write_reference(self, path)
        with np.load(path, allow_pickle=False) as arrays:
            return Reference(arrays["inputs"], arrays["embeddings"])


@dataclass(frozen=True)
class Reference:
    """inputs: (N, 3, H, W) float32 in [0, 1] or (N, L) int32; embeddings: (N, D) float32, by the torch original."""

    inputs: np.ndarray
    embeddings: np.ndarray


def _write_reference(case: Case, path: Path) -> None:
    inputs, embeddings = case.samples.inputs(case.tower), case.samples.embeddings(case.tower)
    chosen = np.linspace(0, len(inputs) - 1, CHECKED_SAMPLES).astype(int)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(temporary, inputs=inputs[chosen], embeddings=embeddings[chosen])
    temporary.replace(path)
