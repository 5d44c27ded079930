"""`android:SERIAL`: ExecuTorch artifacts on a phone or emulator, through adb and ExecuTorch's own `executor_runner`.

The runner and one artifact at a time lie in a folder of their own on the device, which is removed whatever happens. Runs are
pinned to the fastest cores where `taskset` is allowed. What the device says of battery, heat and clocks before and after is in
`device.details`; where it speaks against the figures, every row says so in `noisy`.

Written from the documentation and sources named here and in `adb.py`, `android_state.py` and `executor_runner.py`, and tested
against a stand-in for adb: not run on a device.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgeclip.errors import DeviceError, InputError
from edgeclip.manifest import Artifact
from profiles.device import Request
from profiles.results import Device, Profile
from profiles.runners import adb, android_state, executor_runner
from profiles.runners.adb import Session
from profiles.runners.android_state import Condition, Core
from profiles.runners.commands import printable
from profiles.runners.phone_row import Finished, Launch, Order, Sample, chosen, measure_all, toybox_peak_mb

RUNNER_VARIABLE = "EDGECLIP_ANDROID_RUNNER"
DELEGATES = ("XnnpackBackend", "VulkanBackend")  # those of our backends that exist on Android
_MACHINES = {183: "arm64-v8a", 62: "x86_64"}  # e_machine of an ELF file (System V ABI), Android's name
_SPARE_BYTES = 64 * 1024 * 1024  # for logs, outputs and the ETDump
_COUNTED = "toybox time -v"  # prints the peak of resident memory, where toybox is of 2020 or later
# Names in our folder on the device.
_RUNNER, _MODEL, _INPUT, _OUTPUT, _ETDUMP = "executor_runner", "model.pte", "input-{}.bin", "output", "run.etdp"
_AFTER = "edgeclip: the runner has ended"


@dataclass(frozen=True)
class _Phone:
    """What does not change while a session lasts."""

    session: Session
    flags: frozenset[str]
    cores: tuple[Core, ...]
    can_pin: bool
    counts_memory: bool

    def launch(self, order: Order, scratch: Path) -> Finished:
        """One run of the runner: one command, which also tells the hashes of what it left, and one copy back."""
        results = [_ETDUMP, f"{_OUTPUT}-0.bin"]
        script = (
            f"rm -f {shlex.join(results)}; {self._command(order)}; status=$?; echo {_AFTER}; "
            f"[ $status != 0 ] || sha256sum {shlex.join(results)}; exit $status"
        )
        answer = self.session.run(script, within_s=order.within_s)
        text, _, hashes = answer.output.decode("utf-8", "replace").rpartition(f"{_AFTER}\n")
        executor_runner.check_ending(answer.status, text)
        files = self.session.pull(self.session.sums(hashes, results), scratch)
        dump, output = (files[name] for name in results)
        return Finished(answer.status, text, dump, output.read_bytes(), toybox_peak_mb(text))

    def _command(self, order: Order) -> str:
        cores = self.pinned(order.threads)
        words = [
            *(_COUNTED.split() if self.counts_memory else ()),
            *(("taskset", android_state.mask(cores)) if cores else ()),
            f"{self.session.folder}/{_RUNNER}",  # whole, so that cleaning up finds it by the folder's name
            *executor_runner.arguments(
                self.flags,
                model=_MODEL,
                method=order.artifact.method,
                executions=order.executions,
                threads=order.threads,
                given=_INPUT.format(order.number),
                output=_OUTPUT,
                etdump=_ETDUMP,
            ),
        ]
        return shlex.join(words)

    def pinned(self, threads: int) -> tuple[int, ...]:
        """The cores that a run is held to; empty, it is not."""
        return android_state.fastest(self.cores, threads) if self.can_pin else ()


class AndroidDevice:
    """Measures on what adb reaches."""

    def profile(self, request: Request) -> Profile:
        artifacts, not_run = chosen(request, "executorch", DELEGATES, "on Android")
        runner = executor_runner.find_runner(
            request.runner, RUNNER_VARIABLE, os.environ.get(RUNNER_VARIABLE), platform="android"
        )
        machine = _machine(runner)
        serial = adb.choose(request.argument)
        paths = {artifact.path: request.bundle.verified_path(artifact) for artifact in artifacts}
        with Session(serial) as session, tempfile.TemporaryDirectory() as folder:
            properties = android_state.read_properties(session)
            _check_machine(machine, properties["ro.product.cpu.abilist"], runner, serial)
            _check_space(session, [runner, *paths.values()])
            phone = _prepare(session, runner)
            before = android_state.read_condition(session)

            def prepare(artifact: Artifact, samples: Sequence[Sample]) -> Launch:
                session.push([paths[artifact.path]], _MODEL)
                given = [Path(folder) / _INPUT.format(number) for number in range(len(samples))]
                for file, sample in zip(given, samples, strict=True):
                    file.write_bytes(sample.content)
                session.push(given)
                return lambda order: phone.launch(order, Path(folder))

            rows, cosines = measure_all(request, artifacts, not_run, prepare, f"android:{serial}")
            after = android_state.read_condition(session)
            cores = android_state.read_cores(session)
        noise = android_state.disturbances(before, after, cores)
        emulated = android_state.is_emulator(properties)
        details: dict[str, Any] = {
            **_described(properties, phone, (before, after), request.threads),
            "golden_cosine": cosines,
            **({"left_behind": session.left} if session.left else {}),
        }
        return Profile(
            device=Device(
                id=f"android:{serial}", kind="measured", name=_name(properties, emulated), emulated=emulated, details=details
            ),
            rows=tuple(msgspec.structs.replace(row, noisy=(*row.noisy, *noise)) for row in rows),
            not_run=not_run,
        )


def _machine(runner: Path) -> str:
    """Android's name of the processor that a program is built for."""
    with runner.open("rb") as file:
        head = file.read(20)
    machine = int.from_bytes(head[18:20], "little")
    if head[:4] != b"\x7fELF" or machine not in _MACHINES:
        raise InputError(f"{runner}: no program for Android; build it so: {executor_runner.build_step('android')}")
    return _MACHINES[machine]


