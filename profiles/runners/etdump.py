"""ETDump: what ExecuTorch's event tracer recorded of loading a method and of each execution, read strictly.

The file is a flatbuffer; `flatc` and the schema come with the executorch package. `executorch.devtools` reads the same way, but
brings torch along (seconds) and takes a dump as it is. flatc runs as a process of its own, since a damaged file may crash it.

What the runtime writes (runtime/executor/program.cpp, method.cpp): a block "Default" with `Program::load_method`, and for each
`Method::execute` a block "Execute", which holds that event, one per instruction (`OPERATOR_CALL`, `DELEGATE_CALL`), the
kernel's own name, and what a delegate reports of its inside. Times are the platform layer's ticks: nanoseconds on POSIX.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from edgeclip.errors import DeviceError, MissingPackageError
from profiles.runners.commands import call

IDENTIFIER = b"ED00"
MOST_BYTES = 512 * 1024 * 1024
EXECUTE, LOAD = "Method::execute", "Program::load_method"
_CALLS = ("OPERATOR_CALL", "DELEGATE_CALL")
_FRAMES = (EXECUTE, LOAD, "Method::init", *_CALLS)
_NS_PER_MS = 1e6


class _ProfileEvent(Struct):
    start_time: int
    end_time: int
    name: str = ""


class _Event(Struct):
    profile_event: _ProfileEvent | None = None


class _Block(Struct):
    name: str
    events: list[_Event] = []


class _Dump(Struct):
    version: int
    run_data: list[_Block]


@dataclass(frozen=True)
class Trace:
    """Times of one run of the runner, in milliseconds. operators_ms: of one execution on average, by kind of operation."""

    load_ms: float
    iterations_ms: tuple[float, ...]
    operators_ms: dict[str, float]


def read_etdump(path: Path, executions: int) -> Trace:
    """Read a dump of one load and exactly so many executions; anything else in it is an error."""
    content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    if content[8:12] != IDENTIFIER:
        raise DeviceError("the ETDump that came back is none")
    if int.from_bytes(content[:4], "little") > len(content) - 4:
        raise DeviceError("the ETDump that came back is cut off")
    try:
        dump = msgspec.json.decode(_as_json(path), type=_Dump)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DeviceError(f"the ETDump that came back does not follow its schema: {error}") from error
    return _trace(dump, executions)


def _as_json(path: Path) -> bytes:
    package = importlib.util.find_spec("executorch")
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError("reading an ETDump needs the package executorch: pip install executorch")
    root = Path(package.submodule_search_locations[0])
    flatc, schema = root / "data" / "bin" / "flatc", root / "devtools" / "etdump" / "etdump_schema_flatcc.fbs"
    with tempfile.TemporaryDirectory() as folder:
        options = ["--size-prefixed", "--json", "--strict-json", "--defaults-json"]
        done = call(
            [str(flatc), *options, "-o", folder, str(schema), "--", str(path.resolve())],
            within_s=120,
            missing="pip install executorch",
        )
        written = Path(folder) / f"{path.stem}.json"
        if done.status != 0 or not written.is_file():
            raise DeviceError("the ETDump that came back is damaged")
        return written.read_bytes()


def _trace(dump: _Dump, executions: int) -> Trace:
    loads, runs = [], []
    for block in dump.run_data:
        events = [event.profile_event for event in block.events if event.profile_event is not None]
        if any(event.end_time < event.start_time for event in events):
            raise DeviceError("the ETDump that came back has an event that ends before it starts")
        loads += [event for event in events if event.name == LOAD]
        whole = [event for event in events if event.name == EXECUTE]
        if block.name == "Execute":
            runs.append((_only(whole, EXECUTE), events))
        elif whole:
            raise DeviceError("the ETDump that came back has an execution outside its block")
    if len(runs) != executions:
        raise DeviceError(f"the ETDump that came back holds {len(runs)} executions instead of {executions}")
    if any(later.start_time < earlier.end_time for (earlier, _), (later, _) in itertools.pairwise(runs)):
        raise DeviceError("the ETDump that came back has executions that overlap")
    totals: defaultdict[str, float] = defaultdict(float)
    for whole_run, events in runs:
        for name, spent in _operations(whole_run, events):
            totals[name] += spent / executions
    return Trace(_ms(_only(loads, LOAD)), tuple(_ms(run) for run, _ in runs), dict(totals))


def _operations(run: _ProfileEvent, events: Sequence[_ProfileEvent]) -> list[tuple[str, float]]:
    """Kinds of operations of one execution with their milliseconds.

    What a delegate tells of its inside stands for the call; one that tells nothing is counted as a whole.
    """
    if any(event.start_time < run.start_time or event.end_time > run.end_time for event in events if event.name in _CALLS):
        raise DeviceError("the ETDump that came back has a call outside its execution")
    inside = [event for event in events if event.name not in _FRAMES]
    silent = [
        call_event
        for call_event in events
        if call_event.name == "DELEGATE_CALL"
        and not any(call_event.start_time <= event.start_time <= call_event.end_time for event in inside)
    ]
    found = [(_kind(event.name), _ms(event)) for event in inside] + [("delegate", _ms(event)) for event in silent]
    if sum(spent for _, spent in found) > _ms(run) * 1.01:
        raise DeviceError("the ETDump that came back has operations that take longer than the execution they are part of")
    return found


def _kind(name: str) -> str:
    """`Convolution (NHWC, F32) IGEMM #12` and #13 are of one kind; kernels are recorded as `native_call_NAME`."""
    return re.sub(r" #\d+\Z", "", name).removeprefix("native_call_") or "unnamed"


def _only(events: Sequence[_ProfileEvent], name: str) -> _ProfileEvent:
    if len(events) != 1:
        raise DeviceError(f"the ETDump that came back has {len(events)} events {name} where there has to be one")
    return events[0]


def _ms(event: _ProfileEvent) -> float:
    return (event.end_time - event.start_time) / _NS_PER_MS
