"""The emulated runtime with a stand-in for the emulator, and for real where it is set up."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeclip import plugins
from edgeclip.cache import cache_folder
from edgeclip.errors import BundleError, MissingPackageError, NotRunnableError
from edgeclip.golden import read_golden
from edgeclip.manifest import Bundle
from edgeclip.plugins import RUNTIMES, TARGETS
from edgeclip.reference.executorch_runtime import RUNTIME as NATIVE
from edgeclip.reference.executorch_runtime import ExecuTorchRunner
from edgeclip.reference.qemu_arm64 import machine, place, runtime
from edgeclip.reference.qemu_arm64.machine import CPUS

USERS_CACHE = cache_folder()  # before `private_caches`
STAND_IN = Path(__file__).parents[1] / "support/stand_in_qemu.py"


def stand_in_set_up(folder: Path) -> Path:
    """A set-up whose wheels are the ones installed here."""
    import torch

    for name in ("guest/lib", "guest/usr"):
        (folder / name).mkdir(parents=True)
    (folder / "site").symlink_to(Path(torch.__file__).parents[1])
    return folder


@pytest.fixture
def emulated(tmp_path, monkeypatch):
    """The runtime with a set-up of this machine's own wheels and an emulator that emulates nothing."""
    root = tmp_path / "cache/qemu-arm64"
    monkeypatch.setenv("EDGECLIP_CACHE", str(root.parent))
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "seen.json"))
    monkeypatch.setattr(place, "unsuitable", lambda: None)
    stand_in_set_up(root)
    (root / place.READY).write_text(json.dumps(place.stamp()))
    monkeypatch.setattr(machine, "emulator", lambda host: [sys.executable, str(STAND_IN)])
    monkeypatch.setattr(runtime._Running, "workers", {})
    yield runtime.RUNTIME
    for worker in runtime._Running.workers.values():
        worker.close()


def executorch_artifact(bundle: Bundle, tower: str):
    return next(one for one in bundle.manifest.artifacts if one.target == "executorch" and one.tower == tower)


@pytest.mark.slow
def test_it_gives_what_the_same_kernels_give_natively(emulated, tiny_bundle, tmp_path):
    bundle = Bundle.open(tiny_bundle)
    golden = read_golden(bundle)
    for tower in ("image", "text"):
        artifact, given = executorch_artifact(bundle, tower), golden.inputs(tower)[:3]
        with emulated.open(bundle, artifact, "cortex-a53") as ours, NATIVE.open(bundle, artifact, "native") as theirs:
            np.testing.assert_array_equal(ours.encode(given), theirs.encode(given))
    (worker,) = runtime._Running.workers.values()  # one start serves all programs
    assert worker.alive
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["cpu"] == "cortex-a53"
    assert seen["python"] == str(place.folder() / "guest/usr/bin/python3.11")
    assert seen["links"] == ["lib", "usr"]
    assert seen["cpuinfo"].count("processor") == len(os.sched_getaffinity(0))
    assert "CPU part\t: 0xd03" in seen["cpuinfo"]


@pytest.mark.slow
def test_verify_has_a_row_of_it(emulated, tiny_bundle, cli):
    result = cli("verify", tiny_bundle, "--runtime", "qemu-arm64", "--mode", "armv9", "--json")
    assert result.status == 0
    rows = result.json["rows"]
    assert {(row["runtime"], row["mode"], row["target"], row["passed"]) for row in rows} == {
        ("qemu-arm64", "armv9", "executorch", True)
    }
    assert {row["samples"] for row in rows} == {24, 34}
    assert any("coreml" in label for label in result.json["skipped"])


@pytest.mark.slow
def test_a_damaged_program_harms_the_worker_only(emulated, tiny_bundle, tmp_path):
    damaged = tmp_path / "damaged.pte"
    content = bytearray((tiny_bundle / executorch_artifact(Bundle.open(tiny_bundle), "image").path).read_bytes())
    content[8:4096] = np.random.default_rng(0).bytes(4088)
    damaged.write_bytes(content)
    worker = runtime.worker_of("cortex-a76")
    with pytest.raises(BundleError, match=r"damaged\.pte: ExecuTorch cannot load it: "):
        ExecuTorchRunner(damaged, worker=worker)
    assert "XnnpackBackend" in runtime.delegates(runtime.worker_of("cortex-a76"))  # the same one, or a new one


@pytest.mark.slow
def test_an_emulator_that_crashes_at_work_is_said_and_replaced(emulated, tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    artifact = executorch_artifact(bundle, "text")
    given = read_golden(bundle).inputs("text")[:1]
    with emulated.open(bundle, artifact, "cortex-a76") as runner:
        first = runtime._Running.workers["cortex-a76"]
        first._process.send_signal(signal.SIGSEGV)
        with pytest.raises(BundleError, match="the runtime crashed with SIGSEGV"):
            runner.encode(given)
    with emulated.open(bundle, artifact, "cortex-a76") as runner:
        assert runner.encode(given).shape == (1, bundle.manifest.embedding.dim)
    assert runtime._Running.workers["cortex-a76"] is not first


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (["sh", "-c", "kill -SEGV $$"], "does not start here: the runtime crashed with SIGSEGV"),
        (["sh", "-c", "echo qemu: no such CPU >&2; exit 1"], "does not start here: the runtime ended with status 1: qemu: no"),
        (["sh", "-c", "echo garbage garbage garbage"], "does not start here: the runtime ended with status 0"),
    ],
)
def test_an_emulator_that_does_not_start_says_why(emulated, monkeypatch, program, says):
    monkeypatch.setattr(machine, "emulator", lambda host: program)
    with pytest.raises(NotRunnableError, match=says):
        runtime.delegates(runtime.worker_of("cortex-a76"))


