"""ExecuTorch's `executor_runner`: how it is built, asked, and read. The same program on Android and in an iOS simulator.

It runs a method a number of times and says in its log how long that took; built with the event tracer it writes an ETDump as
well. Both are asked for, and figures are given only if they agree. The tracer costs a clock reading per operation, so what is
measured is a little more than an app without it sees.

Flags and messages: executorch, examples/portable/executor_runner/executor_runner.cpp. Releases differ in them (the log has a
line per iteration and the time of the load since 2026), so the flags that it knows are read from `--help`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeclip.errors import DeviceError, InputError, NotRunnableError, UsageError
from profiles.runners.commands import printable
from profiles.runners.etdump import Trace

NEEDED = ("model_path", "num_executions", "etdump_path", "cpu_threads", "inputs", "output_file")
# Newer releases print outputs unless told not to; older ones have another flag, which defaults to a summary.
_QUIET = {"print_output": "none"}

_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release -DEXECUTORCH_BUILD_EXECUTOR_RUNNER=ON -DEXECUTORCH_BUILD_XNNPACK=ON "
    "-DEXECUTORCH_BUILD_KERNELS_QUANTIZED=ON -DEXECUTORCH_BUILD_DEVTOOLS=ON -DEXECUTORCH_ENABLE_EVENT_TRACER=ON "
    "-DEXECUTORCH_ENABLE_LOGGING=ON -DEXECUTORCH_PAL_DEFAULT=posix"
)
_ANDROID = (
    "-DCMAKE_TOOLCHAIN_FILE=$ANDROID_NDK/build/cmake/android.toolchain.cmake -DANDROID_ABI=arm64-v8a -DANDROID_PLATFORM=26"
)
_SIMULATOR = "-G Xcode -DCMAKE_TOOLCHAIN_FILE=third-party/ios-cmake/ios.toolchain.cmake -DPLATFORM=SIMULATORARM64"


def build_step(platform: str) -> str:
    """How to build it in a checkout of executorch (release 1.4, with its submodules)."""
    options = {"android": f"{_ANDROID} {_OPTIONS}", "simulator": f"{_SIMULATOR} {_OPTIONS}"}[platform]
    return f"cmake -S . -B cmake-out {options} && cmake --build cmake-out --config Release --target executor_runner"


@dataclass(frozen=True)
class Log:
    """What the runner's log says, in milliseconds. iterations_ms, load_ms: None where this release does not say."""

    total_ms: float
    iterations_ms: tuple[float, ...] | None
    load_ms: float | None


# Endings of a process, as a shell tells them (128 + signal), Python (-signal), and toybox `time` (signal).
_ENDINGS = {
    4: "used an instruction that this processor does not have: build the runner for its architecture",
    6: "gave up",
    7: "read memory that is not there",
    9: "was killed by the system, most likely for want of memory: close apps, or take a smaller scheme",
    11: "crashed",
}
_REFUSED = {126: "may not be executed there", 127: "could not be started: is it built for this device?"}

# What the runtime says of an artifact that this runner was not built for.
_LACKS = (
    (r"Backend (\w+) is not registered", "the runner has no {0}; build it with that backend"),
    (r"Missing operator: (?:\[\d+\] )?([\w:.]+)", "the runner has no kernel {0}; build it with the library that has it"),
    (r"(?:kernel|Kernel) '?([\w:.]+)'? not found", "the runner has no kernel {0}; build it with the library that has it"),
)

_COUNTED = re.compile(r"(?:Real|System|User) time \(s\)|[A-Z][\w ]+(?: \(KiB\))?: \d+$")  # toybox `time -v`
_LINE = re.compile(r"([DIEF]) \d{2}:\d{2}:\d{2}\.\d{6} executorch:([^\s:]+):\d+\] (.*)")
_DONE = re.compile(r"Model executed successfully (\d+) time\(s\) in (\d+\.\d{6}) ms\.")
_ITERATION = re.compile(r"Iteration (\d+) of (\d+): (\d+\.\d{6}) ms")
_LOADED = re.compile(r"Model loaded in (\d+\.\d{6}) ms\.")


