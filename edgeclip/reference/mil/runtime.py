"""The ML Program interpreter as a runtime: Core ML artifacts on any system."""

from __future__ import annotations

from typing import cast

import numpy as np

from edgeclip.data.preprocess import to_pixels
from edgeclip.errors import BundleError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.precision import Mode
from edgeclip.reference.runtime import Runner, Runtime


class MilRunner(Runner):
    """One `.mlpackage`."""

    def __init__(self, model: MilModel) -> None:
        if len(model.program.inputs) != 1 or len(model.program.outputs) != 1:
            raise BundleError(f"{model.path}: a tower has one input and one output")
        self.model = model

    def encode(self, batch: np.ndarray) -> np.ndarray:
        given, result = self.model.program.inputs[0], self.model.program.outputs[0].name
        rows = [to_pixels(row) if given.color else row[None] for row in batch]
        return np.concatenate([self.model.run({given.name: row})[result] for row in rows])


class MilRuntime(Runtime):
    """Runs Core ML artifacts; see `precision` for what its modes claim."""

    name = "mil"

    def modes(self, scheme: str) -> tuple[str, ...]:
        return ("fp32", "ane") if scheme == "fp32" else ("fp16", "fp32", "ane")

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        runner = MilRunner(MilModel.load(bundle.verified_path(artifact), cast(Mode, mode)))
        program = runner.model.program
        for stated, found in ((artifact.inputs, program.inputs), (artifact.outputs, program.outputs)):
            if [(t.name, t.kind == "image") for t in stated] != [(i.name, i.color is not None) for i in found]:
                names = ", ".join(interface.name for interface in found)
                raise BundleError(f"{bundle.path / artifact.path}: has {names}, which the manifest states otherwise")
        return runner


RUNTIME = MilRuntime()
