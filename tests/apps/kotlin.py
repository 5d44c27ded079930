"""The Kotlin compiler and Java of `scripts/setup_kotlin.py`, and what is compiled and run with them."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeclip.cache import cache_folder

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "setup_kotlin.py"
APP = ROOT / "sample_apps" / "android"
STUBS = Path(__file__).resolve().parent / "kotlin_stubs"
LIBRARY = APP / "edgeclip" / "src"
CORE = LIBRARY / "main" / "kotlin" / "dev" / "edgeclip" / "core"
NEEDS_ANDROID = [*sorted(CORE.parent.glob("*.kt")), APP / "demo" / "src"]
RESOURCES = LIBRARY / "main" / "resources"
CORE_TESTS = LIBRARY / "test" / "kotlin"
SETUP = "python scripts/setup_kotlin.py"
_TIMEOUT_S = 1800  # machines of CI are busy
_HEAP = "-Xmx1g"
_DIAGNOSTIC = re.compile(r"\.kt:\d+:\d+: (error|warning): |^error: (?!exception)")
_NO_RUNTIME = "requires the Compose Runtime to be on the class path"


@dataclass(frozen=True)
class Toolchain:
    """What the script has set up below `root`."""

    root: Path

    def jars(self, *names: str) -> str:
        """A class path."""
        found = [*(self.root / "lib").glob("*.jar"), *(self.root / "junit").glob("*.jar")]
        return os.pathsep.join(str(jar) for jar in found if jar.stem in names)

    def compile(self, sources: Sequence[Path], out: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Kotlin sources, files or folders, to classes below `out`; every warning is an error."""
        command = [self.root / "bin" / "kotlinc", *sources, "-d", out, "-jvm-target", "17", "-Werror", *options]
        return _run([str(part) for part in command])

    def type_check(self, sources: Sequence[Path], core: Path, out: Path) -> list[str]:
        """What the compiler has to say of an app's sources, beside declarations of what they call; nothing if all is well.

        core: its classes; the sources may use what is internal to them, as in one module. Compose's own rules are checked too,
        by its plugin, which stops at the missing runtime, once all sources are checked.
        """
        plugin = self.root / "lib" / "compose-compiler-plugin.jar"
        path = os.pathsep.join([str(core), self.jars("kotlinx-coroutines-core-jvm", "junit4")])
        done = self.compile([STUBS, *sources], out, "-cp", path, f"-Xfriend-paths={core}", f"-Xplugin={plugin}")
        found = [line for line in done.stderr.splitlines() if _DIAGNOSTIC.search(line)]
        assert found or _NO_RUNTIME in done.stderr, done.stderr[-4000:]
        return found

    def java(self, class_path: str, main: str, *arguments: str, **variables: Path) -> subprocess.CompletedProcess[str]:
        """A program, with environment variables besides this process's."""
        command = [str(self.root / "java" / "bin" / "java"), _HEAP, "-cp", class_path, main, *arguments]
        return _run(command, {name: str(value) for name, value in variables.items()})


def _run(command: list[str], variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | (variables or {})
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment)


@functools.cache
def toolchain() -> Toolchain | None:
    """What is set up, None where it is not, or is of another version of the compiler than the app's build."""
    root = cache_folder() / "kotlin"
    try:
        ready = json.loads((root / "ready.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return Toolchain(root) if ready.get("kotlin") == catalog_version("kotlin") else None


def catalog_version(name: str) -> str:
    """A version of the app's `gradle/libs.versions.toml`."""
    lines = (APP / "gradle" / "libs.versions.toml").read_text("utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith(f'{name} = "'))


def kotlin_files(*folders: Path) -> list[Path]:
    """All sources below folders."""
    return sorted(path for folder in folders for path in folder.rglob("*.kt"))
