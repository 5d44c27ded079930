"""What conversions were measured to take, and the constants that `edgeclip.needs` reckons with.

A row of `PEAKS` says: base_mb + 4 bytes x all parameters + per_parameter bytes x those of the tower is the peak of a process.
No line goes through all that was measured: a token table takes more than other weights, and the first tower leaves some behind
for the second one. The constants are round ones by which every row of `MEASURED` is estimated at 0.93 to 1.4 of what it took.

Measured on Linux x86-64 with one thread: `edgeclip convert MODEL --target T --scheme S --weights seeded:0 --json` (peak_rss_mb
is in 2^20 bytes); the largest model from safetensors in three files, mapped, a tower at a time.
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
    Measured("siglip-so400m-14-384", "coreml", "fp16", ("image",), 9055.8),
    Measured("siglip-so400m-14-384", "coreml", "fp16", ("text",), 9083.4),
    Measured("mobileclip-s0", "coreml", "w8", ("text",), 1796.4),
    Measured("siglip-so400m-14-384", "coreml", "w4", ("image",), 10950.4),
    Measured("siglip-so400m-14-384", "coreml", "w4", ("text",), 9943.8),
    Measured("tinyclip-vit-8m-16", "executorch", "fp32", _BOTH, 1071.9),
    Measured("tinyclip-vit-8m-16", "executorch", "fp32", ("image",), 809.1),
    Measured("tinyclip-vit-8m-16", "executorch", "fp32", ("text",), 896.5),
    Measured("mobileclip-s0", "executorch", "fp32", _BOTH, 1480.9),
    Measured("mobileclip-s0", "executorch", "fp32", ("text",), 1333.7),
    Measured("siglip-so400m-14-384", "executorch", "fp32", ("image",), 11816.8),
    Measured("siglip-so400m-14-384", "executorch", "fp32", ("text",), 11790.6),
    Measured("mobileclip-s0", "executorch", "w8", ("text",), 1162.1),
    Measured("tinyclip-vit-8m-16", "coreai", "fp16", _BOTH, 1078.8),
    Measured("mobileclip-s0", "coreai", "fp16", _BOTH, 1538.7),
    Measured("siglip-so400m-14-384", "coreai", "fp16", _BOTH, 10587.1),
    Measured("tinyclip-vit-8m-16", "coreai", "fp32", _BOTH, 897.6),
    Measured("mobileclip-s0", "coreai", "fp32", _BOTH, 1361.1),
    Measured("tinyclip-vit-8m-16", "coreai", "w8", _BOTH, 1148.4),
    Measured("mobileclip-s0", "coreai", "w8", _BOTH, 1627.6),
)

# Integers take as much with Core ML, which compresses the float16 program; with ExecuTorch w8 takes less for each parameter by
# what one tower took less than in fp32. Of Core AI, fp32 and w8 were measured on models of up to 100 M parameters only.
PEAKS: dict[tuple[str, str], Peak] = {
    ("coreml", "fp16"): Peak(950, 17.5, 2.1),
    ("coreml", "w8"): Peak(950, 17.5, 1.4),
    ("coreml", "w4"): Peak(950, 17.5, 0.8),
    ("executorch", "fp32"): Peak(700, 18.0, 4.1),
    ("executorch", "w8"): Peak(700, 13.8, 1.4),
    ("coreai", "fp32"): Peak(750, 14.0, 4.1),
    ("coreai", "fp16"): Peak(1000, 14.5, 2.1),
    ("coreai", "w8"): Peak(1000, 16.5, 1.5),
}

# What stands for targets and schemes that were not measured: they begin with the float program of one that was.
WORST = Peak(
    max(peak.base_mb for peak in PEAKS.values()),
    max(peak.per_parameter for peak in PEAKS.values()),
    max(peak.stored for peak in PEAKS.values()),
)
