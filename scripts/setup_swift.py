"""Set up a Swift compiler for Linux, and run it: about 500 MB of downloads, 1.2 GB on disk.

    python scripts/setup_swift.py                    # set up, once
    python scripts/setup_swift.py --check            # say whether Swift can be run here, exit status 2 if not
    python scripts/setup_swift.py run swift test --package-path sample_apps/ios/EdgeClipKit

Debian's `swiftlang` and what it needs are checked against the archive's hashes and unpacked into edgeclip's cache folder
($EDGECLIP_CACHE); nothing is installed, and root is not needed. `run` mounts the folder as the root of a process of its own,
with this repository, the current folder, the temporary folder and the cache where they are. That needs a kernel that lets
users make namespaces, or root. Where a `swift` is on the PATH (macOS, swift.org), it is run, and there is nothing to set up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgeclip.cache import cache_folder
from edgeclip.cli.output import working
from edgeclip.errors import EdgeclipError, HubError, InputError, NotRunnableError
from edgeclip.progress import Progress
from edgeclip.reference.qemu_arm64 import debian

ARCHIVE = "https://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # of Debian's package debian-archive-keyring
SUITE = "trixie"
MACHINES = ("x86_64", "AMD64")
PACKAGES = (
    "swiftlang",
    "libswiftlang",
    # what its programs are linked with
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libzstd1", "liblzma5", "libuuid1", "libsqlite3-0", "libxml2"),
    *("libedit2", "libbsd0", "libmd0", "libncurses6", "libtinfo6"),
    # what they make is linked with
    *("libc6-dev", "linux-libc-dev", "libgcc-14-dev", "libstdc++-14-dev"),
    *(
        "binutils",
        "binutils-x86-64-linux-gnu",
        "libbinutils",
        "libctf0",
        "libctf-nobfd0",
        "libsframe1",
        "libjansson4",
        "libgprofng0",
    ),
    # of the package manager
    *("libcurl4t64", "libbrotli1", "libcom-err2", "libffi8", "libgmp10", "libgnutls30t64", "libgssapi-krb5-2"),
    *("libhogweed6t64", "libidn2-0", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "libldap2"),
    *("libnettle8t64", "libnghttp2-14", "libnghttp3-9", "libp11-kit0", "libpsl5t64", "librtmp1", "libsasl2-2"),
    *("libssh2-1t64", "libssl3t64", "libtasn1-6", "libunistring5"),
)
WANTED = ("usr/bin/", "usr/include/", "usr/lib/", "usr/lib64/", "usr/libexec/")
_SWIFT = "usr/libexec/swift"
LEAVE_OUT = (  # debugger, editor's servers, other systems: half of it
    *(f"{_SWIFT}/bin/{name}" for name in ("lldb*", "clangd", "sourcekit-lsp", "docc", "swift-format")),
    *(
        f"{_SWIFT}/lib/{name}"
        for name in ("liblldb*", "libLTO*", "libsourcekitdInProc.so", "libswiftGenericMetadataBuilder.so")
    ),
    *(f"{_SWIFT}/lib/{name}/*" for name in ("swift_static", "swift/embedded", "swift/migrator")),
)
STAMP = {"version": 1, "suite": SUITE, "packages": list(PACKAGES), "leave_out": list(LEAVE_OUT)}
READY = "ready.json"
SCRIPT = "scripts/setup_swift.py"

# $1: the set-up; $2: `unshare`; $3: the PATH inside; then folders to show inside, `--`, and the command.
_ENTER = """
set -eu
toolchain=$1; unshare=$2; path=$3; root=$1/root; here=$(pwd); shift 3
mount -t tmpfs tmpfs "$root"
for name in bin lib lib64; do ln -s usr/$name "$root/$name"; done
mkdir "$root/usr" "$root/proc" "$root/dev"
mount --bind "$toolchain/usr" "$root/usr"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; shift; done
shift
PATH=$path exec "$unshare" --root="$root" --wd="$here" "$@"
"""
_PATH = "/usr/libexec/swift/bin:/usr/bin"
_PASSED = ("EDGECLIP_", "TERM")  # beginnings of the names of variables that are


def folder() -> Path:
    """Where the packages are unpacked."""
    return cache_folder() / "swift"


def is_ready() -> bool:
    """Whether this script's set-up is there, whole."""
    try:
        return bool(json.loads((folder() / READY).read_text("utf-8")) == STAMP)
    except (OSError, ValueError):
        return False


