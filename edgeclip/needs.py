"""What a conversion needs of memory and disk, estimated before anything heavy begins.

    peak memory = what the libraries take + the weights of the model + so many bytes for each parameter of the tower

The figures of `PEAKS` were measured; activations and graphs are in them. They tell what cannot work from what can, not to
the megabyte.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeclip.errors import ResourceError
from edgeclip.machine import available_memory
from edgeclip.manifest import Bundle
from edgeclip.peaks import PEAKS, WORST
from edgeclip.plugins import TARGETS
from edgeclip.recipe import TargetOptions
from edgeclip.spec import TOWERS, ModelSpec, Tower
from edgeclip.target import resolved

_LOADED = 4  # bytes of a parameter of the loaded model: float32
_OVERRIDE = "or begin all the same with --skip-resource-check"


@dataclass(frozen=True)
class Part:
    """One file to be made; both towers where it holds both."""

    target: str
    scheme: str
    towers: tuple[Tower, ...]

    def parameters(self, spec: ModelSpec) -> int:
        return _parameters(spec, self.towers)


def parts_of(spec: ModelSpec, targets: Sequence[TargetOptions], towers: Sequence[Tower]) -> list[Part]:
    """The files that a conversion makes."""
    parts = []
    for options in targets:
        target = TARGETS[options.target].load()
        for some in [tuple(towers)] if options.single_file else [(tower,) for tower in towers]:
            parts.append(Part(options.target, resolved(target, options, spec.name, "", some[0]).scheme, some))
    return parts


def _parameters(spec: ModelSpec, towers: Sequence[Tower]) -> int:
    counts = {"image": spec.image_params, "text": spec.text_params}
    return sum(counts[tower] for tower in towers)


def memory_bytes(spec: ModelSpec, part: Part) -> int:
    """Peak memory of a process that makes this file."""
    peak = PEAKS.get((part.target, part.scheme), WORST)
    return int(peak.base_mb * 1e6 + _LOADED * _parameters(spec, TOWERS) + peak.per_parameter * part.parameters(spec))


def disk_bytes(spec: ModelSpec, parts: Sequence[Part]) -> int:
    """What the files take."""
    return int(sum(PEAKS.get((part.target, part.scheme), WORST).stored * part.parameters(spec) for part in parts))


def check_side_by_side(needed: Sequence[int], jobs: int, free: int | None = None) -> None:
    """Stop before starting if so many of these conversions at a time (their peaks, in bytes) are too much together."""
    free = available_memory() if free is None else free
    largest = sorted(needed, reverse=True)[:jobs]
    if free is None or len(largest) < 2 or sum(largest) <= free:
        return
    most = max((count for count in range(1, len(largest)) if sum(largest[:count]) <= free), default=1)
    raise ResourceError(
        f"--jobs {jobs}: the {len(largest)} largest conversions need about {sum(largest) / 1e9:.1f} GB of memory together,"
        f" {free / 1e9:.1f} GB are free: use --jobs {most}, {_OVERRIDE}"
    )


def check_memory(spec: ModelSpec, parts: Sequence[Part], free: int | None = None) -> None:
    """Stop before starting if memory cannot hold it. `free`: bytes that can be had, by default what the machine has left."""
    free = available_memory() if free is None else free
    largest = max(parts, key=lambda part: memory_bytes(spec, part))
    needed = memory_bytes(spec, largest)
    if free is None or needed <= free:
        return
    fitting = [option for option, some in _choices(parts) if all(memory_bytes(spec, part) <= free for part in some)]
    fitting = fitting or [option for option, part in _singles(parts) if memory_bytes(spec, part) <= free]
    remedy = f"{' or '.join(fitting)} would fit" if fitting else "close other programs, or take a larger machine"
    towers = " and ".join(largest.towers)
    raise ResourceError(
        f"{spec.name} needs about {needed / 1e9:.1f} GB of memory for {largest.target} {largest.scheme} ({towers}),"
        f" {free / 1e9:.1f} GB are free: {remedy}, {_OVERRIDE}"
    )


def _choices(parts: Sequence[Part]) -> Iterator[tuple[str, list[Part]]]:
    """What of it can be asked for by itself, and how."""
    for target in dict.fromkeys(part.target for part in parts):
        yield f"--target {target} alone", [part for part in parts if part.target == target]
    for tower in TOWERS:
        if some := [part for part in parts if part.towers == (tower,)]:
            yield f"--tower {tower} alone", some


def _singles(parts: Sequence[Part]) -> Iterator[tuple[str, Part]]:
    """Each file by itself, and how it is asked for."""
    for part in parts:
        if len(part.towers) == 1:
            yield f"--target {part.target} --tower {part.towers[0]} alone", part


def check_disk(spec: ModelSpec, parts: Sequence[Part], out: Path, existing: Bundle | None = None) -> None:
    """Stop before starting if the disk cannot hold the new bundle, with what it takes over, or what is written on the way."""
    folder = next(parent for parent in out.resolve().parents if parent.exists())
    carried = 0 if existing is None else sum(artifact.size_bytes for artifact in existing.manifest.artifacts)
    bundle = disk_bytes(spec, parts) + carried
    passing = _LOADED * max(part.parameters(spec) for part in parts)
    temporary = Path(tempfile.gettempdir())
    if folder.stat().st_dev == temporary.stat().st_dev:
        bundle += passing
    for place, needed, remedy in ((folder, bundle, "use --out"), (temporary, passing, "set TMPDIR")):
        free = shutil.disk_usage(place).free
        if free < needed:
            raise ResourceError(
                f"{place}: needs up to {needed >> 20} MB on the disk, {free >> 20} MB are free; {remedy}, {_OVERRIDE}"
            )
