"""What storing one weight in another form does to the embedding, measured through the interpreter.

A run of each sample is recorded; for each weight and form only what lies downstream of that weight is computed again.
What is found is kept in a file as it is found, so that an interrupted conversion goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from converters.coreml.auto.choose import Option
from converters.coreml.compression.forms import FORMS
from converters.coreml.compression.weights import Weight
from edgeclip.manifest import content_sha256
from edgeclip.progress import Task
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.verify.metrics import cosines
from edgeclip.verify.package_trace import package_input

_VERSION = 1  # of what is measured; raise it when forms or the measure change
SAMPLES = 6  # recorded runs are held in memory


class Trial:
    """A float16 package with the samples it is tried on."""

    def __init__(self, package: Path, samples: np.ndarray, originals: np.ndarray) -> None:
        self.model = MilModel.load(package, "fp16")
        self.originals = originals
        self.inputs = [package_input(self.model.program, row) for row in samples]
        self.output = self.model.program.outputs[0].name

    def cosines(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Cosine with the original, one for each sample, with these weights in place of the package's."""
        model = _with_weights(self.model, {name: torch.from_numpy(value) for name, value in values.items()})
        found = np.concatenate([model.run(given)[self.output] for given in self.inputs])
        return cosines(found, self.originals)


def _with_weights(model: MilModel, values: Mapping[str, torch.Tensor]) -> MilModel:
    """The same program with other constants, by their names in the file."""
    steps = tuple(
        replace(step, constants=step.constants | {p: values[s] for p, s in step.sources.items() if s in values})
        for step in model.program.steps
    )
    return MilModel(replace(model.program, steps=steps), model.mode, model.path)


def measure(
    trial: Trial, weights: Mapping[str, Weight], forms: Mapping[str, Iterable[str]], min_os: str, state: _State, task: Task
) -> dict[str, dict[str, Option]]:
    """For every weight and each of its forms: its size, and the mean loss of cosine against the float16 package.

    trial: with few samples.
    """
    recordings = None
    table: dict[str, dict[str, Option]] = {}
    for done, (name, weight) in enumerate(weights.items()):
        task.advance(done, len(weights))
        errors = state.known.get(name, {})
        if missing := [form for form in forms[name] if form not in errors]:
            if recordings is None:
                recordings = [trial.model.record(given) for given in trial.inputs]
                base = np.concatenate([trial.model.rerun(recording)[trial.output] for recording in recordings])
            for form in missing:
                changed = {name: torch.from_numpy(stored(weight, form, min_os))}
                moved = np.concatenate([trial.model.rerun(r, constants=changed)[trial.output] for r in recordings])
                errors[form] = float(np.mean(1 - cosines(moved, base)))
            state.add(name, errors)
        table[name] = {form: Option(FORMS[form].size(weight, min_os), max(errors[form], 0.0)) for form in forms[name]}
    return table


def stored(weight: Weight, form: str, min_os: str) -> np.ndarray:
    """The float32 array that the program computes with when `weight` is stored as `form`."""
    return np.ascontiguousarray(FORMS[form].values(weight, min_os).astype(np.float16).astype(np.float32))


class _State:
    """Errors that are known, by weight and form, in a JSON file that is replaced as a whole."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, dict[str, float]] = {}
        if path is None:
            return
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return  # nothing yet, or cut off: measured again
        if isinstance(content, dict):
            self.known = {str(name): dict(errors) for name, errors in content.items() if _are_errors(errors)}

    def add(self, name: str, errors: dict[str, float]) -> None:
        self.known[name] = errors
        if self.path is None:
            return
        temporary = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self.known), "utf-8")
            temporary.replace(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)
            self.path = None  # a cache that cannot be written is not an error


def _are_errors(errors: object) -> bool:
    return isinstance(errors, dict) and all(isinstance(v, float | int) and 0 <= abs(v) <= 2 for v in errors.values())


def open_state(folder: Path | None, package: Path, samples: np.ndarray, min_os: str) -> _State:
    """The state of this very measurement: same package, samples and floor."""
    if folder is None:
        return _State(None)
    digest = hashlib.sha256(f"{_VERSION} {min_os} {sorted(FORMS)} {content_sha256(package)}".encode())
    digest.update(samples.tobytes())
    return _State(folder / f"{digest.hexdigest()[:32]}.json")