def set_up(progress: Progress, archive: str) -> Path:
    """Download and unpack. What was downloaded is kept until all is done. Raises HubError without a network."""
    if is_ready():
        return folder()
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise NotRunnableError(
            f"Debian's packages are for Linux on x86-64, not {sys.platform} on {platform.machine()}: get Swift 6 from swift.org"
        )
    root, downloads = folder(), folder().with_name("swift-downloads")
    with progress("Debian's index"):
        index = debian.index(archive, SUITE, "amd64", KEYRING)
    if absent := [name for name in PACKAGES if name not in index]:
        raise HubError(f"{archive}: {SUITE} has no {', '.join(absent)}")
    packages = [index[name] for name in PACKAGES]
    total, done = sum(package.size_bytes for package in packages), 0
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".swift-", dir=root.parent))
        try:
            with progress(f"Debian {SUITE}: {len(packages)} packages, {total / 1e6:.0f} MB") as task:
                for package in packages:
                    debian.unpack(package, downloads, temporary, task, done, total, WANTED, LEAVE_OUT)
                    done += package.size_bytes
            (temporary / "root").mkdir()
            (temporary / READY).write_text(json.dumps(STAMP), "utf-8")
            temporary.chmod(0o755)
            shutil.rmtree(root, ignore_errors=True)
            temporary.replace(root)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror or error})") from error
    shutil.rmtree(downloads)
    return root


def missing() -> str | None:
    """Why Swift cannot be run here, or None."""
    if shutil.which("swift"):
        return None
    if not is_ready():
        return f"there is no Swift: run `python {SCRIPT}` (500 MB of downloads)"
    tried = subprocess.run(_entered(["swift-frontend", "--version"]), capture_output=True, text=True, env=_environment())
    if tried.returncode == 0:
        return None
    said = (tried.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return f"Swift is set up in {folder()}, but cannot be run without root or user namespaces ({said})"


def _entered(command: list[str]) -> list[str]:
    """The command line that runs `command` in a process whose root is the set-up."""
    unshare = shutil.which("unshare") or "unshare"
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    shown = {Path(__file__).resolve().parents[1], Path.cwd(), Path(tempfile.gettempdir()), cache_folder()}
    below = [str(one) for one in sorted(shown) if not any(other in one.parents for other in shown)]
    return [unshare, "--mount", *as_root, "sh", "-c", _ENTER, "sh", str(folder()), unshare, _PATH, *below, "--", *command]


def _environment() -> dict[str, str]:
    """The PATH of this side, for what mounts; a home folder of its own, for caches."""
    home = cache_folder() / "swift-home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    return {**kept, "PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": tempfile.gettempdir()}


def run(command: list[str]) -> int:
    """Run a command where Swift is, in the current folder, and return its exit status."""
    if shutil.which("swift"):
        return subprocess.call(command)
    if why := missing():
        raise NotRunnableError(why)
    return subprocess.call(_entered(command), env=_environment())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", default=os.environ.get("EDGECLIP_DEBIAN", ARCHIVE), help="a mirror of Debian's archive")
    parser.add_argument("--check", action="store_true", help="say whether Swift can be run here")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="action")
    commands.add_parser("run", help="run a command").add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    started = time.perf_counter()
    try:
        if options.action == "run":
            return run(options.command or ["swift", "--version"])
        if not options.check:
            with working(options.verbose) as progress:
                set_up(progress, options.archive.rstrip("/"))
        if why := missing():
            raise NotRunnableError(why)
    except EdgeclipError as error:
        if options.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(f"{shutil.which('swift') or folder()}: ready, {time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