def _check_machine(machine: str, supported: str, runner: Path, serial: str) -> None:
    if machine not in supported.split(","):
        raise InputError(f"{runner}: built for {machine}, but android:{serial} runs {supported}; build it for that")


def _check_space(session: Session, files: Sequence[Path]) -> None:
    """Artifacts are copied one at a time, so the largest counts."""
    runner, *artifacts = (file.stat().st_size for file in files)
    wanted, free = runner + max(artifacts) + _SPARE_BYTES, android_state.free_bytes(session)
    if free < wanted:
        raise DeviceError(
            f"android:{session.serial}: {free // 1_000_000} MB free in {adb.SCRATCH}, but {wanted // 1_000_000} MB are needed"
        )


def _prepare(session: Session, runner: Path) -> _Phone:
    """Copy the runner, and find out what it and the device can do."""
    session.push([runner], _RUNNER)
    asked = session.run(f"chmod 700 {_RUNNER} && {session.folder}/{_RUNNER} --help")
    if asked.status not in (0, 1):  # gflags ends with 1
        executor_runner.check_ending(asked.status, asked.text)
    flags = executor_runner.known_flags(asked.text)
    executor_runner.check_flags(flags, runner, "android")
    cores = android_state.read_cores(session)
    fast = android_state.fastest(cores, 1)
    tried = session.run(f"{_COUNTED} true; taskset {android_state.mask(fast) if fast else 'none'} echo can pin").text
    return _Phone(
        session=session,
        flags=flags,
        cores=cores,
        can_pin=bool(fast) and tried.endswith("can pin\n"),
        counts_memory=toybox_peak_mb(tried) is not None,
    )


def _name(properties: dict[str, str], emulated: bool) -> str:
    parts = [properties.get(f"ro.product.{part}", "") for part in ("manufacturer", "model")]
    return f"{printable(' '.join(filter(None, parts))) or 'Android device'}{' (emulator)' if emulated else ''}"


def _described(
    properties: dict[str, str], phone: _Phone, conditions: tuple[Condition, Condition], threads: Sequence[int]
) -> dict[str, Any]:
    soc = [properties.get(f"ro.soc.{part}", "") for part in ("manufacturer", "model")]
    return {
        "os": f"Android {properties.get('ro.build.version.release', '?')}",
        "processor": " ".join(part for part in soc if part) or properties.get("ro.hardware"),
        "abi": properties["ro.product.cpu.abilist"],
        "cores": [{"number": core.number, "most_khz": core.most_khz} for core in phone.cores],
        "governors": {str(core.number): core.governor for core in phone.cores},
        "pinned_to": {str(count): list(phone.pinned(count)) or None for count in threads},
        "before": conditions[0].as_details(),
        "after": conditions[1].as_details(),
        "event_tracer": "on",
    }


DEVICE = AndroidDevice()
