"""A stand-in for Core ML below coremltools: its native extension `libcoremlpython`, which exists on macOS only.

Everything above it (`MLModel`, `compile_model`, `MLComputePlan`, the device classes) stays coremltools' own, so that the
names, types and errors that tests see are the real ones. The extension's classes check their arguments as pybind11 does
(TypeError) and fail as the framework does (RuntimeError). Predictions come from the ML Program interpreter; compute plans
from a table that knows nothing of the lint's rules: what published plans show (WhisperKit's `*.mlcomputeplan.json`).
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeclip import plugins
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.proto import mil_pb2

_UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
_CPU_ONLY = frozenset({"gather", "gather_nd", "greater_equal", "reduce_argmax", "select", "stack"})
_FLOATS = ("FLOAT16", "FLOAT32")


@dataclass
class Framework:
    """How the Mac at hand behaves, and what was asked of it."""

    macos: tuple[int, int] = (15, 0)
    newest_specification: int = 9
    compile_error: str | None = None
    load_error: str | None = None
    predict_error: str | None = None
    plan_error: str | None = None
    loaded: list[tuple[str, str]] = field(default_factory=list)  # file name, compute units
    planned: list[str] = field(default_factory=list)  # compute units


def install(monkeypatch: pytest.MonkeyPatch, framework: Framework) -> Framework:
    """Make coremltools, and edgeclip, find a Core ML for the length of a test."""
    import coremltools  # noqa: F401 (its modules are patched)

    extension = _extension(framework)
    monkeypatch.setitem(sys.modules, "coremltools.libcoremlpython", extension)
    for name in ("model", "compute_plan", "compute_device", "utils"):
        module = importlib.import_module(f"coremltools.models.{name}")
        for attribute, value in vars(extension).items():
            if attribute.startswith("_ML") and hasattr(module, attribute):
                monkeypatch.setattr(module, attribute, value)
        for attribute, known in (("_is_macos", lambda: True), ("_macos_version", lambda: framework.macos)):
            if hasattr(module, attribute):
                monkeypatch.setattr(module, attribute, known)
    row = plugins.RUNTIMES["coreml"]
    monkeypatch.setitem(plugins.RUNTIMES._items, "coreml", replace(row, platform=None))
    return framework


def _check(kinds: tuple[type, ...], *given: Any) -> None:
    """As pybind11 refuses arguments."""
    if not all(isinstance(value, kind) for value, kind in zip(given, kinds, strict=True)):
        raise TypeError(f"incompatible function arguments: {[type(value).__name__ for value in given]}")


def _extension(framework: Framework) -> types.ModuleType:
    module: Any = types.ModuleType("coremltools.libcoremlpython")
    module._MLCPUComputeDeviceProxy = type("_MLCPUComputeDeviceProxy", (), {})
    module._MLGPUComputeDeviceProxy = type("_MLGPUComputeDeviceProxy", (), {})
    module._MLNeuralEngineComputeDeviceProxy = type("_MLNeuralEngineComputeDeviceProxy", (), {})
    module._MLComputePlanProxy = _MLComputePlanProxy
    module._MLModelAssetProxy = type("_MLModelAssetProxy", (), {})

    class _MLModelProxy:
        def __init__(self, path: str, units: str, function: str, hints: dict[str, str], asset: Any) -> None:
            _check((str, str, str, dict), path, units, function, hints)
            if units not in _UNITS:
                raise TypeError(f"no compute units {units}")
            if framework.load_error is not None:
                raise RuntimeError(framework.load_error)
            framework.loaded.append((Path(path).name, units))
            self._model = MilModel.load(Path(path), "fp16")
            self._compiled = path

        def predict(self, given: dict[str, Any], state: Any) -> dict[str, np.ndarray]:
            _check((dict,), given)
            if framework.predict_error is not None:
                raise RuntimeError(framework.predict_error)
            wanted = {interface.name: interface for interface in self._model.program.inputs}
            if missing := wanted.keys() - given.keys():
                raise RuntimeError(f"Feature {min(missing)} is required but not specified.")
            values = {}
            for name, value in given.items():
                shape = wanted[name].type.shape
                array = np.asarray(value)
                found = (1, array.shape[2], *array.shape[:2]) if wanted[name].color else array.shape
                if found != shape:
                    raise RuntimeError(f"Input {name} has shape {found}, the model description wants {shape}")
                values[name] = array
            return self._model.run(values)

        def get_compiled_model_path(self) -> str:
            return self._compiled

        @staticmethod
        def maximum_supported_specification_version() -> int:
            return framework.newest_specification

        @staticmethod
        def compileModel(path: str) -> str:  # noqa: N802 (the extension's name)
            _check((str,), path)
            if framework.compile_error is not None or not (Path(path) / "Manifest.json").is_file():
                raise RuntimeError(f'Error compiling model: "{framework.compile_error or "no such model"}".')
            target = Path(tempfile.mkdtemp()) / f"{Path(path).stem}.mlmodelc"
            target.mkdir()
            shutil.copytree(path, target / "source")
            (target / "metadata.json").write_text(json.dumps({"source": path}))
            return str(target)

        @staticmethod
        def get_compute_plan(path: str, units: str) -> Any:
            from coremltools.models.compute_plan import MLComputePlan

            _check((str, str), path, units)
            if framework.plan_error is not None:
                raise RuntimeError(framework.plan_error)
            if not path.endswith(".mlmodelc") or not (Path(path) / "metadata.json").is_file():
                raise RuntimeError(f"{path} is not a valid .mlmodelc file")
            framework.planned.append(units)
            return MLComputePlan(_MLComputePlanProxy(Package(Path(path) / "source"), module))

    module._MLModelProxy = _MLModelProxy
    return module


class _MLComputePlanProxy:
    """A plan of one package: constants have no place; everything else a preferred device and a cost."""

    def __init__(self, package: Package, extension: Any) -> None:
        from coremltools.models import compute_plan as api

        self._extension = extension
        function = package.model.mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        self._places = [_place(operation) for operation in block.operations]
        self._total = sum(place is not None for place in self._places)
        operations = [
            api.MLModelStructureProgramOperation(
                inputs={},
                operator_name=f"ios17.{operation.type}",
                outputs=[
                    api.MLModelStructureProgramNamedValueType(out.name, api.MLModelStructureProgramValueType())
                    for out in operation.outputs
                ],
                blocks=[],
                __proxy__=place,
            )
            for operation, place in zip(block.operations, self._places, strict=True)
        ]
        main = api.MLModelStructureProgramFunction([], api.MLModelStructureProgramBlock([], operations, list(block.outputs)))
        self.model_structure = api.MLModelStructure(None, api.MLModelStructureProgram({"main": main}), None)

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        from coremltools.models import compute_device, compute_plan

        _check((compute_plan.MLModelStructureProgramOperation,), operation)
        makers: dict[str, Callable[[], Any]] = {
            "cpu": lambda: compute_device.MLCPUComputeDevice(self._extension._MLCPUComputeDeviceProxy()),
            "ne": lambda: compute_device.MLNeuralEngineComputeDevice(self._extension._MLNeuralEngineComputeDeviceProxy()),
        }
        units = operation.__proxy__
        if units is None:
            return None
        return compute_plan.MLComputePlanDeviceUsage(makers[units[-1]](), [makers[unit]() for unit in units])

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        from coremltools.models import compute_plan

        _check((compute_plan.MLModelStructureProgramOperation,), operation)
        return None if operation.__proxy__ is None else compute_plan.MLComputePlanCost(1 / self._total)


def _place(operation: Any) -> tuple[str, ...] | None:
    """The units that can run an operation, the preferred one last."""
    if operation.type == "const" or operation.type.startswith("constexpr_"):
        return None
    dtype = mil_pb2().DataType.Name(operation.outputs[0].type.tensorType.dataType)
    return ("cpu",) if operation.type in _CPU_ONLY or dtype not in _FLOATS else ("cpu", "ne")
