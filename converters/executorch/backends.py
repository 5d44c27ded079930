"""The delegates that `--backend` chooses from, one row each. Nothing of them is imported before it is used.

XNNPACK has no kernels for much of what a tower is exported as, so it gets the rewritten graph (`passes`). Core ML and OpenVINO
have compilers that fuse attention and norms by themselves, and whose patterns the rewritten graph would not match.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement

from edgeclip.errors import MissingPackageError
from edgeclip.registry import Registry


@dataclass(frozen=True)
class Backend:
    """One delegate.

    identifier: its name in a `.pte` and in the runtime. schemes: None, all that are quantized in the graph for it, see
    `quantization`; else their names. partitioners: by scheme, in the order in which they are applied. rewritten: whether the
    graph passes are for it. requires: a package without which it cannot lower, and the extra that brings it.
    """

    name: str
    identifier: str
    schemes: tuple[str, ...] | None
    partitioners: Callable[[str], list[Any]]
    rewritten: bool = True
    requires: str | None = None
    extra: str | None = None

    def check_installed(self) -> None:
        """Raise MissingPackageError if it cannot lower here."""
        if self.requires is None:
            return
        needed = Requirement(self.requires)
        remedy = f'pip install "edgeclip[{self.extra}]"' if self.extra else f"pip install {needed.name}"
        try:
            installed = importlib.metadata.version(needed.name)
        except importlib.metadata.PackageNotFoundError:
            raise MissingPackageError(f"--backend {self.name}: package {needed.name} is not installed: {remedy}") from None
        if not needed.specifier.contains(installed, prereleases=True):
            wanted = f"{needed.name}{needed.specifier}"
            raise MissingPackageError(f"--backend {self.name}: needs {wanted}, {installed} is installed: {remedy}")


def _xnnpack(scheme: str) -> list[Any]:
    """One partitioner for float, static and dynamic int8, so that what is quantized does not end a delegate."""
    from converters.executorch.xnnpack_partitioner import xnnpack_partitioner

    return [xnnpack_partitioner()]


def _vulkan(scheme: str) -> list[Any]:
    """fp16: tensors are float32 outside and float16 on the GPU, constants are stored as float16."""
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    return [VulkanPartitioner({"force_fp16": scheme == "fp16"})]


def _coreml(scheme: str) -> list[Any]:
    """An ML Program inside the `.pte`, compiled on the device."""
    import coremltools as ct
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    precision = ct.precision.FLOAT16 if scheme == "fp16" else ct.precision.FLOAT32
    specs = CoreMLBackend.generate_compile_specs(compute_precision=precision, minimum_deployment_target=ct.target.iOS17)
    return [CoreMLPartitioner(compile_specs=specs)]


def _openvino(scheme: str) -> list[Any]:
    """A model compiled for CPUs by the version of OpenVINO that is installed, which alone can load it."""
    from executorch.exir.backend.backend_details import CompileSpec

    partitioner = _without_quantizer("executorch.backends.openvino", "partitioner").OpenvinoPartitioner
    return [partitioner([CompileSpec("device", b"CPU")])]


def _without_quantizer(package: str, module: str) -> Any:
    """Import a module of a package without running the package's `__init__`.

    That of ExecuTorch 1.4's OpenVINO backend imports its quantizer, and this nncf. Of nncf, releases for OpenVINO 2025 import
    `torch.ao.quantization.pt2e`, which torch 2.13 has no more, and later ones need OpenVINO 2026, of whose C API ExecuTorch's
    runtime knows nothing. To be removed when that `__init__` imports without nncf.
    """
    if package in sys.modules:
        return importlib.import_module(f"{package}.{module}")
    found = importlib.util.find_spec(package)
    assert found is not None
    sys.modules[package] = importlib.util.module_from_spec(found)
    try:
        return importlib.import_module(f"{package}.{module}")
    finally:
        del sys.modules[package]


BACKENDS: Registry[Backend] = Registry("backend for executorch")  # the default first
for _backend in (
    Backend("xnnpack", "XnnpackBackend", None, _xnnpack),
    Backend("vulkan", "VulkanBackend", ("fp32", "fp16"), _vulkan),
    Backend("coreml", "CoreMLBackend", ("fp32", "fp16"), _coreml, rewritten=False, requires="coremltools"),
    Backend(
        "openvino",
        "OpenvinoBackend",
        ("fp32",),
        _openvino,
        rewritten=False,
        requires="openvino>=2025.1,<2026",  # the C API that ExecuTorch 1.4 is built for; running with 2026 crashes
        extra="openvino",
    ),
):
    BACKENDS.add(_backend.name, _backend)
