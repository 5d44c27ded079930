"""`xcrun devicectl` and `xcrun simctl`: which Apple devices and simulators there are, and whether they can be used.

Both print JSON on request: devicectl into a file (`--json-output`, the only form that Apple promises to keep), simctl on
stdout. Only what is needed is read: unknown fields are passed over.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from edgeclip.errors import DeviceError, NotRunnableError, UsageError
from profiles.runners.commands import Completed, call, explained, printable

_MISSING = "install Xcode and run `xcode-select --install`"
_QUICK_S = 60.0
_FAILURES = (
    (r"unable to find utility", "has no such tool: install Xcode, and choose it with `sudo xcode-select -s`"),
    (r"license", "waits for Xcode's licence: run `sudo xcodebuild -license accept`"),
    (r"device is locked|passcode", "says that the device is locked: unlock it"),
    (r"Developer Mode", "says that developer mode is off: turn it on (Settings, Privacy & Security)"),
    (r"not paired|pairing", "says that the device does not trust this Mac: connect it and accept the question"),
    (r"Unable to lookup in current state: Shutdown", "says that the simulator is shut down"),
)


class _DeviceProperties(Struct, rename="camel"):
    name: str = ""
    os_version_number: str = ""
    developer_mode_status: str = ""


class _HardwareProperties(Struct, rename="camel"):
    udid: str = ""
    device_type: str = ""
    product_type: str = ""
    marketing_name: str = ""


class _ConnectionProperties(Struct, rename="camel"):
    tunnel_state: str = ""
    pairing_state: str = ""


class AppleDevice(Struct, rename="camel"):
    """An iPhone or iPad as devicectl knows it."""

    identifier: str
    device_properties: _DeviceProperties = msgspec.field(default_factory=_DeviceProperties)
    hardware_properties: _HardwareProperties = msgspec.field(default_factory=_HardwareProperties)
    connection_properties: _ConnectionProperties = msgspec.field(default_factory=_ConnectionProperties)

    @property
    def udid(self) -> str:
        """What `ios:UDID` names; empty where devicectl does not know it (iOS 16 and before)."""
        return self.hardware_properties.udid


class _Info(Struct):
    outcome: str


class _Listed(Struct):
    devices: list[AppleDevice]


class _DeviceList(Struct):
    info: _Info
    result: _Listed


class Simulator(Struct, rename="camel"):
    """A simulator as simctl knows it."""

    udid: str
    name: str
    state: str
    is_available: bool = False


class _SimulatorList(Struct):
    devices: dict[str, list[Simulator]]


_Item = TypeVar("_Item", AppleDevice, Simulator)
_Answer = TypeVar("_Answer", _DeviceList, _SimulatorList)


def check_system() -> None:
    """The one place that asks whether this is a Mac; everything else here runs anywhere that has an `xcrun`."""
    if sys.platform != "darwin":
        raise NotRunnableError("iPhones and simulators are reached from a Mac only, through Xcode's tools")


def list_devices() -> list[AppleDevice]:
    """Devices that this Mac knows, near or not."""
    content = _devicectl(["list", "devices"])
    return _decoded(content, _DeviceList, "devicectl list devices").result.devices


def wake(device: AppleDevice) -> None:
    """Open the tunnel to a device, which devicectl does on the first question about it."""
    _devicectl(["device", "info", "details", "--device", device.identifier])


def uninstall(device: AppleDevice, application: str) -> None:
    """Remove an application."""
    _devicectl(["device", "uninstall", "app", "--device", device.identifier, application])


def choose_device(udid: str) -> AppleDevice:
    """The device that is asked for, or the only one, if it is connected, paired and in developer mode."""
    phones = [device for device in list_devices() if device.hardware_properties.device_type in ("iPhone", "iPad")]
    if udid:
        known = ", ".join(one.udid for one in phones if one.udid) or "none"
        phones = [one for one in phones if udid in (one.udid, one.identifier)]
        if not phones:
            raise DeviceError(f"ios:{udid}: devicectl knows no such device (iOS 17 or later); it knows: {printable(known)}")
    device = _one(phones, udid, "ios")
    _check_device(device)
    if device.connection_properties.tunnel_state != "connected":
        wake(device)
        device = next((one for one in list_devices() if one.identifier == device.identifier), device)
    if device.connection_properties.tunnel_state != "connected":
        state = printable(device.connection_properties.tunnel_state) or "unknown"
        raise DeviceError(f"ios:{device.udid}: not connected (tunnel is {state}): connect the cable and unlock the device")
    return device


def _check_device(device: AppleDevice) -> None:
    if device.connection_properties.pairing_state not in ("paired", ""):
        raise DeviceError(f"ios:{device.udid}: does not trust this Mac: connect it and accept the question")
    if device.connection_properties.tunnel_state == "unavailable":
        raise DeviceError(f"ios:{device.udid}: is out of reach: connect the cable and unlock it")
    if device.device_properties.developer_mode_status not in ("enabled", ""):
        raise DeviceError(f"ios:{device.udid}: developer mode is off: turn it on (Settings, Privacy & Security)")


def choose_simulator(name: str) -> tuple[Simulator, str]:
    """The simulator of that name or UDID, or the only one that is booted, and the identifier of its system."""
    done = _xcrun(["simctl", "list", "devices", "--json"], _QUICK_S)
    listed = _decoded(done.stdout, _SimulatorList, "simctl list devices").devices
    systems = {one.udid: system for system, group in listed.items() for one in group}
    usable = [one for group in listed.values() for one in group if one.is_available]
    booted = [one for one in usable if one.state == "Booted"]
    named = [one for one in usable if name in (one.name, one.udid)]
    if name and not any(one.state == "Booted" for one in named):
        if named:
            raise DeviceError(f'sim:{name}: is {named[0].state.lower()}: run `xcrun simctl boot "{named[0].name}"` first')
        known = ", ".join(sorted({one.name for one in usable})) or "none"
        raise UsageError(f"sim:{name}: there is no such simulator; there are: {printable(known)}")
    simulator = _one([one for one in booted if not name or one in named], name, "sim")
    return simulator, systems[simulator.udid].removeprefix("com.apple.CoreSimulator.SimRuntime.")


def spawn(simulator: Simulator, words: Sequence[str], within_s: float) -> Completed:
    """Run a program built for the simulator inside it; paths are those of this Mac. Its status is passed on."""
    return call(["xcrun", "simctl", "spawn", simulator.udid, *words], within_s=within_s, missing=_MISSING)


def _one(items: Sequence[_Item], asked: str, kind: str) -> _Item:
    """The only item, or an error that lists them."""
    if not items:
        raise DeviceError(f"{kind}:{asked}: there is none; connect or boot one" if asked else f"{kind}: there is none to use")
    if len(items) > 1:
        raise UsageError(f"{kind}: there are several, say which: {', '.join(f'{kind}:{one.udid}' for one in items)}")
    return items[0]


def _decoded(content: bytes, kind: type[_Answer], what: str) -> _Answer:
    try:
        found = msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DeviceError(f"{what} answered something that is not its JSON: {printable(str(error))}") from error
    if isinstance(found, _DeviceList) and found.info.outcome != "success":
        raise DeviceError(f"{what} ended with outcome {printable(found.info.outcome)!r}")
    return found


def _devicectl(words: Sequence[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        _xcrun(["devicectl", *words, "--timeout", "30", "--json-output", str(answer)], _QUICK_S)
        if not answer.is_file():
            raise DeviceError(f"devicectl {words[0]} {words[1]} wrote no answer; is Xcode 15 or later chosen?")
        return answer.read_bytes()


def _xcrun(words: Sequence[str], within_s: float) -> Completed:
    done = call(["xcrun", *words], within_s=within_s, missing=_MISSING)
    if done.status != 0:
        meaning = explained(f"{done.stderr}\n{done.stdout.decode('utf-8', 'replace')}", _FAILURES)
        raise DeviceError(f"xcrun {words[0]} {meaning or f'failed: {done.complaint}'}")
    return done
