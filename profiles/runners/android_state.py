"""What an Android device says about itself: model, cores, battery, heat. Each parser refuses what it does not understand.

Where a value is not there (no cpufreq on an emulator, no thermal service before Android 10) it is None, never a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeclip.errors import DeviceError
from profiles.runners.adb import SCRATCH, Session

PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.hardware",
    "ro.build.version.release",
    "ro.build.version.sdk",
    "ro.product.cpu.abilist",
    "ro.kernel.qemu",
    "ro.boot.qemu",
)
_EMULATORS = ("ranchu", "goldfish", "cutf_cvm", "vsoc")  # ro.hardware of Google's emulators and of Cuttlefish
_CPUS = "/sys/devices/system/cpu"
_BETWEEN = "edgeclip: and heat"
# PowerManager.THERMAL_STATUS_*: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown.
THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
# BatteryManager.BATTERY_STATUS_*
_CHARGING = {1: None, 2: True, 3: False, 4: False, 5: False}


@dataclass(frozen=True)
class Core:
    """One processor core. Frequencies in kHz as cpufreq gives them: what it can do, and what it is allowed at the moment."""

    number: int
    most_khz: int | None
    allowed_khz: int | None
    governor: str | None


@dataclass(frozen=True)
class Condition:
    """What slows a phone down, at one moment."""

    battery_percent: int
    battery_celsius: float
    charging: bool | None
    powered: bool
    thermal_status: int | None

    def as_details(self) -> dict[str, Any]:
        """For the profile's `device.details`."""
        named = None if self.thermal_status is None else THERMAL[self.thermal_status]
        return {**asdict(self), "thermal_status": named}


def read_properties(session: Session) -> dict[str, str]:
    """System properties by name, empty ones left out."""
    script = f'for p in {" ".join(PROPERTIES)}; do echo "$p=$(getprop $p)"; done'
    return parse_properties(session.read(script))


def parse_properties(text: str) -> dict[str, str]:
    """One line `name=value` for each of `PROPERTIES`."""
    pairs = [line.partition("=") for line in text.splitlines()]
    if [name for name, _, _ in pairs] != list(PROPERTIES):
        raise DeviceError("the device's getprop does not answer what it was asked")
    found = {name: value.strip() for name, _, value in pairs if value.strip()}
    if "ro.product.cpu.abilist" not in found:
        raise DeviceError("the device does not say which programs it runs (ro.product.cpu.abilist is empty)")
    return found


def is_emulator(properties: Mapping[str, str]) -> bool:
    """Whether this is no phone but a program that shows one."""
    flagged = "1" in (properties.get("ro.kernel.qemu"), properties.get("ro.boot.qemu"))
    return flagged or properties.get("ro.hardware") in _EMULATORS


def read_cores(session: Session) -> tuple[Core, ...]:
    """The cores that are there."""
    values = " ".join(
        f"$(cat $c/cpufreq/{name} 2>/dev/null || echo -)"
        for name in ("cpuinfo_max_freq", "scaling_max_freq", "scaling_governor")
    )
    return parse_cores(session.read(f'for c in {_CPUS}/cpu[0-9]*; do echo "${{c##*/cpu}} {values}"; done'))


def parse_cores(text: str) -> tuple[Core, ...]:
    """One line `number most allowed governor` for each core, `-` for what is not there."""
    cores = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\d{1,3}) (\d{4,8}|-) (\d{4,8}|-) ([a-z_]{1,32}|-)", line)
        if match is None:
            raise DeviceError(f"the device describes a core as {line[:60]!r}")
        most, allowed, governor = (None if value == "-" else value for value in match.groups()[1:])
        cores.append(Core(int(match[1]), int(most) if most else None, int(allowed) if allowed else None, governor))
    if not cores or len({core.number for core in cores}) != len(cores):
        raise DeviceError("the device does not list its cores, each once")
    return tuple(sorted(cores, key=lambda core: core.number))


