"""The Swift toolchain of `scripts/setup_swift.py`, and the iOS app's parts: what is compiled, what is checked.

`apple/` declares what the app uses of Apple's frameworks and of ExecuTorch, by their public documentation, so that the parts
that need them can be type-checked where they are not. It is no proof that the declarations are right, nor that anything runs.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeclip.cache import cache_folder

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "setup_swift.py"
APP = ROOT / "sample_apps" / "ios"
KIT = APP / "EdgeClipKit"
APPLE = Path(__file__).parent / "apple"

USERS_CACHE = cache_folder()  # before the tests have one of their own
_UP_TO_DATE = ROOT / "build" / "swift"  # of the package manager, which compiles what has changed

# In the order in which they import each other.
_DECLARED = (
    "CoreVideo",
    "CoreML",
    "CoreGraphics",
    "ImageIO",
    "ExecuTorch",
    "UIKit",
    "AVFoundation",
    "Photos",
    "SwiftUI",
    "PhotosUI",
)
_PARTS = (
    ("EdgeClipCore", ("EdgeClipKit/Sources/EdgeClipCore",)),
    ("EdgeClipKit", ("EdgeClipKit/Sources/EdgeClipKit",)),
    ("EdgeClipExecuTorch", ("EdgeClipExecuTorch/Sources/EdgeClipExecuTorch",)),
    ("EdgeClipDemo", ("EdgeClipDemo/App", "EdgeClipDemo/Generated")),
    ("EdgeClipDemoTests", ("EdgeClipDemo/Tests",)),
)
# The package manager makes it; elsewhere it is declared.
_RESOURCES = "import Foundation\nextension Foundation.Bundle { static var module: Bundle { .main } }\n"


@functools.cache
def missing() -> str | None:
    """Why Swift cannot be run here, which names the command that sets it up, or None."""
    done = _script("--check")
    return None if done.returncode == 0 else done.stderr.strip().removeprefix("error: ")


def swift(*command: str | Path, folder: Path = ROOT, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the toolchain in a folder, with further environment variables."""
    return _script("run", *map(str, command), folder=folder, **variables)


def _script(*arguments: str, folder: Path = ROOT, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"EDGECLIP_CACHE": str(USERS_CACHE), "PYTHONPATH": str(ROOT)}
    environment |= {name: str(value) for name, value in variables.items()}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def package(action: str, *arguments: str, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    """`swift build`, `swift test` or `swift run` of the package EdgeClipKit, optimised."""
    options = ("--package-path", KIT, "--scratch-path", _UP_TO_DATE, "-c", "release", "-Xswiftc", "-enable-testing")
    return swift("swift", action, *options, *arguments, folder=ROOT, **variables)


def sources(folder: Path = APP) -> list[Path]:
    """All Swift files below a folder but those that a build has made."""
    return sorted(
        path for path in folder.rglob("*.swift") if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def parse(files: Sequence[Path]) -> str:
    """What the compiler has against the syntax of files; empty where it is right."""
    return _said(swift("swiftc", "-frontend", "-parse", *files))


def type_check(out: Path, *only: str) -> str:
    """What the compiler has against the app's parts, or those named, given the declarations; empty where all is right."""
    out.mkdir(parents=True, exist_ok=True)
    resources = out / "Resources.swift"
    resources.write_text(_RESOURCES, "utf-8")
    for name in _DECLARED:
        if said := module(name, [APPLE / f"{name}.swift"], out):
            return said
    for name, folders in _PARTS:
        files = [path for folder in folders for path in sources(APP / folder)]
        if said := module(name, [*files, resources] if name == "EdgeClipCore" else files, out):
            return said
        if name in (only or ("EdgeClipDemoTests",)):
            break
    return ""


def module(name: str, files: Sequence[Path], out: Path) -> str:
    """What the compiler has against files as a module, whose declarations it writes to `out`; empty where all is right."""
    compiler = (
        "swiftc",
        "-emit-module",
        "-wmo",
        "-enable-testing",
        "-parse-as-library",
        "-swift-version",
        "5",
        "-module-name",
        name,
    )
    return _said(swift(*compiler, "-I", out, "-o", out / f"{name}.swiftmodule", *files))


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return "" if done.returncode == 0 and not done.stderr.strip() else done.stdout + done.stderr
