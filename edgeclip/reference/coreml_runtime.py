"""Core ML itself, on macOS."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.data.preprocess import to_pixels
from edgeclip.errors import BundleError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference.runtime import Runner, Runtime

# Mode -> name of a `coremltools.ComputeUnit`, the default first. `ne` leaves the GPU out, as most apps on phones do.
COMPUTE_UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "ne": "CPU_AND_NE"}


def refused(error: Exception) -> bool:
    """Whether coremltools reports by `error` what Core ML, or this version of macOS, will not do.

    It raises RuntimeError where the framework gives an error, ValueError for compute units that the system lacks, and
    `Exception` itself elsewhere (`MLModel.predict`, `compile_model`); anything more specific is a bug.
    """
    return type(error) in (Exception, RuntimeError, ValueError)


def reason(error: Exception) -> str:
    """What the framework says, on one line."""
    return " ".join(str(error).split())


class CoreMLRunner(Runner):
    """One loaded model. `MLModel` loads without an error what it cannot run, so that the first prediction tells."""

    def __init__(self, model: Any, artifact: Artifact, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._model, self._path, self._folder = model, path, folder
        self._input, self._output = artifact.inputs[0], artifact.outputs[0]

    def encode(self, batch: np.ndarray) -> np.ndarray:
        return np.concatenate([self._predict(row) for row in batch])

    def close(self) -> None:
        self._model = None
        self._folder.cleanup()

    def _predict(self, row: np.ndarray) -> np.ndarray:
        """One sample: (3, H, W) float32 in [0, 1] as an RGB picture, or (L,) ids as (1, L) -> (1, D) float32."""
        from PIL import Image

        given = Image.fromarray(to_pixels(row)) if self._input.kind == "image" else row[None]
        try:
            results = self._model.predict({self._input.name: given})
        except KeyError as error:
            raise BundleError(f"{self._path}: has no input {self._input.name!r}, which the manifest states") from error
        except Exception as error:
            if not refused(error):
                raise
            raise BundleError(f"{self._path}: Core ML cannot run it ({reason(error)})") from error
        if self._output.name not in results:
            names = ", ".join(sorted(results))
            raise BundleError(f"{self._path}: gives {names}, not {self._output.name}, which the manifest states")
        return np.asarray(results[self._output.name], np.float32)


class CoreMLRuntime(Runtime):
    """Runs Core ML artifacts with `MLModel.predict`; a mode is the set of compute units that Core ML may choose from."""

    name = "coreml"

    def modes(self, scheme: str) -> tuple[str, ...]:
        return tuple(COMPUTE_UNITS)

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        import coremltools as ct

        path = bundle.verified_path(artifact)
        folder = tempfile.TemporaryDirectory(prefix="edgeclip-")
        try:
            # A copy: coremltools writes the manifest of a package anew when it opens one, which would break the bundle's hash.
            copy = shutil.copytree(path, Path(folder.name) / path.name)
            model = ct.models.MLModel(str(copy), compute_units=getattr(ct.ComputeUnit, COMPUTE_UNITS[mode]))
        except Exception as error:
            folder.cleanup()
            if not refused(error):
                raise
            raise BundleError(f"{path}: Core ML cannot load it ({reason(error)})") from error
        return CoreMLRunner(model, artifact, path, folder)


RUNTIME = CoreMLRuntime()