def fastest(cores: Sequence[Core], threads: int) -> tuple[int, ...]:
    """The cores to pin to: whole clusters of equal top frequency, the fastest first, until every thread has a core.

    Nothing where some frequency is unknown or all cores are alike, since there is then nothing to choose.

    >>> fastest([Core(0, 1_800_000, None, None), Core(1, 1_800_000, None, None), Core(2, 2_800_000, None, None)], 1)
    (2,)
    """
    speeds = sorted({core.most_khz for core in cores if core.most_khz is not None}, reverse=True)
    if len(speeds) < 2 or any(core.most_khz is None for core in cores):
        return ()
    chosen: list[int] = []
    for speed in speeds:
        chosen += [core.number for core in cores if core.most_khz == speed]
        if len(chosen) >= threads:
            break
    return tuple(sorted(chosen)) if len(chosen) < len(cores) else ()


def mask(numbers: Sequence[int]) -> str:
    """Cores as `taskset` takes them: hexadecimal, bit i for core i."""
    return f"{sum(1 << number for number in numbers):x}"


def read_condition(session: Session) -> Condition:
    """Battery and heat now."""
    battery, _, thermal = session.read(f"dumpsys battery; echo {_BETWEEN}; dumpsys thermalservice || true").partition(_BETWEEN)
    return parse_condition(battery, thermal)


def parse_condition(battery: str, thermal: str) -> Condition:
    """From `dumpsys battery`, and `dumpsys thermalservice`, which is empty or unknown before Android 10.

    The battery service prints level out of scale and tenths of a degree Celsius.
    """
    if "Current Battery Service state:" not in battery:
        raise DeviceError("dumpsys battery does not print the battery's state")
    level, scale = _integer(battery, "level"), _integer(battery, "scale")
    celsius = _integer(battery, "temperature") / 10
    status = _integer(battery, "status")
    if not 0 <= level <= scale or scale == 0 or not -40 <= celsius <= 120 or status not in _CHARGING:
        raise DeviceError("dumpsys battery prints values that no battery has")
    powered = re.findall(r"^  (?:AC|USB|Wireless|Dock) powered: (true|false)$", battery, re.MULTILINE)
    found = re.findall(r"^Thermal Status: (\d+)$", thermal, re.MULTILINE)
    if len(found) > 1 or any(int(one) >= len(THERMAL) for one in found):
        raise DeviceError("dumpsys thermalservice prints a status that does not exist")
    return Condition(
        battery_percent=round(100 * level / scale),
        battery_celsius=celsius,
        charging=_CHARGING[status],
        powered="true" in powered,
        thermal_status=int(found[0]) if found else None,
    )


def _integer(text: str, name: str) -> int:
    found = re.findall(rf"^  {name}: (-?\d{{1,9}})$", text, re.MULTILINE)
    if len(found) != 1:
        raise DeviceError(f"dumpsys battery does not print one {name}")
    return int(found[0])


def free_bytes(session: Session) -> int:
    """Free space where we write."""
    return parse_df(session.read(f"df -k {SCRATCH}"))


def parse_df(text: str) -> int:
    """Bytes available, from the table of `df -k`: a heading and one line, blocks of 1024 bytes."""
    lines = text.splitlines()
    match = re.fullmatch(r"\S+ +\d+ +\d+ +(\d{1,12}) +\d+% +/\S*", lines[-1]) if len(lines) == 2 else None
    if match is None or "1K-blocks" not in lines[0]:
        raise DeviceError(f"df -k {SCRATCH} does not print the table of one file system")
    return int(match[1]) * 1024


def disturbances(before: Condition, after: Condition, cores: Sequence[Core]) -> tuple[str, ...]:
    """Why figures of this device at this time are not to be relied on."""
    found = []
    for when, condition in (("before", before), ("after", after)):
        if condition.thermal_status:
            found.append(f"it was throttling {when} the run (thermal status {THERMAL[condition.thermal_status]})")
    if after.battery_celsius - before.battery_celsius >= 5:
        found.append(f"its battery warmed from {before.battery_celsius:.1f} to {after.battery_celsius:.1f} degrees C")
    if before.battery_percent < 15 and not before.powered:
        found.append(f"its battery was at {before.battery_percent} %, where phones save power")
    held = [core for core in cores if core.most_khz and core.allowed_khz and core.allowed_khz < core.most_khz]
    if held:
        found.append(f"cores {', '.join(str(core.number) for core in held)} were held below their top frequency")
    return tuple(found)
