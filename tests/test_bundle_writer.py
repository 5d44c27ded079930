"""However writing ends, what reads as a bundle is whole."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeclip import bundle_writer
from edgeclip.bundle_writer import BundleWriter
from edgeclip.errors import BundleError, EdgeclipError, InputError, UsageError
from edgeclip.manifest import MANIFEST_FILE, Bundle
from tests.support.bundles import FILES, write_small_bundle

ROOT = Path(__file__).parent.parent


def _check_whole(path: Path) -> str:
    """All files of a bundle are there with the right content; returns which round wrote it."""
    bundle = Bundle.open(path)
    for entry in bundle.manifest.files:
        bundle.verified_path(entry)
    assert len(bundle.manifest.files) == FILES
    return bundle.manifest.embedding.space_id


def _readable(folder: Path) -> list[Path]:
    found = []
    for path in folder.iterdir():
        try:
            Bundle.open(path)
        except BundleError:
            continue
        found.append(path)
    return found


def test_a_bundle_is_written_and_replaced(tmp_path):
    out = tmp_path / "deep" / "er" / "bundle"
    write_small_bundle(out, "first")
    assert _check_whole(out) == "first"
    write_small_bundle(out, "second")
    assert _check_whole(out) == "second"
    assert list(out.parent.iterdir()) == [out]


def test_an_error_on_the_way_leaves_the_old_bundle(tmp_path):
    out = tmp_path / "bundle"
    write_small_bundle(out, "first")

    def break_off() -> None:
        with BundleWriter(out) as writer:
            (writer.folder / "half").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert _check_whole(out) == "first"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_killed_at_any_moment_no_half_bundle_remains(tmp_path):
    out = tmp_path / "bundle"
    rng = random.Random(0)
    rounds = set()
    for _ in range(20):
        code = f"from tests.support.bundles import write_forever; from pathlib import Path; write_forever(Path({str(out)!r}))"
        child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        child.kill()
        child.wait()
        child.stdout.close()
        rounds.add(_check_whole(out))
        assert _readable(tmp_path) == [out]
    assert len(rounds) > 3
    write_small_bundle(out, "last")
    assert list(tmp_path.iterdir()) == [out], "what killed writers left is removed by the next one"


def test_a_folder_of_a_running_writer_is_left_alone(tmp_path):
    running = tmp_path / f".bundle.partial-{os.getppid()}"
    dead = tmp_path / ".bundle.partial-999999999"
    other = tmp_path / ".other.partial-999999999"
    for folder in (running, dead, other):
        folder.mkdir()
    write_small_bundle(tmp_path / "bundle", "x")
    assert running.exists()
    assert not dead.exists()
    assert other.exists()


def test_an_unfinished_folder_does_not_read_as_a_bundle(tmp_path):
    write_small_bundle(tmp_path / "bundle", "x")
    (tmp_path / "bundle").rename(tmp_path / ".bundle.partial-1")
    with pytest.raises(BundleError, match="unfinished conversion"):
        Bundle.open(tmp_path / ".bundle.partial-1")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch, code):
    out = tmp_path / "bundle"
    write_small_bundle(out, "first")

    def full(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(bundle_writer.os, "fsync", full)
    with pytest.raises(EdgeclipError, match=r"no room left on the disk.*nothing was changed"):
        write_small_bundle(out, "second")
    monkeypatch.undo()
    assert _check_whole(out) == "first"
    assert list(tmp_path.iterdir()) == [out]


def test_where_nothing_can_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_small_bundle(tmp_path / "file" / "bundle", "x")


def test_without_an_atomic_exchange_it_still_replaces(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_writer.ctypes, "CDLL", lambda *args, **kwargs: object())
    write_small_bundle(tmp_path / "bundle", "first")
    write_small_bundle(tmp_path / "bundle", "second")
    assert _check_whole(tmp_path / "bundle") == "second"
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_the_manifest_is_written_last(tmp_path):
    with BundleWriter(tmp_path / "bundle") as writer:
        assert not (writer.folder / MANIFEST_FILE).exists()
    assert not (tmp_path / "bundle").exists()


def test_through_a_link_the_bundle_behind_it_is_replaced(tmp_path):
    write_small_bundle(tmp_path / "store" / "real", "first")
    (tmp_path / "link").symlink_to(tmp_path / "store" / "real")
    write_small_bundle(tmp_path / "link", "second")
    assert (tmp_path / "link").is_symlink()
    assert _check_whole(tmp_path / "store" / "real") == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "store"]
    (tmp_path / "dangling").symlink_to(tmp_path / "store" / "new")
    write_small_bundle(tmp_path / "dangling", "third")
    assert _check_whole(tmp_path / "store" / "new") == "third"


def test_a_bundle_that_changed_meanwhile_is_not_replaced(tmp_path):
    """Two conversions that extend one bundle: the second to finish must not undo the first."""
    out = tmp_path / "bundle"
    before = write_small_bundle(out, "first")
    write_small_bundle(out, "second", replaces=before)
    with pytest.raises(UsageError, match="changed while this conversion ran; nothing was written"):
        write_small_bundle(out, "third", replaces=before)
    assert _check_whole(out) == "second"
    assert list(tmp_path.iterdir()) == [out]


def test_a_bundle_that_appeared_meanwhile_is_not_replaced(tmp_path):
    out = tmp_path / "bundle"
    with pytest.raises(UsageError, match="changed while"):
        _write_while_another_does(out)
    assert _check_whole(out) == "other"


def _write_while_another_does(out):
    manifest = write_small_bundle(out.with_name("elsewhere"), "late")
    with BundleWriter(out) as writer:
        write_small_bundle(out, "other")
        shutil.copytree(out.with_name("elsewhere"), writer.folder, dirs_exist_ok=True)
        writer.commit(manifest)


def test_what_a_killed_exchange_moved_aside_is_put_back(tmp_path):
    out = tmp_path / "bundle"
    write_small_bundle(out, "first")
    process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    out.rename(tmp_path / f".bundle.replaced-{process.stdout.strip()}")
    with BundleWriter(out):
        assert _check_whole(out) == "first"
    assert list(tmp_path.iterdir()) == [out]


def test_a_process_number_beyond_all_is_dead(tmp_path):
    (tmp_path / f".bundle.partial-{10**30}").mkdir()
    write_small_bundle(tmp_path / "bundle", "first")
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]
