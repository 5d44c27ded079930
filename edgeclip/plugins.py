"""Parts that are named here and imported on use, so that naming them loads no torch, coremltools or executorch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgeclip.errors import MissingPackageError
from edgeclip.registry import Registry


@dataclass(frozen=True)
class Plugin:
    """One part: `package.module:OBJECT`, and the packages it cannot do without.

    packages: as the package index calls those that decide what a part makes or measures, for the record of versions.
    """

    name: str
    where: str
    summary: str
    requires: tuple[str, ...] = ()
    platform: str | None = None  # `sys.platform` it exists on, if not all
    extra: str | None = None  # of edgeclip, which brings the packages
    made_for: str | None = None  # where the packages exist, in words, if not everywhere
    packages: tuple[str, ...] = ()
    missing_by: str | None = None  # `package.module:function` that says what else is missing; imports nothing heavy
    on_request: bool = False  # takes too long to be used unless it is asked for by name

    @property
    def available(self) -> bool:
        """Whether it could be loaded here."""
        return self.missing() is None

    def missing(self) -> str | None:
        """What is missing here, in words, or None."""
        if self.platform is not None and self.platform != sys.platform:
            return "it exists on macOS only" if self.platform == "darwin" else f"it exists on {self.platform} only"
        for package in self.requires:
            if importlib.util.find_spec(package) is None:
                wanted = f'"edgeclip[{self.extra}]"' if self.extra else package
                where = "" if self.made_for is None else f" ({self.made_for})"
                return f"package {package} is not installed: pip install {wanted}{where}"
        if self.missing_by is not None:
            found = _imported(self.missing_by)()
            return None if found is None else str(found)
        return None

    def offered(self, asked: str | None = None) -> bool:
        """Whether to use it: where one is asked for by name, whether it is that one; else whether it exists here."""
        if asked is not None:
            return asked == self.name  # what is missing is said by `load`
        return self.available and not self.on_request

    def load(self) -> Any:
        """Import the object, or say what to install."""
        if missing := self.missing():
            raise MissingPackageError(f"{self.name}: {missing}")
        return _imported(self.where)


def reasons(names: Iterable[str]) -> str:
    """What runtimes miss here, for the end of an error that nothing can be run; empty if they miss nothing."""
    found = {name: RUNTIMES[name].missing() for name in names if not RUNTIMES[name].on_request}
    return "".join(f"; {name}: {missing}" for name, missing in found.items() if missing is not None)


def _imported(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


TARGETS: Registry[Plugin] = Registry("target")
RUNTIMES: Registry[Plugin] = Registry("runtime")  # in the order in which `classify` prefers them
# What `profile --device` takes, without what follows its colon; a device with a file in `profiles/devices` needs no row.
DEVICES: Registry[Plugin] = Registry("device")
ENGINES: Registry[Plugin] = Registry("runtime")  # by runtime: how `profile` times it on this machine
OPERATIONS: Registry[Plugin] = Registry("operations")  # by target: lists what an artifact does, see `edgeclip.operations`
PLACEMENTS: Registry[Plugin] = Registry("placement")  # by target: which operations an accelerator would run
REPORTS: Registry[Plugin] = Registry("format")  # what `report --format` takes

_COREAI = ("coreai", "coreai_torch", "coreai_opt")
_COREAI_PACKAGES = ("coreai-core", "coreai-torch", "coreai-opt")
_COREAI_MADE_FOR = "for Python 3.11 and later on Linux x86-64 and on macOS 26 with Apple silicon"

for _plugin in (
    Plugin(
        "coreml",
        "converters.coreml.target:TARGET",
        "Core ML .mlpackage for iOS and macOS",
        ("coremltools",),
        packages=("coremltools",),
    ),
    Plugin(
        "executorch",
        "converters.executorch.target:TARGET",
        "ExecuTorch .pte for Android and iOS",
        ("executorch",),
        packages=("executorch", "openvino"),
    ),
    # What is in an artifact's manifest can be read anywhere; to convert and to look inside takes what its runtime takes.
    Plugin("coreai", "converters.coreai.target:TARGET", "Core AI .aimodel for iOS 27 and later", packages=_COREAI_PACKAGES),
):
    TARGETS.add(_plugin.name, _plugin)

for _plugin in (
    Plugin("executorch", "edgeclip.reference.executorch_runtime:RUNTIME", "the official ExecuTorch runtime", ("executorch",)),
    Plugin(
        "coreml",
        "edgeclip.reference.coreml_runtime:RUNTIME",
        "Core ML itself (MLModel.predict)",
        ("coremltools",),
        platform="darwin",
    ),
    Plugin("mil", "edgeclip.reference.mil.runtime:RUNTIME", "our ML Program interpreter, on any system", ("coremltools",)),
    Plugin(
        "coreai",
        "edgeclip.reference.coreai_runtime:RUNTIME",
        "Core AI's own runtime, on Linux its portable one",
        _COREAI,
        extra="coreai",
        made_for=_COREAI_MADE_FOR,
    ),
    Plugin("torch", "edgeclip.reference.torch_runtime:RUNTIME", "the original model in PyTorch", ("torch",)),
    Plugin(
        "qemu-arm64",
        "edgeclip.reference.qemu_arm64.runtime:RUNTIME",
        "ExecuTorch's ARM64 kernels, emulated",
        missing_by="edgeclip.reference.qemu_arm64.place:missing",
        on_request=True,
    ),
):
    RUNTIMES.add(_plugin.name, _plugin)

for _plugin in (
    Plugin("host", "profiles.runners.host:DEVICE", "this machine"),
    Plugin("android", "profiles.runners.android:DEVICE", "a phone or emulator, over adb", ("executorch",)),
    Plugin("ios", "profiles.runners.ios:DEVICE", "an iPhone or iPad, over Xcode's devicectl", ("coremltools",)),
    Plugin("host-model", "profiles.estimates.host_model:DEVICE", "this machine, estimated", ("executorch",)),
    Plugin("estimate", "profiles.estimates.phone:DEVICE", "a device that has a file, estimated", ("coremltools",)),
    Plugin("sim", "profiles.runners.ios_simulator:DEVICE", "an iOS simulator, over Xcode's simctl", ("executorch",)),
    Plugin(
        "qemu-arm64",
        "profiles.runners.qemu:DEVICE",
        "an emulated ARM64 processor: instructions, no times",
        missing_by="edgeclip.reference.qemu_arm64.place:missing",
    ),
):
    DEVICES.add(_plugin.name, _plugin)

for _plugin in (
    Plugin("executorch", "profiles.runners.host_engines:EXECUTORCH", "", packages=("executorch", "torch")),
    Plugin("coreml", "profiles.runners.host_engines:COREML", "", packages=("coremltools",)),
    Plugin("mil", "profiles.runners.host_engines:MIL", "", packages=("coremltools", "torch")),
    Plugin("coreai", "profiles.runners.host_coreai:ENGINE", "", packages=("coreai-core",)),
    Plugin("torch", "profiles.runners.host_engines:TORCH", "", packages=("torch",)),
):
    ENGINES.add(_plugin.name, _plugin)

# What `edgeclip profile` calls: bundle and options -> an outcome.
PROFILER = Plugin("profile", "profiles.session:profile", "times a bundle on a device and holds it against limits")

PLACEMENTS.add(
    "coreml",
    Plugin("coreml", "converters.coreml.neural_engine.placement:placement", "Apple's Neural Engine", ("coremltools",)),
)

for _plugin in (
    Plugin("coreml", "converters.coreml.operations:operations", "operations of an .mlpackage", ("coremltools",)),
    Plugin("executorch", "converters.executorch.operations:operations", "operations of a .pte", ("executorch",)),
    Plugin("coreai", "converters.coreai.operations:operations", "operations of an .aimodel", _COREAI, extra="coreai"),
):
    OPERATIONS.add(_plugin.name, _plugin)

for _plugin in (
    Plugin("html", "profiles.report.html:document", "one page with plots", ("jinja2", "matplotlib"), extra="report"),
    Plugin("markdown", "profiles.report.markdown:document", "tables for a pull request"),
):
    REPORTS.add(_plugin.name, _plugin)
