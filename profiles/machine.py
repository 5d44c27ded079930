"""This machine: what figures are of, and what else it is doing while they are taken."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeclip.reference.worker import processors

_CPUFREQ = Path("/sys/devices/system/cpu/cpu0/cpufreq")


def cpu_name() -> str:
    """As the system names it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def cores() -> int:
    """Logical ones that this process may use."""
    return processors()


def load() -> tuple[float, float, float]:
    """Load averages over 1, 5 and 15 minutes."""
    one, five, fifteen = os.getloadavg()
    return round(one, 2), round(five, 2), round(fifteen, 2)


def system() -> str:
    """Operating system and architecture."""
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def governor() -> str | None:
    """How the system chooses the first core's clock; None where it does not say, as in most virtual machines."""
    try:
        return (_CPUFREQ / "scaling_governor").read_text("ascii").strip()
    except OSError:
        return None


def described() -> dict[str, Any]:
    """What decides how fast this machine is, and how busy it was before."""
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "release": platform.release(),
        "python": platform.python_version(),
        "governor": governor(),
        "load_average": load(),
    }


@dataclass(frozen=True)
class Ticks:
    """Processor time since the machine started, in seconds over all cores: spent, and taken away by the hypervisor."""

    at_s: float
    busy_s: float
    stolen_s: float


def ticks() -> Ticks | None:
    """What /proc/stat says (proc(5)); None on other systems."""
    try:
        names = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, kernel, _idle, _iowait, irq, softirq, steal = (int(name) / os.sysconf("SC_CLK_TCK") for name in names[1:9])
    return Ticks(time.monotonic(), user + nice + kernel + irq + softirq, steal)


@dataclass(frozen=True)
class Others:
    """What else ran, in cores: other processes, and other machines on the same hardware.

    The system counts in ticks of 10 ms, so that over a short time either can be a little below nothing.
    """

    processes: float
    machines: float


def others(before: Ticks | None, after: Ticks | None, own_s: float) -> Others | None:
    """Between two readings, of which `own_s` seconds of processor time were the measurement's own."""
    if before is None or after is None or after.at_s <= before.at_s:
        return None
    wall = after.at_s - before.at_s
    busy = (after.busy_s - before.busy_s - own_s) / wall
    return Others(busy, (after.stolen_s - before.stolen_s) / wall)