def test_an_emulator_that_is_not_there_says_to_set_up_again(emulated, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "emulator", lambda host: [str(tmp_path / "none")])
    with pytest.raises(NotRunnableError, match="cannot be started"):
        runtime.worker_of("cortex-a76")


def test_the_machine_goes_with_its_worker(emulated):
    worker = runtime.worker_of("cortex-a76")
    folder = Path(worker._machine.name)
    assert (folder / "sys/devices/system/cpu/cpu0/regs/identification/midr_el1").read_text() == "0x00000000414fd0b1\n"
    worker.close()
    assert not folder.exists()


def test_nothing_of_this_system_reaches_the_emulated_python(monkeypatch):
    for name in ("LD_PRELOAD", "PYTHONPATH", "QEMU_LD_PREFIX"):
        monkeypatch.setenv(name, "/somewhere")
    assert not machine.environment().keys() & {"LD_PRELOAD", "PYTHONPATH", "QEMU_LD_PREFIX"}
    assert machine.environment()["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("name", CPUS)
def test_a_processor_says_the_same_of_itself_everywhere(name, tmp_path):
    (tmp_path / "root/lib").mkdir(parents=True)
    (tmp_path / "m").mkdir()
    machine.describe(tmp_path / "m", tmp_path / "root", CPUS[name], 3)
    lines = (tmp_path / "m/proc/cpuinfo").read_text().split("\n\n")[2].splitlines()
    fields = {key.strip(): value.strip() for key, value in (line.split(":") for line in lines)}
    register = int((tmp_path / "m/sys/devices/system/cpu/cpu2/regs/identification/midr_el1").read_text(), 16)
    stated = [int(fields[f"CPU {part}"], 0) for part in ("implementer", "variant", "part", "revision")]
    assert register == stated[0] << 24 | stated[1] << 20 | 0xF << 16 | stated[2] << 4 | stated[3]
    assert fields["processor"] == "2"
    assert (tmp_path / "m/sys/devices/system/cpu/possible").read_text() == "0-2\n"


def test_without_a_set_up_it_names_the_script(cli, tiny_bundle):
    plugin = RUNTIMES["qemu-arm64"]
    assert not plugin.available
    result = cli("verify", tiny_bundle, "--runtime", "qemu-arm64")
    assert result.status == 2
    assert result.error.startswith("edgeclip: qemu-arm64: ")
    if place.unsuitable() is None:
        assert "run `python scripts/setup_qemu_arm64.py`" in result.error
        assert Path(place.SCRIPT).name in {path.name for path in (Path(__file__).parents[2] / "scripts").iterdir()}


def test_a_set_up_of_another_version_is_none(emulated, tmp_path):
    assert RUNTIMES["qemu-arm64"].available
    (place.folder() / place.READY).write_text(json.dumps(place.stamp() | {"version": place.VERSION + 1}))
    assert not RUNTIMES["qemu-arm64"].available
    with pytest.raises(MissingPackageError, match="it is not set up"):
        runtime.worker_of("cortex-a76")


def test_it_is_used_on_request_only(emulated, monkeypatch):
    assert RUNTIMES["qemu-arm64"].available
    assert "qemu-arm64" in TARGETS["executorch"].load().runtimes
    assert not RUNTIMES["qemu-arm64"].offered()
    assert RUNTIMES["qemu-arm64"].offered("qemu-arm64")
    assert not RUNTIMES["qemu-arm64"].offered("mil")
    missing = replace(RUNTIMES["executorch"], requires=("no_such_package",))
    monkeypatch.setitem(plugins.RUNTIMES._items, "executorch", missing)
    assert [name for name in TARGETS["executorch"].load().runtimes if RUNTIMES[name].offered()] == []


@pytest.mark.parametrize(
    ("system", "machine_name", "says"),
    [("linux", "aarch64", "runtime executorch runs the same kernels"), ("darwin", "x86_64", "needs Linux on x86-64")],
)
def test_machines_that_cannot_or_need_not_emulate(monkeypatch, system, machine_name, says):
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine_name)
    assert says in RUNTIMES["qemu-arm64"].missing()


@pytest.mark.slow
@pytest.mark.parametrize("mode", CPUS)
def test_real_arm64_kernels_agree_with_the_original(mode, tiny_bundle, monkeypatch):
    """Takes a minute or more a mode, and 460 MB of downloads before: so only where somebody has set it up."""
    monkeypatch.setenv("EDGECLIP_CACHE", str(USERS_CACHE))
    if why := place.missing():
        pytest.skip(f"ARM64 is not emulated here: {why}")
    bundle = Bundle.open(tiny_bundle)
    golden = read_golden(bundle)
    for tower in ("image", "text"):
        with runtime.RUNTIME.open(bundle, executorch_artifact(bundle, tower), mode) as runner:
            found = runner.encode(golden.inputs(tower)[:4])
        np.testing.assert_allclose(found, golden.embeddings(tower)[:4], atol=1e-5)
