"""Whatever arrives altered from a phone is an error. One run against the stand-in is recorded, and replayed with a change."""

from __future__ import annotations

import functools
import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edgeclip.errors import EdgeclipError
from edgeclip.manifest import Bundle
from profiles.device import Request
from profiles.runners import adb, android, executor_runner, phone_row
from profiles.runners.commands import Completed
from profiles.runners.etdump import read_etdump
from tests.profiles import phones
from tests.profiles.phones import SERIAL

GARBLED = 1000


@dataclass(frozen=True)
class Reply:
    """What one call of adb gave: what it printed, and the files that it wrote."""

    words: tuple[str, ...]
    done: Completed
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def read(self) -> bool:
        """Whether anything of it is used. What `push` and `pkill` print is not; of leaving, only whether it worked."""
        cleaning = "pkill" in self.words[-1] or "rm -rf" in self.words[-1]
        return "push" not in self.words and not cleaning


@dataclass(frozen=True)
class Recording:
    request: Request
    replies: tuple[Reply, ...]
    figures: object


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A run that went well."""
    folder = tmp_path_factory.mktemp("phone")
    with pytest.MonkeyPatch.context() as patch:
        home = phones.make_home(folder / "home", patch)
        phones.write_phone_bundle(folder / "bundle", home, towers=("image",))
        runner = phones.write_runner(folder / "executor_runner")
        request = Request(bundle=Bundle.open(folder / "bundle"), argument=SERIAL, runner=runner, most_s=0.03)
        replies: list[Reply] = []

        def recorded(words, **options):
            done = real(words, **options)
            target = Path(words[-1])
            files = {file.name: file.read_bytes() for file in target.iterdir()} if "pull" in words else {}
            replies.append(Reply(tuple(words), done, {name: files[name] for name in ("run.etdp", "output-0.bin") if files}))
            return done

        real = adb.call
        patch.setattr(adb, "call", recorded)
        patch.setattr(adb.secrets, "token_hex", lambda count: "0123456789ab")
        profile = android.DEVICE.profile(request)
    return Recording(request, tuple(replies), profile.rows)


@functools.cache
def _read_once(content: bytes, executions: int, folder: Path) -> object:
    path = folder / "once.etdp"
    path.write_bytes(content)
    return read_etdump(path, executions)


@pytest.fixture
def replayed(recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Reply], object]:
    """Replay the run with one reply exchanged; gives its rows."""
    monkeypatch.setattr(adb.secrets, "token_hex", lambda count: "0123456789ab")
    monkeypatch.setattr(phone_row, "read_etdump", lambda path, count: _read_once(path.read_bytes(), count, tmp_path))

    def replay(index: int, changed: Reply) -> object:
        left = list(recording.replies)
        left[index] = changed
        coming = iter(left)

        def call(words, **options):
            if "pkill" in words[-1] or "rm -rf" in words[-1]:
                return Completed(0, b"removed\n", "")
            reply = next(coming)
            assert reply.words[:4] == tuple(words[:4])[: len(reply.words[:4])] or "push" in words
            for name, content in reply.files.items():
                (Path(words[-1]) / name).write_bytes(content)
            return reply.done

        monkeypatch.setattr(adb, "call", call)
        return android.DEVICE.profile(recording.request).rows

    return replay


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content))]


def _flip(draw: random.Random, content: bytes) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]


def _other_digit(draw: random.Random, content: bytes) -> bytes:
    digits = [match.start() for match in re.finditer(rb"\d", content)]
    if not digits:
        return _flip(draw, content)
    place = draw.choice(digits)
    return content[:place] + str((int(content[place : place + 1]) + draw.randrange(1, 10)) % 10).encode() + content[place + 1 :]


def _without_line(draw: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[draw.randrange(len(lines))]
    return b"".join(lines)


def _line_twice(draw: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    return b"".join([*lines[: place + 1], *lines[place:]])


def _noise(draw: random.Random, content: bytes) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.randbytes(draw.randrange(1, 40)) + content[place:]


def _terminal(draw: random.Random, content: bytes) -> bytes:
    """As a terminal in between would have it."""
    return content.replace(b"\n", b"\r\n")


def _nothing(draw: random.Random, content: bytes) -> bytes:
    return b""


GARBLERS = (_cut, _flip, _other_digit, _without_line, _line_twice, _noise, _terminal, _nothing)


def _garbled(draw: random.Random, content: bytes) -> bytes:
    while True:
        changed = draw.choice(GARBLERS)(draw, content)
        if changed != content:
            return changed


def _garbled_reply(draw: random.Random, reply: Reply) -> Reply:
    if reply.files:
        name = draw.choice(sorted(reply.files))
        return replace(reply, files={**reply.files, name: _garbled(draw, reply.files[name])})
    return replace(reply, done=replace(reply.done, stdout=_garbled(draw, reply.done.stdout)))


def test_the_replay_itself_gives_the_figures(recording, replayed):
    assert replayed(0, recording.replies[0]) == recording.figures


def test_a_thousand_garbled_answers_are_a_thousand_errors(recording, replayed):
    places = [index for index, reply in enumerate(recording.replies) if reply.read and reply.words[1] != "devices"]
    assert len(places) > 15
    hit = set()
    for seed in range(GARBLED):
        draw = random.Random(seed)
        index = draw.choice(places)
        with pytest.raises(EdgeclipError) as caught:
            replayed(index, _garbled_reply(draw, recording.replies[index]))
        assert caught.value.exit_status == 2
        assert "\n" not in str(caught.value)
        hit.add(index)
    assert hit == set(places)


def test_a_garbled_list_of_devices_never_changes_the_figures(recording, replayed):
    """The list is plain text without a hash; all that is taken from it is which device to ask, and that one has to answer."""
    refused = 0
    for seed in range(100):
        try:
            rows = replayed(0, _garbled_reply(random.Random(seed), recording.replies[0]))
        except EdgeclipError:
            refused += 1
        else:
            assert rows == recording.figures
    assert refused > 50


def test_answers_in_the_wrong_order_are_errors(recording, replayed):
    whole = [index for index, reply in enumerate(recording.replies) if "exec-out" in reply.words and reply.read]
    for first, second in zip(whole[1:], whole, strict=False):
        if recording.replies[first].done != recording.replies[second].done:
            with pytest.raises(EdgeclipError):
                replayed(first, replace(recording.replies[first], done=recording.replies[second].done))


@pytest.fixture(scope="module")
def log_and_dump(recording: Recording) -> tuple[str, bytes, int]:
    """The log and the ETDump of the longest run, and how many executions they are of."""
    runs = [index for index, reply in enumerate(recording.replies) if "--num_executions" in reply.words[-1]]
    index = runs[-1]
    executions = int(re.search(r"--num_executions=(\d+)", recording.replies[index].words[-1])[1])
    return recording.replies[index].done.stdout.decode(), recording.replies[index + 1].files["run.etdp"], executions


def test_a_log_that_the_device_itself_garbled_gives_no_other_figure(log_and_dump, tmp_path):
    """With a right hash: the log is a witness only, and one that does not agree with the dump stops the run."""
    text, dump, executions = log_and_dump
    trace = _read_once(dump, executions, tmp_path)
    said = executor_runner.read_log(text, executions)
    executor_runner.check_agreement(said, trace)
    refused = 0
    for seed in range(GARBLED):
        changed = _garbled(random.Random(seed), text.encode()).decode("utf-8", "replace")
        try:
            log = executor_runner.read_log(changed, executions)
            executor_runner.check_agreement(log, trace)
        except EdgeclipError:
            refused += 1
        else:  # the change was in a line that nobody reads, or too small to matter
            assert log.total_ms == pytest.approx(said.total_ms, abs=1e-3)
            assert log.iterations_ms is None or log.iterations_ms == pytest.approx(said.iterations_ms, abs=1e-3 + 0.3)
    assert refused > GARBLED / 3


def test_a_dump_that_the_device_itself_garbled_is_an_error_or_the_same(log_and_dump, tmp_path):
    text, dump, executions = log_and_dump
    truth = _read_once(dump, executions, tmp_path)
    said = executor_runner.read_log(text, executions)
    file = tmp_path / "garbled.etdp"
    refused = 0
    for seed in range(120):
        file.write_bytes(_garbled(random.Random(seed), dump))
        try:
            trace = read_etdump(file, executions)
            executor_runner.check_agreement(said, trace)
        except EdgeclipError:
            refused += 1
        else:
            for found, right in zip(trace.iterations_ms, truth.iterations_ms, strict=True):
                assert abs(found - right) <= 0.02 * right + 0.2
    assert refused > 60


@pytest.mark.parametrize("content", [b"", b"x", b"\x04\x00\x00\x00\x00\x00\x00\x00ED00", hashlib.sha256(b"").digest() * 50])
def test_what_is_no_dump_at_all(content, tmp_path):
    file = tmp_path / "run.etdp"
    file.write_bytes(content)
    with pytest.raises(EdgeclipError, match="ETDump"):
        read_etdump(file, 3)


@pytest.mark.slow
def test_executorch_own_reader_sees_the_same(log_and_dump, tmp_path):
    """The package's reader, which brings torch along, on the same dump."""
    from executorch.devtools.etdump.serialize import deserialize_from_etdump_flatcc

    _, dump, executions = log_and_dump
    trace = _read_once(dump, executions, tmp_path)
    events = [event.profile_event for run in deserialize_from_etdump_flatcc(dump).run_data for event in run.events]
    spent = [(event.name, (event.end_time - event.start_time) / 1e6) for event in events]
    assert [ms for name, ms in spent if name == "Method::execute"] == list(trace.iterations_ms)
    assert [ms for name, ms in spent if name == "Program::load_method"] == [trace.load_ms]
    convolutions = [ms for name, ms in spent if name.startswith("Convolution")]
    assert sum(convolutions) / executions == pytest.approx(trace.operators_ms["Convolution (NHWC, F32) IGEMM"])
