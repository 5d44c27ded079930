"""Set up what compiles and runs the Android app's core on a JVM: about 130 MB of downloads, 280 MB on disk.

    python scripts/setup_kotlin.py [--java HOME] [--keep-downloads]

The Kotlin compiler comes from npm, Java 17 and JUnit 4 from Debian's archive. Everything is checked against pinned or signed
hashes and unpacked into edgeclip's cache folder ($EDGECLIP_CACHE); nothing is installed, and no special rights are needed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path, PurePosixPath

from edgeclip.cache import cache_folder
from edgeclip.cli.output import working
from edgeclip.errors import EdgeclipError, HubError, InputError, NotRunnableError, UsageError
from edgeclip.progress import Progress
from edgeclip.reference.qemu_arm64 import debian
from edgeclip.reference.qemu_arm64.download import fetch
from edgeclip.reference.qemu_arm64.parts import DEBIAN, KEYRING, SUITE

# The version of gradle/libs.versions.toml: what is compiled here is what the app's build compiles.
KOTLIN = "2.3.21"
KOTLIN_SHA256 = "9033403723284036dc6915328813639f211f2965e929fb0c8f54c3317a21436b"
NPM = "https://registry.npmjs.org"

JAVA_MAJOR = 17  # what the Android Gradle plugin runs on
RUNTIME = f"openjdk-{JAVA_MAJOR}-jre-headless"  # the compiler needs no JDK: a runtime has all the classes
JUNIT = ("junit4", "libhamcrest-java")
BELOW = (f"etc/java-{JAVA_MAJOR}-openjdk/", "usr/lib/jvm/", "usr/share/java/")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
READY = "ready.json"
KOTLINC = """#!/bin/sh
# The compiler as its own script for bash starts it, but for Java's options: its runs are short, on machines of few cores.
here=$(dirname "$0")
exec "$here/../java/bin/java" -Xmx1g -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \\
  -cp "$here/../lib/kotlin-preloader.jar" org.jetbrains.kotlin.preloading.Preloader \\
  -cp "$here/../lib/kotlin-compiler.jar" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -kotlin-home "$here/.." "$@"
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--java", type=Path, metavar="HOME", help=f"a Java {JAVA_MAJOR} or later to use in place of Debian's")
    parser.add_argument("--archive", default=os.environ.get("EDGECLIP_DEBIAN") or DEBIAN, help="a mirror of Debian's archive")
    parser.add_argument("--registry", default=os.environ.get("NPM_CONFIG_REGISTRY") or NPM, help="a mirror of npm")
    parser.add_argument("--keep-downloads", action="store_true", help="keep the packages, to set up again without a network")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    options = parser.parse_args()
    started = time.perf_counter()
    try:
        with working(options.verbose) as progress:
            root = set_up(progress, options)
    except EdgeclipError as error:
        if options.verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    size = sum(path.lstat().st_size for path in root.rglob("*"))
    print(f"{root}: ready, {size / 1e6:.0f} MB, {time.perf_counter() - started:.0f} s")
    return 0


def set_up(progress: Progress, options: argparse.Namespace) -> Path:
    """Fill `kotlin` of the cache folder, which is there whole, with `READY`, or not at all."""
    root = cache_folder() / "kotlin"
    stamp = {"kotlin": KOTLIN, "java": str(options.java.resolve()) if options.java else RUNTIME, "script": _own_sha256()}
    if _ready(root) == stamp:
        return root
    if options.java is not None and not (options.java / "bin" / "java").is_file():
        raise UsageError(f"--java {options.java}: has no bin/java; give the folder of a Java {JAVA_MAJOR} or later")
    downloads = root.with_name("kotlin-downloads")
    temporary = root.with_name(f".kotlin-{os.getpid()}")
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        _compiler(progress, options.registry, downloads, temporary)
        _debian(progress, options, downloads, temporary)
        with progress("compiling a first line of Kotlin"):
            _try(temporary)
        (temporary / READY).write_text(json.dumps(stamp, indent=2) + "\n", "utf-8")
        shutil.rmtree(root, ignore_errors=True)
        temporary.replace(root)
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not options.keep_downloads:
        shutil.rmtree(downloads)
    return root


