"""The templates travel in the wheel: an installed edgeclip makes the same apps as a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgeclip.apps.platform import PLATFORMS
from edgeclip.apps.scaffold import scaffold
from tests.apps.small_apps import tree, write_bundle

ROOT = Path(__file__).parents[2]
PACKAGES = ("edgeclip", "converters", "profiles")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A wheel of a copy of this checkout, with the leftovers of builds among the templates, unpacked as pip does."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in (*PACKAGES, "sample_apps"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".build", "build")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for leftover in ("ios/EdgeClipKit/.build/debug/x.o", "android/.gradle/x.bin", "android/demo/build/x.apk"):
        (source / "sample_apps" / leftover).parent.mkdir(parents=True)
        (source / "sample_apps" / leftover).write_text("left by a build")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(("/x.o", "/x.bin", "/x.apk"))]
        for entry in archive.infolist():
            path = archive.extract(entry, folder / "site")
            if entry.external_attr >> 16 & 0o111:
                Path(path).chmod(0o755)  # as pip does
    return folder / "site"


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_installed_edgeclip_makes_the_same_app(installed, tmp_path, platform):
    write_bundle(tmp_path / "bundle")
    command = [sys.executable, "-m", "edgeclip", "app", platform, tmp_path / "bundle", "--out", tmp_path / "one"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    scaffold(platform, tmp_path / "bundle", tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    modes = [
        {path: os.access(folder / path, os.X_OK) for path in tree(folder)} for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert modes[0] == modes[1]
