"""The processors that are emulated, and the command that starts a program on one.

ExecuTorch picks its kernels by what the processor says of itself: features from the ELF auxiliary vector, which QEMU fills,
and the model from files below /proc and /sys, which QEMU 7.2 takes from the x86 machine (as of 8.2 it emulates /proc/cpuinfo).
So a folder for each run holds ARM's own forms of these files, beside links to the libraries: `qemu -L` looks there first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeclip.registry import Registry

_PROGRAMS = ("lib", "usr")
_CPUS = "sys/devices/system/cpu"


@dataclass(frozen=True)
class Cpu:
    """One kind of processor. qemu: what `-cpu` takes. midr: its main ID register, of Arm's reference manuals."""

    name: str
    qemu: str
    midr: int
    features: str
    summary: str


_ARMV8_0 = "fp asimd evtstrm crc32"
_ARMV8_2 = f"{_ARMV8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
CPUS: Registry[Cpu] = Registry("mode of qemu-arm64")  # the first is the default
for _cpu in (
    Cpu("cortex-a76", "cortex-a76", 0x414FD0B1, _ARMV8_2, "phones as of 2019: float16 and int8 dot products"),
    Cpu("cortex-a53", "cortex-a53", 0x410FD034, _ARMV8_0, "older and cheapest phones: neither of these"),
    # Without SME: with it, kernels of ExecuTorch 1.4.1 give wrong results in QEMU 7.2, float and int8 alike.
    Cpu("armv9", "max,sme=off", 0x410FD480, f"{_ARMV8_2} i8mm bf16 sve sve2", "phones as of 2022: int8 matrix products, SVE2"),
):
    CPUS.add(_cpu.name, _cpu)


def describe(folder: Path, guest: Path, cpu: Cpu, processors: int) -> None:
    """Fill an empty folder with what `-L` needs: the guest's libraries, and the machine's own description of itself."""
    for name in _PROGRAMS:
        (folder / name).symlink_to((guest / name).resolve())
    texts = {"proc/cpuinfo": "".join(_cpuinfo(cpu, index) for index in range(processors))}
    for name in ("possible", "present", "online"):
        texts[f"{_CPUS}/{name}"] = f"0-{processors - 1}\n" if processors > 1 else "0\n"
    for index in range(processors):
        texts[f"{_CPUS}/cpu{index}/regs/identification/midr_el1"] = f"0x{cpu.midr:016x}\n"
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "ascii")


def _cpuinfo(cpu: Cpu, index: int) -> str:
    """One processor as Linux on ARM64 shows it; the fields of the ID register are those of Arm's manual."""
    lines = (
        ("processor\t", index),
        ("BogoMIPS\t", "50.00"),
        ("Features\t", cpu.features),
        ("CPU implementer\t", f"0x{cpu.midr >> 24 & 0xFF:02x}"),
        ("CPU architecture", 8),
        ("CPU variant\t", f"0x{cpu.midr >> 20 & 0xF:x}"),
        ("CPU part\t", f"0x{cpu.midr >> 4 & 0xFFF:03x}"),
        ("CPU revision\t", cpu.midr & 0xF),
    )
    return "".join(f"{name}: {value}\n" for name, value in lines) + "\n"


def emulator(host: Path) -> list[str]:
    """QEMU, started by the loader and libraries that it was built with, whatever this system has."""
    folders = [host / "lib/x86_64-linux-gnu", host / "usr/lib/x86_64-linux-gnu"]
    loader = folders[0] / "ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", ":".join(map(str, folders)), str(host / "usr/bin/qemu-aarch64")]


def command(program: Sequence[str], machine: Path, cpu: Cpu) -> list[str]:
    """The command line that runs an emulator on a machine; what the emulated side runs follows it."""
    return [*program, "-L", str(machine), "-cpu", cpu.qemu]


def environment() -> dict[str, str]:
    """This process's, without what would lead the emulator or the emulated Python to files of this system."""
    foreign = ("LD_", "PYTHON", "QEMU_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