def find_runner(given: Path | None, variable: str, environment: str | None, platform: str) -> Path:
    """`--runner`, or what the environment variable names; else how to build one."""
    path = given or (Path(environment) if environment else None)
    if path is None:
        raise UsageError(
            f"no runner for this device: give ExecuTorch's executor_runner with --runner or {variable}; "
            f"in a checkout of executorch: {build_step(platform)}"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file; --runner takes ExecuTorch's executor_runner")
    return path


def known_flags(text: str) -> frozenset[str]:
    """The flags in what `--help` prints (gflags: `    -name (description) type: ...`)."""
    return frozenset(re.findall(r"^\s+-(\w+) \(", text, re.MULTILINE))


def check_flags(flags: frozenset[str], runner: Path, platform: str) -> None:
    """Refuse a runner that cannot do what is needed, with the build that can."""
    lacking = [name for name in NEEDED if name not in flags]
    if not flags:
        raise InputError(f"{runner}: does not print its flags; --runner takes ExecuTorch's executor_runner")
    if lacking:
        raise InputError(f"{runner}: has no --{lacking[0]}; build it so: {build_step(platform)}")


def arguments(
    flags: frozenset[str],
    *,
    model: str,
    method: str,
    executions: int,
    threads: int,
    given: str,
    output: str,
    etdump: str,
) -> list[str]:
    """The command line for one run. Paths are the device's; output: what `output`-0.bin becomes."""
    if method != "forward" and "method_name" not in flags:
        raise NotRunnableError(f"this runner cannot choose method {method}; a newer executor_runner has --method_name")
    chosen = {
        "model_path": model,
        "inputs": given,
        "output_file": output,
        "num_executions": str(executions),
        "cpu_threads": str(threads),
        "etdump_path": etdump,
        "method_name": method,
        **_QUIET,
    }
    return [f"--{name}={value}" for name, value in chosen.items() if name in flags]


def check_ending(status: int, text: str) -> None:
    """Raise what a run that failed means. NotRunnableError: of this artifact in this runner; DeviceError: of the device."""
    if status == 0:
        return
    complaints = [match[3] for match in map(_LINE.fullmatch, text.splitlines()) if match and match[1] in "EF"]
    others = [line for line in text.splitlines() if line.strip() and not _COUNTED.match(line) and not _LINE.fullmatch(line)]
    for pattern, meaning in _LACKS:
        if found := re.search(pattern, text):
            raise NotRunnableError(meaning.format(found[1]))
    if status in _REFUSED:
        raise DeviceError(f"executor_runner {_REFUSED[status]} ({_last(text)})")
    ending = _ENDINGS.get(status - 128 if status > 128 else abs(status), f"ended with status {status}")
    said = [*others[-1:], *complaints[-1:]]
    raise DeviceError(f"executor_runner {ending}{f': {printable(said[-1])}' if said else ''}")


def read_log(text: str, executions: int) -> Log:
    """Read the log of a run that has succeeded. Every line that counts is there exactly as often as it has to be."""
    messages = [match[3] for match in map(_LINE.fullmatch, text.splitlines()) if match and match[2] == "executor_runner.cpp"]
    done = [match for match in map(_DONE.fullmatch, messages) if match]
    if len(done) != 1:
        raise DeviceError(
            "executor_runner did not say once how long it took; it has to be built with EXECUTORCH_ENABLE_LOGGING=ON "
            f"and EXECUTORCH_PAL_DEFAULT=posix (it said: {_last(text)})"
        )
    if int(done[0][1]) != executions:
        raise DeviceError(f"executor_runner ran {done[0][1]} times instead of {executions}")
    steps = [match for match in map(_ITERATION.fullmatch, messages) if match]
    counted = [(int(match[1]), int(match[2])) for match in steps]
    if steps and counted != [(number, executions) for number in range(1, executions + 1)]:
        raise DeviceError(f"executor_runner's log does not have its {executions} iterations, each once and in order")
    loaded = [match for match in map(_LOADED.fullmatch, messages) if match]
    if len(loaded) > 1:
        raise DeviceError("executor_runner says more than once how long loading took")
    return Log(
        total_ms=plausible_ms(float(done[0][2])),
        iterations_ms=tuple(plausible_ms(float(match[3])) for match in steps) or None,
        load_ms=plausible_ms(float(loaded[0][1])) if loaded else None,
    )


def plausible_ms(value: float) -> float:
    """A time that something can have taken: more than nothing, less than an hour."""
    if not math.isfinite(value) or not 0 < value < 3_600_000:
        raise DeviceError(f"a time of {value:g} ms is not possible")
    return value


def check_agreement(log: Log, trace: Trace) -> None:
    """The log and the dump are two clocks around the same executions, the log's outside: it is never less, and little more."""
    for value in trace.iterations_ms:
        plausible_ms(value)
    plausible_ms(trace.load_ms)
    _check_pair(log.total_ms, sum(trace.iterations_ms), len(trace.iterations_ms), "all executions")
    if log.load_ms is not None and trace.load_ms > log.load_ms + 1e-3:
        raise DeviceError("executor_runner's log and its ETDump disagree on the time to load")
    if log.iterations_ms is not None:
        for number, (said, traced) in enumerate(zip(log.iterations_ms, trace.iterations_ms, strict=True), start=1):
            _check_pair(said, traced, 1, f"execution {number}")
        _check_sum(log.total_ms, log.iterations_ms)


def _check_pair(said: float, traced: float, executions: int, what: str) -> None:
    slack = 0.02 * traced + 0.2 * executions
    if not traced - 1e-3 * executions <= said <= traced + slack:
        raise DeviceError(f"executor_runner's log and its ETDump disagree on {what}: {said:.3f} and {traced:.3f} ms")


def _check_sum(total: float, parts: Sequence[float]) -> None:
    if abs(total - math.fsum(parts)) > 1e-6 * (len(parts) + 1):
        raise DeviceError("executor_runner's log does not add up: its iterations and their total differ")


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return printable(lines[-1])[:120] if lines else "nothing"
