"""Setting the emulation up: download, unpack, fill in, try. Every step is skipped where it is done already."""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeclip.errors import HubError, InputError, MissingPackageError, NotRunnableError, UsageError
from edgeclip.manifest import file_sha256
from edgeclip.progress import Progress, Task, silent
from edgeclip.reference.qemu_arm64 import debian, elf, parts, place
from edgeclip.reference.qemu_arm64.parts import Wheel

_XNNPACK = "XnnpackBackend"


def set_up(progress: Progress = silent, archive: str | None = None, keep_downloads: bool = False) -> Path:
    """Make what `verify --runtime qemu-arm64` needs, and return its folder.

    archive: a mirror of Debian's, by default $EDGECLIP_DEBIAN or Debian's own. May be stopped and started again: what was
    downloaded is kept until all is done. Raises HubError without a network, and NotRunnableError if the result does not run.
    """
    if why := place.unsuitable():
        raise UsageError(f"qemu-arm64: {why}")
    root = place.folder()
    if place.is_ready():
        return root
    downloads = root / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    archive = (archive or os.environ.get("EDGECLIP_DEBIAN") or parts.DEBIAN).rstrip("/")
    (root / place.READY).unlink(missing_ok=True)
    for name, architecture, names in (("host", parts.HOST, parts.HOST_PACKAGES), ("guest", parts.GUEST, parts.GUEST_PACKAGES)):
        with progress(f"Debian {parts.SUITE} {architecture}: {len(names)} packages") as task:
            fill = functools.partial(_debian, archive, architecture, names, downloads, task)
            _once(root / name, fill)
    _once(root / "site", functools.partial(_site, root / "guest", downloads, progress))
    with progress("starting the emulated runtime for the first time (a minute or two)"):
        _try(root)
    (root / place.READY).write_text(json.dumps(place.stamp(), indent=2) + "\n", "utf-8")
    if not keep_downloads:
        shutil.rmtree(downloads)
    return root


def _once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder, which is there with all that it should hold or not at all."""
    marker = folder / place.READY
    try:
        done = json.loads(marker.read_text("utf-8")) == place.stamp()
    except (OSError, ValueError):
        done = False
    if done:
        return
    shutil.rmtree(folder, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fill(temporary)
        (temporary / place.READY).write_text(json.dumps(place.stamp()) + "\n", "utf-8")
        temporary.chmod(0o755)
        temporary.replace(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _debian(archive: str, architecture: str, names: Sequence[str], downloads: Path, task: Task, folder: Path) -> None:
    index = debian.index(archive, parts.SUITE, architecture, Path(parts.KEYRING))
    absent = [name for name in names if name not in index]
    if absent:
        raise HubError(f"{archive}: {parts.SUITE} has no {', '.join(absent)} for {architecture}")
    packages = [index[name] for name in names]
    total, done = sum(package.size_bytes for package in packages), 0
    for package in packages:
        debian.unpack(package, downloads, folder, task, done, total)
        done += package.size_bytes


def _site(guest: Path, downloads: Path, progress: Progress, folder: Path) -> None:
    for wheel in parts.WHEELS:
        with progress(f"PyPI: {wheel.name} {wheel.version} ({wheel.size_mb:.0f} MB)"):
            _unpack(wheel, _wheel(wheel, downloads), folder)
    _stand_ins(folder, guest)


def _wheel(wheel: Wheel, downloads: Path) -> Path:
    """The file of a wheel, by pip, which knows the user's index, proxy and certificates, and checks the hash."""
    path = downloads / wheel.file
    if path.is_file() and file_sha256(path) == wheel.sha256:
        return path
    path.unlink(missing_ok=True)
    wanted = downloads / f"{wheel.name}.txt"
    wanted.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n", "utf-8")
    platforms = [f"--platform={name}" for name in parts.PLATFORMS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", *platforms, f"--python-version={parts.GUEST_PYTHON}"]
    done = subprocess.run([*command, "--dest", str(downloads), "--requirement", str(wanted)], capture_output=True, text=True)
    if done.returncode != 0 or not path.is_file():
        last = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-1:] or ["it said nothing"]
        if "No module named pip" in last[0]:
            raise MissingPackageError(f"pip is not installed beside {sys.executable}: python -m ensurepip")
        raise HubError(f"{wheel.name} {wheel.version}: pip cannot download it ({last[0].strip()}): is there a network?")
    return path


def _unpack(wheel: Wheel, path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not any(fnmatch.fnmatchcase(member, pattern) for pattern in wheel.leave_out):
                archive.extract(member, folder)  # refuses to leave the folder


def _stand_ins(site: Path, guest: Path) -> None:
    """Libraries in place of CUDA's, with just the symbols that the loader has to find."""
    libraries = site / parts.TORCH_LIBRARIES
    there = [*libraries.glob("*.so*"), *(guest / "lib").rglob("lib*.so.*"), *(guest / "usr/lib").rglob("lib*.so.*")]
    there.append(guest / f"usr/bin/python{parts.GUEST_PYTHON}")
    defined: set[str] = set()
    for path in there:
        defined |= elf.defined_symbols(path)
    needed = elf.bound_at_load(libraries / parts.BOUND_LIBRARY) - defined
    (libraries / parts.STAND_IN).write_bytes(elf.empty_library(parts.STAND_IN, needed, parts.CALLED))
    for name in parts.EMPTY:
        (libraries / name).write_bytes(elf.empty_library(name))


def _try(root: Path) -> None:
    """Start the runtime once, which also makes Python's compiled files."""
    from edgeclip.reference.qemu_arm64.machine import CPUS
    from edgeclip.reference.qemu_arm64.runtime import EmulatedWorker, delegates

    worker = EmulatedWorker(root, next(iter(CPUS)))
    try:
        found = delegates(worker)
    finally:
        worker.close()
    if _XNNPACK not in found:
        raise NotRunnableError(f"{root}: the emulated runtime starts, but has no {_XNNPACK}, only {', '.join(found) or 'none'}")
