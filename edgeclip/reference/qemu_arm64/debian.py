"""Packages of a Debian archive, each checked against the index, and the index against the archive's release file.

The release file is checked against Debian's key where `gpgv` and the key are installed (on Debian they always are); elsewhere
its transport, HTTPS, has to do. Formats: deb(5), deb-control(5), and https://wiki.debian.org/DebianRepository/Format.
"""

from __future__ import annotations

import fnmatch
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from edgeclip.errors import HubError, InputError
from edgeclip.progress import Task
from edgeclip.reference.qemu_arm64.download import fetch, fetch_bytes

_CLEARSIGNED = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\n(?:Hash: .*\n)*\n(.*?)\n-----BEGIN PGP SIGNATURE-----", re.DOTALL
)
_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60
WANTED = ("lib/", "usr/bin/", "usr/lib/")
_MAX_INDEX_BYTES = 1 << 28


@dataclass(frozen=True)
class Package:
    """One `.deb` of the archive."""

    name: str
    version: str
    url: str
    sha256: str
    size_bytes: int


def index(archive: str, suite: str, architecture: str, keyring: Path) -> dict[str, Package]:
    """The packages of a suite for one architecture, by name."""
    base = f"{archive}/dists/{suite}"
    release = _signed_text(fetch_bytes(f"{base}/InRelease"), f"{base}/InRelease", keyring)
    path = f"main/binary-{architecture}/Packages.xz"
    listed = re.search(rf"^SHA256:\n(?: .*\n)*? ([0-9a-f]{{64}}) +\d+ {re.escape(path)}$", release, re.MULTILINE)
    if listed is None:
        raise HubError(f"{base}/InRelease: lists no {path}")
    packed = fetch_bytes(f"{base}/{path}")
    if hashlib.sha256(packed).hexdigest() != listed[1]:
        raise HubError(
            f"{base}/{path}: is not what InRelease says; the mirror is being updated or was altered: try again later"
        )
    text = lzma.LZMADecompressor().decompress(packed, _MAX_INDEX_BYTES).decode()
    found = (_package(stanza, archive) for stanza in text.split("\n\n") if stanza.strip())
    return {package.name: package for package in found}


def _signed_text(signed: bytes, url: str, keyring: Path) -> str:
    gpgv = shutil.which("gpgv")
    if gpgv is not None and keyring.is_file():
        with tempfile.TemporaryDirectory() as folder:
            file, content = Path(folder, "InRelease"), Path(folder, "Release")
            file.write_bytes(signed)
            command = [gpgv, "--quiet", "--keyring", str(keyring), "--output", str(content), str(file)]
            if subprocess.run(command, capture_output=True).returncode != 0:
                raise HubError(f"{url}: is not signed by a key of {keyring}")
            return content.read_text("utf-8")
    text = _CLEARSIGNED.search(signed)
    if text is None or not url.startswith("https://"):
        raise HubError(
            f"{url}: cannot be trusted: it is no signed release file, or comes neither over HTTPS nor with gpgv here"
        )
    return text[1].decode("utf-8") + "\n"


def _package(stanza: str, archive: str) -> Package:
    fields: Mapping[str, str] = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
    return Package(
        fields["Package"], fields["Version"], f"{archive}/{fields['Filename']}", fields["SHA256"], int(fields["Size"])
    )


def unpack(
    package: Package,
    downloads: Path,
    folder: Path,
    task: Task,
    done: float,
    total: float,
    wanted: Sequence[str] = WANTED,
    leave_out: Sequence[str] = (),
) -> None:
    """Download a package, unless it is in `downloads` already, and unpack it below `folder`.

    wanted: how the paths begin that are unpacked, by default those of programs and libraries; leave_out: patterns of paths
    that are not. Links to absolute paths are left out.
    """
    file = downloads / PurePosixPath(package.url).name
    fetch(package.url, file, package.sha256, lambda received: task.advance(done + received, total))
    with file.open("rb") as stream, tarfile.open(fileobj=_data(stream, file), mode="r|*") as archive:
        for member in archive:
            if _wanted(member, wanted, leave_out):
                _extract(archive, member, folder)


class _Part:
    """Some bytes of a file, as a stream."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int) -> bytes:
        content = self._stream.read(min(size, self._left))
        self._left -= len(content)
        return content


def _data(stream: IO[bytes], path: Path) -> IO[bytes]:
    """The files of a package: `data.tar.xz` in an `ar` archive."""
    if stream.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise InputError(f"{path}: is no Debian package; delete it and try again")
    while len(header := stream.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = int(header[48:58])
        if name.startswith("data.tar"):
            return cast("IO[bytes]", _Part(stream, size))  # `tarfile` reads it, and does no more, in its mode "r|"
        stream.seek(size + size % 2, os.SEEK_CUR)
    raise InputError(f"{path}: holds no data.tar; delete it and try again")


def _wanted(member: tarfile.TarInfo, wanted: Sequence[str], leave_out: Sequence[str]) -> bool:
    path = PurePosixPath(member.name)
    plain = str(path).removeprefix("./")
    inside = ".." not in path.parts and plain.startswith(tuple(wanted))
    kept = not any(fnmatch.fnmatchcase(plain, pattern) for pattern in leave_out)
    return inside and kept and (member.isreg() or (member.issym() and not member.linkname.startswith("/")))


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = folder / PurePosixPath(member.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{member.name}: leads out of the package")
    path.unlink(missing_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
        return
    content = archive.extractfile(member)
    assert content is not None  # a regular file
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(0o755 if member.mode & 0o100 else 0o644)
