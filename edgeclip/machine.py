"""What the machine has left: memory that a process can still take, and room on its disks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Where control groups are mounted, and the files that hold a group's limit and what it uses.
# v2: kernel documentation, "Control Group v2", memory.max and memory.current. v1: "Memory Resource Controller".
_CGROUPS = (
    ("sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory(root: Path = Path("/"), platform: str = sys.platform) -> int | None:
    """Bytes that can be taken without swapping; None where the system does not tell.

    The least of what the machine has and what each control group around this process still allows. `root` is where `proc` and
    `sys` are.
    """
    if platform == "darwin":
        return _mac_available(_vm_stat())
    found = [left for left in (_meminfo(root), *_allowed_by_groups(root)) if left is not None]
    return min(found) if found else _free_pages()


def _meminfo(root: Path) -> int | None:
    """`MemAvailable`: the kernel's own estimate of what can be had without swapping (proc_meminfo(5))."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    return None if match is None else int(match[1]) << 10


def _allowed_by_groups(root: Path) -> Iterator[int]:
    """What is left below the limit of each group that this process is in, from the innermost to the outermost.

    A container may see its own group as the root, whatever path the kernel tells: folders that do not exist are passed over.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for mount, controller, limit_file, usage_file, cache in _CGROUPS:
            if controller not in controllers.split(","):
                continue
            top = root / mount
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                if not folder.is_relative_to(top):
                    break
                limit, usage = _read(folder / limit_file).strip(), _read(folder / usage_file).strip()
                if not (limit.isdecimal() and usage.isdecimal()):  # "max", or no such file
                    continue
                # Pages of files that nobody uses are counted, but given back on demand, as Kubernetes has it.
                match = re.search(rf"^{cache} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
                yield max(0, int(limit) - int(usage) + (int(match[1]) if match else 0))


def _vm_stat() -> str:
    try:
        return subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _mac_available(answer: str) -> int | None:
    """From what `vm_stat` prints: pages that are free or whose content nobody has used of late."""
    size = re.search(r"page size of (\d+) bytes", answer)
    pages = [re.search(rf"^Pages {kind}:\s+(\d+)\.", answer, re.MULTILINE) for kind in ("free", "inactive", "speculative")]
    if size is None or None in pages:
        return None
    return int(size[1]) * sum(int(match[1]) for match in pages if match)


def _free_pages() -> int | None:
    """What sysconf(3) says, on other systems."""
    if {"SC_AVPHYS_PAGES", "SC_PAGE_SIZE"} <= getattr(os, "sysconf_names", {}).keys():
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _read(path: Path) -> str:
    """A file of the kernel's; nothing where it does not exist or is not for us."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
