"""Counting instructions: the plugin, what is made of its output, and that no count becomes a time."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from edgeclip.cache import cache_folder
from edgeclip.errors import BundleError, InputError, MissingPackageError
from edgeclip.manifest import Bundle
from edgeclip.reference.qemu_arm64 import counting, machine, place, runtime
from edgeclip.reference.qemu_arm64.counting import CountingWorker
from profiles import session
from profiles.device import Request
from profiles.results import CountedProfile
from profiles.runners import qemu
from profiles.store import read_profile
from tests.profiles import phones
from tests.reference.test_qemu_arm64 import STAND_IN, stand_in_set_up

USERS_CACHE = cache_folder()  # before `private_caches`
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


class Counted(CountingWorker):
    """A worker whose counts are what a test says."""

    def __init__(self, path: Path) -> None:
        self._counts = path


@pytest.mark.parametrize(
    ("text", "counts"), [("", []), ("0 10\n1 25\n", [15]), ("0 10\n1 25\n0 30\n1 31\n", [15, 1]), ("0 5\n1 7\n", [2])]
)
def test_counts_are_differences_of_marks(tmp_path, text, counts):
    (tmp_path / "counts").write_text(text)
    assert Counted(tmp_path / "counts").counts() == counts


@pytest.mark.parametrize(
    "text",
    ["0 10\n", "1 10\n0 20\n", "0 10\n1 10\n", "0 10\n1 9\n", "0 10\n1 x\n", "0 10 11\n1 12\n", "\0\0", "0 1\n0 2\n1 3\n1 4\n"],
)
def test_garbled_counts_are_errors(tmp_path, text):
    (tmp_path / "counts").write_text(text)
    with pytest.raises((BundleError, ValueError), match="counting plugin"):
        Counted(tmp_path / "counts").counts()


def test_inferences_that_were_not_counted_are_an_error(tmp_path, monkeypatch):
    home = phones.make_home(tmp_path / "home", monkeypatch)
    manifest = phones.write_phone_bundle(tmp_path / "bundle", home, towers=("text",))
    monkeypatch.setattr(qemu, "open_runner", lambda *given: nullcontext(SimpleNamespace(encode=lambda batch: batch)))
    worker = SimpleNamespace(counts=lambda: [101, 100])
    with pytest.raises(BundleError, match=r"text\.pte: the counting plugin told of 2 inferences, not 3"):
        qemu._row(Request(bundle=Bundle.open(tmp_path / "bundle")), worker, manifest.artifacts[0], "cortex-a53")


@needs_compiler
def test_the_plugin_compiles_without_warnings(tmp_path, monkeypatch):
    strict = tmp_path / "strict"
    strict.write_text('#!/bin/sh\nexec cc -Wall -Wextra -Werror "$@"\n')
    strict.chmod(0o755)
    monkeypatch.setenv("CC", str(strict))
    content = counting.build(tmp_path).read_bytes()
    assert b"qemu_plugin_install" in content
    assert b"qemu_plugin_version" in content


def test_without_a_compiler_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(MissingPackageError, match="no-such-compiler is not installed: apt-get install gcc"):
        counting.build(tmp_path)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho stdint.h: no such file >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(MissingPackageError, match=r"count\.c: .*broken cannot compile it: stdint\.h: no such file"):
        counting.build(tmp_path)


def test_without_a_set_up_it_names_the_script(cli, tiny_bundle):
    result = cli("profile", tiny_bundle, "--device", "qemu-arm64")
    assert result.status == 2
    assert result.error.startswith("edgeclip: qemu-arm64: ")


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """A set-up that stands in for one, and a worker that counts 1000, 100, 102, 101 and so on."""
    root = tmp_path / "cache/qemu-arm64"
    monkeypatch.setenv("EDGECLIP_CACHE", str(root.parent))
    monkeypatch.setattr(place, "unsuitable", lambda: None)
    stand_in_set_up(root)
    (root / place.READY).write_text(json.dumps(place.stamp()))

    class Worker(runtime.EmulatedWorker):
        def __init__(self, mode):
            super().__init__(root, mode, [sys.executable, str(STAND_IN)], marked=True)

        def counts(self):
            return [1000, 100, 102, 101]

    monkeypatch.setattr(machine, "emulator", lambda host: [sys.executable, str(STAND_IN)])
    monkeypatch.setattr(qemu, "open_worker", Worker)


@pytest.mark.slow
def test_rows_have_instructions_and_no_time(ready, cli, tiny_bundle):
    result = cli("profile", tiny_bundle, "--device", "qemu-arm64:cortex-a53", "--json")
    assert result.status == 0
    profile = result.json
    assert profile["device"]["kind"] == "counted"
    assert profile["device"]["emulated"]
    assert [
        (row["tower"], row["cpu"], row["instructions"], row["instructions_range"], row["n"]) for row in profile["rows"]
    ] == [
        ("image", "cortex-a53", 101, [100, 102], 3),
        ("text", "cortex-a53", 101, [100, 102], 3),
    ]
    assert "_ms" not in result.out
    assert len(profile["not_run"]) == 2  # Core ML's
    assert json.loads(json.dumps(msgspec.convert(profile, CountedProfile).as_json())) == profile
    assert not (tiny_bundle / "profile/qemu-arm64-cortex-a53.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--budget-ms", "20"], "counts instructions: budgets, --baseline and --against are of milliseconds"),
        (["--threads", "2"], "--threads: --device qemu-arm64 counts on one thread"),
        (["--runtime", "mil"], "--runtime mil: --device qemu-arm64 runs qemu-arm64 only"),
    ],
)
def test_what_needs_a_time_is_refused(ready, cli, tiny_bundle, options, says):
    result = cli("profile", tiny_bundle, "--device", "qemu-arm64", *options)
    assert result.status == 2
    assert says in result.error


def test_an_unknown_processor_lists_the_known(ready, cli, tiny_bundle):
    result = cli("profile", tiny_bundle, "--device", "qemu-arm64:cortex-a35")
    assert result.status == 2
    assert "known: cortex-a76, cortex-a53, armv9" in result.error


def test_counts_are_no_baseline(tmp_path):
    path = tmp_path / "counts.json"
    device = {"id": "qemu-arm64:x", "kind": "counted", "name": "x"}
    path.write_text(json.dumps({"device": device, "rows": [], "schema": "edgeclip.profile/1"}))
    with pytest.raises(InputError, match="unknown kind 'counted'"):
        read_profile(path)


@pytest.mark.slow
@needs_compiler
def test_real_counts_are_the_same_again(tiny_bundle, monkeypatch):
    """Only where the emulation is set up."""
    monkeypatch.setenv("EDGECLIP_CACHE", str(USERS_CACHE))
    if why := place.missing():
        pytest.skip(f"ARM64 is not emulated here: {why}")
    found = [session.profile(tiny_bundle, "qemu-arm64").profile for _ in range(2)]
    for one, other in zip(found[0].rows, found[1].rows, strict=True):
        assert one.instructions > 1e6
        assert one.instructions_range[1] < 1.01 * one.instructions_range[0]
        assert one.instructions == pytest.approx(other.instructions, rel=0.01)
