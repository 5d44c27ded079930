"""`sim:NAME`: ExecuTorch artifacts in a booted iOS simulator, through `simctl spawn` and ExecuTorch's `executor_runner`.

A simulator is iOS's libraries on the Mac's own processor: it shows that an artifact loads and computes right, and its times are
the Mac's. Rows are labelled emulated. Core ML packages are not run: nothing that comes with Xcode or coremltools predicts in a
simulator from outside (coremltools' remote classes list what devicectl lists, and build for devices).

Written from simctl's help and tested against a stand-in for xcrun: not run on a Mac.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeclip.errors import InputError
from edgeclip.manifest import Artifact
from profiles.device import Request
from profiles.results import Device, Profile
from profiles.runners import executor_runner, xcode
from profiles.runners.phone_row import Finished, Launch, Order, Sample, chosen, measure_all

RUNNER_VARIABLE = "EDGECLIP_SIMULATOR_RUNNER"
DELEGATES = ("XnnpackBackend",)
_HELP_S = 60.0
_INPUT = "input-{}.bin"


@dataclass(frozen=True)
class _Spawned:
    """The runner in one simulator. A simulator's programs see the Mac's files."""

    simulator: xcode.Simulator
    runner: Path
    flags: frozenset[str]

    def launch(self, order: Order, model: Path, scratch: Path) -> Finished:
        """One run of the runner."""
        dump, output = scratch / "run.etdp", scratch / "output-0.bin"
        for left in (dump, output):
            left.unlink(missing_ok=True)
        words = executor_runner.arguments(
            self.flags,
            model=str(model.resolve()),
            method=order.artifact.method,
            executions=order.executions,
            threads=order.threads,
            given=str(scratch / _INPUT.format(order.number)),
            output=str(scratch / "output"),
            etdump=str(dump),
        )
        done = xcode.spawn(self.simulator, [str(self.runner), *words], order.within_s)
        text = f"{done.stdout.decode('utf-8', 'replace')}\n{done.stderr}"
        executor_runner.check_ending(done.status, text)
        for expected in (dump, output):
            if not expected.is_file():
                raise InputError(f"{self.runner}: did not write {expected.name}; it is no executor_runner with an event tracer")
        return Finished(done.status, text, dump, output.read_bytes())


class SimulatorDevice:
    """Measures in a simulator on this Mac."""

    def profile(self, request: Request) -> Profile:
        xcode.check_system()
        artifacts, not_run = chosen(request, "executorch", DELEGATES, "in a simulator")
        runner = executor_runner.find_runner(
            request.runner, RUNNER_VARIABLE, os.environ.get(RUNNER_VARIABLE), platform="simulator"
        ).resolve()
        simulator, system = xcode.choose_simulator(request.argument)
        asked = xcode.spawn(simulator, [str(runner), "--help"], _HELP_S)
        flags = executor_runner.known_flags(f"{asked.stdout.decode('utf-8', 'replace')}\n{asked.stderr}")
        executor_runner.check_flags(flags, runner, "simulator")
        spawned = _Spawned(simulator, runner, flags)
        with tempfile.TemporaryDirectory() as folder:

            def prepare(artifact: Artifact, samples: Sequence[Sample]) -> Launch:
                model = request.bundle.verified_path(artifact)
                for number, sample in enumerate(samples):
                    (Path(folder) / _INPUT.format(number)).write_bytes(sample.content)
                return lambda order: spawned.launch(order, model, Path(folder))

            rows, cosines = measure_all(request, artifacts, not_run, prepare, simulator.name)
        return Profile(
            device=Device(
                id=f"sim:{simulator.udid}",
                kind="measured",
                name=f"{simulator.name} (simulator on {platform.machine()})",
                emulated=True,
                details={
                    "os": system,
                    "host": f"{platform.system()} {platform.release()}",
                    "golden_cosine": cosines,
                    "event_tracer": "on",
                },
            ),
            rows=tuple(rows),
            not_run=not_run,
        )


DEVICE = SimulatorDevice()
