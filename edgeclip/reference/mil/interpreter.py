"""Running an ML Program with torch: a plain loop over resolved steps. What its modes claim is in `precision`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgeclip.errors import BundleError, UsageError
from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.precision import MODES, Mode
from edgeclip.reference.mil.program import resolve
from edgeclip.reference.mil.recording import MAX_RECORDED, Change, Recording, check_change, rerun
from edgeclip.reference.mil.shapes import check_program
from edgeclip.reference.mil.steps import Interface, Program, Step
from edgeclip.reference.mil.values import DTYPES, MAX_SIZE, kind

_TAKEN = {"float": "fiu", "integer": "iu", "bool": "b"}  # NumPy kinds that an input takes
Observer = Callable[[Step, tuple[Tensor, ...]], None]


class MilModel:
    """A loaded `.mlpackage`.

    >>> model = MilModel.load(Path("artifacts/tinyclip-demo/coreml/tinyclip_demo_text.mlpackage"))  # doctest: +SKIP
    >>> model.run({"text": ids})["final_emb_1"].shape  # ids: (1, 77) int32  # doctest: +SKIP
    (1, 128)
    """

    def __init__(self, program: Program, mode: Mode, path: Path) -> None:
        self.program = program
        self.mode = mode
        self.path = path
        self._precision = MODES[mode]
        self._checked: set[tuple[tuple[int, ...], ...]] = set()  # the shapes that flexible inputs had

    @classmethod
    def load(cls, path: Path, mode: Mode = "fp16", function: str = "main") -> MilModel:
        """Read and resolve one function of a package; an operation that is not known is an error here, with its name."""
        return cls(resolve(Package(path), MODES[mode], function), mode, path)

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer | None = None) -> dict[str, np.ndarray]:
        """Run once.

        inputs: as Core ML takes them. A picture is (H, W, 3) uint8 RGB, whatever the program's channel order; everything
        else has a declared shape, numbers of any width that fit. `observe` is called after every step with its results.
        Returns arrays of the caller's own; BundleError where an input or an index is wrong.
        """
        values = self._given(inputs)
        for step in self.program.steps:
            results = self._precision.compute(step, values)
            for (name, _), value in zip(step.outputs, results, strict=True):
                values[name] = value
            if observe is not None:
                observe(step, results)
            for name in step.frees:
                del values[name]
        return self._outputs(values)

    @torch.inference_mode()
    def record(self, inputs: Mapping[str, np.ndarray]) -> Recording:
        """Run once and keep every step's results.

        Takes the memory of all results together (`Recording.size_bytes`), where `run` frees each after its last use; for an
        image tower that is some hundred times its input. Raises UsageError if that is beyond `recording.MAX_RECORDED`.
        """
        values, count = self._given(inputs), 0
        for step in self.program.steps:
            results = self._precision.compute(step, values)
            count += sum(value.numel() for value in results)
            if count > MAX_RECORDED:
                raise UsageError(f"{self.path}: more than {MAX_RECORDED} values to record")
            values.update({name: value for (name, _), value in zip(step.outputs, results, strict=True)})
        return Recording(values)

    @torch.inference_mode()
    def rerun(
        self, recording: Recording, constants: Mapping[str, Tensor] | None = None, round_half: Collection[str] = ()
    ) -> dict[str, np.ndarray]:
        """The outputs of the recorded run with something changed, of which only the steps downstream are computed.

        constants: values in place of the program's, by the constants' names (`Step.sources`, `Program.constant_types`); the
        mode rounds them as it rounds the program's own. round_half: names of steps whose results are rounded to float16
        whatever the program declares; beyond its range they are infinite. Both may be empty: the recorded outputs.
        The results are those of a full run of a program with that change, to the last bit. Takes, beside the recording, at
        most the memory of a run. Raises UsageError for a name that is not there or a constant of another shape or kind.
        """
        change = Change(constants or {}, round_half)
        check_change(self.program, change)
        return self._outputs(rerun(self.program, self._precision, recording, change))

    def _given(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """The values that are there before the first step."""
        values = dict(self.program.constants)
        for interface in self.program.inputs:
            if interface.name not in inputs:
                raise BundleError(f"{self.path}: input {interface.name!r} is missing")
            given = _input_tensor(interface, inputs[interface.name], f"{self.path}: input {interface.name!r}")
            values[interface.name] = self._precision.kept(given, interface.type)
        self._check_shapes(values)
        return values

    def _check_shapes(self, values: Mapping[str, Tensor]) -> None:
        """What static shapes have had when the program was loaded: a check that they fit, and that memory is bounded."""
        if all(interface.flexible is None for interface in self.program.inputs):
            return
        shapes = {interface.name: tuple(values[interface.name].shape) for interface in self.program.inputs}
        if tuple(shapes.values()) not in self._checked:
            check_program(self.program, shapes)
            self._checked.add(tuple(shapes.values()))

    def _outputs(self, values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        return {out.name: np.array(values[out.name].numpy(), order="C") for out in self.program.outputs}


def _input_tensor(interface: Interface, value: np.ndarray, where: str) -> Tensor:
    """An input as a tensor of its own memory, as it is held."""
    if interface.color is not None:
        _, _, height, width = interface.type.shape
        if value.shape != (height, width, 3) or value.dtype != np.uint8:
            raise BundleError(f"{where} takes a {width} x {height} RGB picture")
        channels = value if interface.color == "RGB" else value[..., ::-1]
        return torch.from_numpy(np.array(channels.transpose(2, 0, 1)[None], np.float32, order="C"))
    if not interface.allows(value.shape):
        raise BundleError(f"{where} takes {interface.shapes}, not {list(value.shape)}")
    dtype = DTYPES[interface.type.dtype]
    if value.dtype.kind not in _TAKEN[kind(dtype.held)]:
        raise BundleError(f"{where} takes {dtype.name} values, not {value.dtype}")
    if kind(dtype.held) == "integer" and value.size:
        limits = np.iinfo(dtype.numpy)
        if value.min() < limits.min or value.max() > min(limits.max, MAX_SIZE):
            raise BundleError(f"{where} takes {dtype.name} values, not {value.min()} to {value.max()}")
    return torch.from_numpy(np.array(value, dtype.held_numpy, order="C"))