def _own_sha256() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _ready(root: Path) -> object:
    try:
        return json.loads((root / READY).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _compiler(progress: Progress, registry: str, downloads: Path, root: Path) -> None:
    """`root/lib` and `root/bin/kotlinc`."""
    name = f"kotlin-compiler-{KOTLIN}.tgz"
    with progress(f"npm: kotlin-compiler {KOTLIN} (83 MB)") as task:
        url = f"{registry.rstrip('/')}/kotlin-compiler/-/{name}"
        fetch(url, downloads / name, KOTLIN_SHA256, lambda received: task.advance(received, 83e6))
        with tarfile.open(downloads / name) as archive:  # whose hash is known
            for member in archive:
                path = PurePosixPath(member.name).relative_to("package")
                if member.isreg() and path.parent.name == "lib" and path.suffix == ".jar" and "-sources" not in path.name:
                    target = root / path
                    target.parent.mkdir(exist_ok=True)
                    content = archive.extractfile(member)
                    assert content is not None  # of a regular file
                    target.write_bytes(content.read())
    start = root / "bin" / "kotlinc"
    start.parent.mkdir()
    start.write_text(KOTLINC, "utf-8")
    start.chmod(0o755)


def _debian(progress: Progress, options: argparse.Namespace, downloads: Path, root: Path) -> None:
    """`root/java` and `root/junit`, a few files of Debian's packages."""
    architecture = ARCHITECTURES.get(platform.machine())
    if options.java is None and (sys.platform != "linux" or architecture is None):
        raise UsageError(f"Debian has no Java for {sys.platform} on {platform.machine()}: give one with --java HOME")
    names = JUNIT if options.java else (RUNTIME, *JUNIT)
    with progress(f"Debian {SUITE}: {', '.join(names)}") as task:
        index = debian.index(options.archive.rstrip("/"), SUITE, architecture or "amd64", Path(KEYRING))
        if absent := [name for name in names if name not in index]:
            raise HubError(f"{options.archive}: {SUITE} has no {', '.join(absent)}")
        packages = [index[name] for name in names]
        total, done = sum(package.size_bytes for package in packages), 0
        with tempfile.TemporaryDirectory(dir=root) as unpacked:
            for package in packages:
                debian.unpack(package, downloads, Path(unpacked), task, done, total, BELOW)
                done += package.size_bytes
            _arrange(Path(unpacked), root, options.java)


def _arrange(unpacked: Path, root: Path, java: Path | None) -> None:
    junit = root / "junit"
    junit.mkdir()
    for jar in ("junit4.jar", "hamcrest.jar"):
        (junit / jar).write_bytes((unpacked / "usr/share/java" / jar).read_bytes())
    if java is not None:
        (root / "java").symlink_to(java.resolve(), target_is_directory=True)
        return
    settings = unpacked / f"etc/java-{JAVA_MAJOR}-openjdk"
    home = next(path for path in (unpacked / "usr/lib/jvm").glob(f"java-{JAVA_MAJOR}-openjdk-*"))
    # Debian keeps these in /etc, with links to them in their places.
    shutil.copytree(settings, home / "conf", dirs_exist_ok=True)
    for file in settings.glob("jvm-*.cfg"):
        shutil.copy(file, home / "lib" / "jvm.cfg")
    home.replace(root / "java")


def _try(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        source = Path(folder, "First.kt")
        source.write_text("fun main() = println(sequenceOf(1, 2).sum())\n", "utf-8")
        command = [root / "bin" / "kotlinc", source, "-d", Path(folder, "classes")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise NotRunnableError(f"the compiler does not run ({last}): give a Java of this system's with --java HOME")


if __name__ == "__main__":
    sys.exit(main())
