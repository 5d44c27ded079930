"""What conversions were measured to take, and the constants that `edgeclip.needs` reckons with.

A row of `PEAKS` says: base_mb + 4 bytes x all parameters + per_parameter bytes x those of the tower is the peak of a process.
Both constants come from two conversions of `MEASURED` that differ in the tower's size:

    per_parameter = (difference of the peaks - 4 bytes x difference of all parameters) / difference of the tower's parameters

Measured with `OMP_NUM_THREADS=1 edgeclip convert MODEL --target T --scheme S --weights seeded:0 --json` (peak_rss_mb is in 2^20
bytes) on Linux x86-64. The first tower leaves some behind for the second one, so that a base is of conversions of both.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeclip.spec import TOWERS, Tower


@dataclass(frozen=True)
class Measured:
    """One conversion, with peak_rss_mb as `--json` has it."""

    model: str
    target: str
    scheme: str
    towers: tuple[Tower, ...]
    peak_rss_mb: float


@dataclass(frozen=True)
class Peak:
    """base_mb: in 10^6 bytes, without any weights. per_parameter: bytes. stored: bytes of the file per parameter, at most."""

    base_mb: float
    per_parameter: float
    stored: float


_BOTH = TOWERS
MEASURED = (
    Measured("tinyclip-vit-8m-16", "coreml", "fp16", _BOTH, 1257.5),
    Measured("tinyclip-vit-8m-16", "coreml", "fp16", ("image",), 837.9),
    Measured("tinyclip-vit-8m-16", "coreml", "fp16", ("text",), 1175.1),
    Measured("mobileclip-s0", "coreml", "fp16", _BOTH, 1937.9),
    Measured("mobileclip-s0", "coreml", "fp16", ("text",), 1804.4),
    Measured("mobileclip-s0", "coreml", "w8", ("text",), 1796.4),
    Measured("tinyclip-vit-8m-16", "executorch", "fp32", _BOTH, 1071.9),
    Measured("tinyclip-vit-8m-16", "executorch", "fp32", ("image",), 809.1),
    Measured("tinyclip-vit-8m-16", "executorch", "fp32", ("text",), 896.5),
    Measured("mobileclip-s0", "executorch", "fp32", _BOTH, 1480.9),
    Measured("mobileclip-s0", "executorch", "fp32", ("text",), 1333.7),
    Measured("mobileclip-s0", "executorch", "w8", ("text",), 1162.1),
)

# From the two conversions of both towers, of which the text tower is the larger one: 15.2 and 42.4 million parameters.
# w8 from one conversion each, beside the float one of the same tower: as much with Core ML, which compresses the float16
# program, and with ExecuTorch less for each parameter by what it took less in all.
PEAKS: dict[tuple[str, str], Peak] = {
    ("coreml", "fp16"): Peak(900, 21.7, 2.1),
    ("coreml", "w8"): Peak(900, 21.7, 1.4),
    ("executorch", "fp32"): Peak(860, 11.3, 4.1),
    ("executorch", "w8"): Peak(860, 7.1, 1.4),
}

# What stands for targets and schemes that were not measured: they begin with the float program of one that was.
WORST = Peak(
    max(peak.base_mb for peak in PEAKS.values()),
    max(peak.per_parameter for peak in PEAKS.values()),
    max(peak.stored for peak in PEAKS.values()),
)
