"""Running an ML Program with torch: a plain loop over resolved steps.

Modes, and what they claim:
  fp32  every operation in float32, whatever the program declares: shows that the graph is right.
  fp16  math in float32, every operation's result rounded to its declared type: shows what float16 storage between
        operations costs. Devices may keep more bits inside fused operations or fewer inside sums; neither is modelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from edgeclip.errors import BundleError
from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.program import resolve
from edgeclip.reference.mil.steps import Interface, Program, Step
from edgeclip.reference.mil.values import DTYPES, MAX_SIZE, TensorType, kind

Mode = Literal["fp32", "fp16"]
MODES: tuple[Mode, ...] = ("fp32", "fp16")
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

    @classmethod
    def load(cls, path: Path, mode: Mode = "fp16") -> MilModel:
        """Read and resolve a package; an operation that is not known is an error here, with its name."""
        return cls(resolve(Package(path), round_half=mode == "fp16"), mode, path)

    @torch.inference_mode()
    def run(self, inputs: Mapping[str, np.ndarray], observe: Observer | None = None) -> dict[str, np.ndarray]:
        """Run once.

        inputs: as Core ML takes them. A picture is (H, W, 3) uint8 RGB, whatever the program's channel order; everything
        else has the declared shape, numbers of any width that fit. `observe` is called after every step with its results.
        Returns arrays of the caller's own; BundleError where an input or an index is wrong.
        """
        values = dict(self.program.constants)
        for interface in self.program.inputs:
            if interface.name not in inputs:
                raise BundleError(f"{self.path}: input {interface.name!r} is missing")
            given = _input_tensor(interface, inputs[interface.name], f"{self.path}: input {interface.name!r}")
            values[interface.name] = self._kept(given, interface.type)
        for step in self.program.steps:
            results = step.run(values)
            if self.mode == "fp16":
                results = tuple(
                    [self._kept(value, declared) for (_, declared), value in zip(step.outputs, results, strict=True)]
                )
            for (name, _), value in zip(step.outputs, results, strict=True):
                values[name] = value
            if observe is not None:
                observe(step, results)
            for name in step.frees:
                del values[name]
        return {out.name: np.array(values[out.name].numpy(), order="C") for out in self.program.outputs}

    def _kept(self, value: Tensor, declared: TensorType) -> Tensor:
        """What the mode leaves of a value."""
        return value.half().float() if self.mode == "fp16" and declared.dtype == "FLOAT16" else value


def _input_tensor(interface: Interface, value: np.ndarray, where: str) -> Tensor:
    """An input as a tensor of its own memory, as it is held."""
    if interface.color is not None:
        _, _, height, width = interface.type.shape
        if value.shape != (height, width, 3) or value.dtype != np.uint8:
            raise BundleError(f"{where} takes a {width} x {height} RGB picture")
        channels = value if interface.color == "RGB" else value[..., ::-1]
        return torch.from_numpy(np.array(channels.transpose(2, 0, 1)[None], np.float32, order="C"))
    if value.shape != interface.type.shape:
        raise BundleError(f"{where} takes {list(interface.type.shape)}, not {list(value.shape)}")
    dtype = DTYPES[interface.type.dtype]
    if value.dtype.kind not in _TAKEN[kind(dtype.held)]:
        raise BundleError(f"{where} takes {dtype.name} values, not {value.dtype}")
    if kind(dtype.held) == "integer" and value.size:
        limits = np.iinfo(dtype.numpy)
        if value.min() < limits.min or value.max() > min(limits.max, MAX_SIZE):
            raise BundleError(f"{where} takes {dtype.name} values, not {value.min()} to {value.max()}")
    return torch.from_numpy(np.array(value, dtype.held_numpy, order="C"))
