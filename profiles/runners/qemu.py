"""`--device qemu-arm64[:CPU]`: how many instructions the ARM64 kernels execute, and never how long that takes.

An emulator's time says nothing about a phone. The count depends on the kernels that the emulated processor gets, not on this
machine; it is a count of instructions, of which a phone executes several at once or waits for one.
"""

from __future__ import annotations

import statistics

from edgeclip.errors import BundleError, NotRunnableError, UsageError
from edgeclip.golden import read_golden
from edgeclip.manifest import Artifact
from edgeclip.reference.qemu_arm64.counting import CountingWorker, open_runner, open_worker
from edgeclip.reference.qemu_arm64.machine import CPUS
from edgeclip.reference.qemu_arm64.parts import WHEELS
from profiles.device import Request
from profiles.results import CountedProfile, CountedRow, Device, described

RUNTIME = "qemu-arm64"
_TARGET = "executorch"
_RUNS = 3  # after one that allocates and packs


class QemuArm64:
    """An emulated ARM64 processor with one core."""

    def count(self, request: Request) -> CountedProfile:
        """A row for each ExecuTorch artifact."""
        cpu = CPUS[request.argument or next(iter(CPUS))]
        if request.runtimes and RUNTIME not in request.runtimes:
            raise UsageError(f"--runtime {', '.join(request.runtimes)}: --device qemu-arm64 runs {RUNTIME} only")
        if tuple(request.threads) != (1,):
            raise UsageError("--threads: --device qemu-arm64 counts on one thread")
        artifacts = request.bundle.manifest.artifacts
        rows, not_run = [], {one.label: "runs in no ARM64 Linux runtime" for one in artifacts if one.target != _TARGET}
        wanted = [one for one in artifacts if one.target == _TARGET]
        if not wanted:
            raise UsageError(f"{request.bundle.path}: has no ExecuTorch artifact for --device qemu-arm64")
        with request.progress("starting the emulated runtime"):
            worker = open_worker(cpu.name)
        try:
            for artifact in wanted:
                with request.progress(f"counting instructions of {artifact.label}"):
                    try:
                        rows.append(_row(request, worker, artifact, cpu.name))
                    except NotRunnableError as error:
                        not_run[artifact.label] = str(error)
        finally:
            worker.close()
        if not rows:
            raise NotRunnableError("; ".join(not_run.values()))
        return CountedProfile(
            device=Device(
                id=f"{RUNTIME}:{cpu.name}",
                kind="counted",
                name=f"{cpu.name}, one core, emulated by QEMU",
                emulated=True,
                details={"cpu": cpu.qemu, "summary": cpu.summary},
            ),
            rows=tuple(rows),
            not_run=not_run,
            tools={wheel.name: wheel.version for wheel in WHEELS if wheel.name in ("executorch", "torch")},
        )


def _row(request: Request, worker: CountingWorker, artifact: Artifact, cpu: str) -> CountedRow:
    given = read_golden(request.bundle).inputs(artifact.tower)[:1]
    with open_runner(worker, request.bundle, artifact) as runner:
        for _ in range(1 + _RUNS):
            runner.encode(given)
    counts = worker.counts()[-_RUNS:]
    if len(counts) < _RUNS:
        raise BundleError(f"{artifact.path}: the counting plugin told of {len(counts)} inferences, not {_RUNS}")
    return CountedRow(
        **described(artifact, request.bundle.manifest.model),
        runtime=RUNTIME,
        cpu=cpu,
        instructions=statistics.median_low(counts),
        instructions_range=(min(counts), max(counts)),
        n=len(counts),
    )


DEVICE = QemuArm64()
