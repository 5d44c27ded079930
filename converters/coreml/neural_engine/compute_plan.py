"""Core ML's own plan, on macOS: where it would run each operation, and what that costs.

`coremltools.models.compute_plan.MLComputePlan` reads it from a compiled model (macOS 14.4 and later). Compiling is a check
of its own: a package that Core ML refuses is an error here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeclip.errors import BundleError
from edgeclip.plugins import RUNTIMES
from edgeclip.reference.coreml_runtime import reason, refused


@dataclass(frozen=True)
class Place:
    """Where Core ML would run an operation. cost: its share of the whole, 0 to 1, as Core ML estimates it.

    Units are "cpu", "gpu" and "ne".
    """

    preferred: str
    supported: tuple[str, ...]
    cost: float | None

    def as_json(self) -> dict[str, Any]:
        return {"preferred": self.preferred, "supported": list(self.supported), "cost": self.cost}


class PlanUnavailableError(Exception):
    """Core ML compiles the package, but gives no plan of it, as before macOS 14.4."""


def missing() -> str | None:
    """Why there is no Core ML here, in words, or None."""
    return RUNTIMES["coreml"].missing()


def compute_plan(path: Path) -> Mapping[str, Place]:
    """The place of every operation that Core ML tells one for, by each of its results' names.

    The GPU is left out: the question is what the Neural Engine takes. Raises BundleError if Core ML cannot compile the
    package, PlanUnavailableError if it gives no plan.
    """
    import coremltools as ct
    from coremltools.models.compute_plan import MLComputePlan
    from coremltools.models.utils import compile_model

    with tempfile.TemporaryDirectory() as folder:
        try:
            compiled = compile_model(str(path), str(Path(folder) / "model.mlmodelc"))
        except Exception as error:
            if not refused(error):
                raise
            raise BundleError(f"{path}: Core ML cannot compile it ({reason(error)})") from error
        try:
            plan = MLComputePlan.load_from_path(compiled, ct.ComputeUnit.CPU_AND_NE)
        except Exception as error:
            if not refused(error):
                raise
            raise PlanUnavailableError(reason(error)) from error
        return _places(plan)


def _places(plan: Any) -> dict[str, Place]:
    program = plan.model_structure.program
    function = None if program is None else program.functions.get("main")
    if function is None:
        raise PlanUnavailableError("the plan has no function 'main'")
    places = {}
    for operation in function.block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is None:  # constants
            continue
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        place = Place(
            preferred=_unit(usage.preferred_compute_device),
            supported=tuple(sorted({_unit(device) for device in usage.supported_compute_devices})),
            cost=None if cost is None else float(cost.weight),
        )
        places.update({output.name: place for output in operation.outputs})
    return places


def _unit(device: Any) -> str:
    from coremltools.models.compute_device import MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice

    units = {MLCPUComputeDevice: "cpu", MLGPUComputeDevice: "gpu", MLNeuralEngineComputeDevice: "ne"}
    return units.get(type(device), type(device).__name__)
