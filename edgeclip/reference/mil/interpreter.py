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
from edgeclip.reference.mil.program import Interface, Program, Step, resolve

Mode = Literal["fp32", "fp16"]
MODES: tuple[Mode, ...] = ("fp32", "fp16")
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
        else has the declared shape. `observe` is called after every step with its results.
        """
        values = dict(self.program.constants)
        for interface in self.program.inputs:
            if interface.name not in inputs:
                raise BundleError(f"{self.path}: input {interface.name!r} is missing")
            values[interface.name] = _input_tensor(interface, inputs[interface.name], self.path)
        for step in self.program.steps:
            self._step(step, values, observe)
        return {out.name: values[out.name].numpy() for out in self.program.outputs}

    def _step(self, step: Step, values: dict[str, Tensor], observe: Observer | None) -> None:
        arguments = {
            name: values[source] if isinstance(source, str) else tuple(values[one] for one in source)
            for name, source in step.inputs.items()
        }
        try:
            result = step.run(**step.constants, **arguments)
        except (RuntimeError, IndexError, ValueError) as error:
            raise BundleError(f"{self.path}: {step.op} {step.name!r} cannot run ({error})") from error
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(step.outputs):
            raise BundleError(f"{self.path}: {step.op} {step.name!r} gives {len(results)} results")
        if self.mode == "fp16":
            results = tuple(
                value.half().float() if kind.dtype == "FLOAT16" else value
                for (_, kind), value in zip(step.outputs, results, strict=True)
            )
        for (name, kind), value in zip(step.outputs, results, strict=True):
            if tuple(value.shape) != kind.shape:
                raise BundleError(f"{self.path}: {step.op} {name!r} gives {list(value.shape)}, declared {list(kind.shape)}")
            values[name] = value
        if observe is not None:
            observe(step, results)
        for name in step.frees:
            del values[name]


def _input_tensor(interface: Interface, value: np.ndarray, path: Path) -> Tensor:
    if interface.color is not None:
        _, _, height, width = interface.type.shape
        if value.shape != (height, width, 3) or value.dtype != np.uint8:
            raise BundleError(f"{path}: input {interface.name!r} takes a {width} x {height} RGB picture")
        channels = {"RGB": (0, 1, 2), "BGR": (2, 1, 0)}.get(interface.color)
        if channels is None:
            raise BundleError(f"{path}: input {interface.name!r}: {interface.color} pictures are not supported")
        return torch.from_numpy(value[..., list(channels)].transpose(2, 0, 1)[None].astype(np.float32))
    if value.shape != interface.type.shape:
        raise BundleError(f"{path}: input {interface.name!r} takes {list(interface.type.shape)}, not {list(value.shape)}")
    wanted = np.int32 if interface.type.dtype.startswith(("INT", "UINT")) else np.float32
    return torch.from_numpy(np.ascontiguousarray(value, wanted))
