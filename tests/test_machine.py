"""What is left of memory, as different systems tell it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeclip.machine import available_memory

MEMINFO = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n"
MACHINE = 20_000_000 << 10
VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            400000.
Pages inactive:                          300000.
Pages speculative:                         5000.
Pages wired down:                        100000.
"""


def _system(root: Path, files: dict[str, str]) -> Path:
    for name, content in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def _v2(group: str, limit: str, usage: int, cache: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/{group}"
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{usage}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cache}\nactive_file 7\n",
    }


def _v1(group: str, limit: int, usage: int, cache: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/memory/{group}"
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{usage}\n",
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {cache}\n",
    }


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, MACHINE),
        ({"proc/self/cgroup": "0::/\n", **_v2("", "max", 9)}, MACHINE),
        ({"proc/self/cgroup": "0::/\n", **_v2("", "5000000000", 1_000_000_000, cache=300_000_000)}, 4_300_000_000),
        ({"proc/self/cgroup": "0::/a/b\n", **_v2("a/b", "max", 9), **_v2("a", "4000", 1000)}, 3000),
        ({"proc/self/cgroup": "0::/a/b\n", **_v2("a/b", "2000", 1500), **_v2("a", "4000", 1000)}, 500),
        ({"proc/self/cgroup": "0::/not/seen/inside\n", **_v2("", "4000", 1000)}, 3000),
        ({"proc/self/cgroup": "0::/\n", **_v2("", "1000", 1200)}, 0),
        ({"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n", **_v1("docker/1", 9000, 5000, 100)}, 4100),
        ({"proc/self/cgroup": "4:memory:/docker/1\n", **_v1("", 9000, 5000)}, 4000),
        ({"proc/self/cgroup": "4:memory:/\n", **_v1("", 9223372036854771712, 5000)}, MACHINE),
    ],
)
def test_the_least_of_the_machine_and_its_control_groups(tmp_path, files, left):
    assert available_memory(_system(tmp_path, files), "linux") == left


def test_a_mac_gives_back_what_is_not_in_use():
    from edgeclip.machine import _mac_available

    assert _mac_available(VM_STAT) == 315_000 * 16384
    assert _mac_available("") is None
    assert _mac_available(VM_STAT.replace("Pages inactive", "Pages idle")) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_this_machine_tells():
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    left = available_memory()
    assert left is not None
    assert 0 < left <= total
