"""Core ML itself, on macOS."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeclip.data.preprocess import to_pixels
from edgeclip.errors import BundleError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference.runtime import NATIVE, Runner


class CoreMLRunner(Runner):
    """One compiled model."""

    def __init__(self, model: Any, artifact: Artifact) -> None:
        self._model = model
        self._input, self._output = artifact.inputs[0], artifact.outputs[0]

    def encode(self, batch: np.ndarray) -> np.ndarray:
        from PIL import Image

        rows = []
        for row in batch:
            value = Image.fromarray(to_pixels(row), "RGB") if self._input.kind == "image" else row[None]
            rows.append(np.asarray(self._model.predict({self._input.name: value})[self._output.name], np.float32))
        return np.concatenate(rows)


class CoreMLRuntime:
    """Runs Core ML artifacts with `MLModel.predict`, on the compute units that Core ML chooses."""

    name = "coreml"

    def modes(self, scheme: str) -> tuple[str, ...]:
        return NATIVE

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        import coremltools as ct

        path = bundle.verified_path(artifact)
        try:
            return CoreMLRunner(ct.models.MLModel(str(path)), artifact)
        except RuntimeError as error:
            raise BundleError(f"{path}: Core ML cannot load it ({error})") from error


RUNTIME = CoreMLRuntime()
