"""Fixtures that several test folders share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from edgeclip.cli.main import run
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions

# The same examples every time and no deadlines, so that a red run is a finding; `--hypothesis-profile default` draws others.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@dataclass(frozen=True)
class CliResult:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line of an error."""
        lines = [line for line in self.err.splitlines() if line.startswith("edgeclip: ")]
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture(autouse=True)
def private_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor write the user's caches."""
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., CliResult]:
    """Run the command line in this process: `cli("models", "--json").json`."""

    def call(*args: str | Path | Sequence[str]) -> CliResult:
        capfd.readouterr()
        status = run([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return CliResult(status, out, err)

    return call


def _made(folder: Path, model: str, *options: TargetOptions) -> Path:
    return convert(model, list(options), folder / model).bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TinyCLIP demo, Core ML fp16 and ExecuTorch fp32. Read-only: copy it to change it."""
    return _made(tmp_path_factory.mktemp("tiny"), "tinyclip-demo", TargetOptions("coreml"), TargetOptions("executorch"))


@pytest.fixture(scope="session")
def mobile_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MobileCLIP demo, Core ML fp16 and ExecuTorch fp32. Read-only: copy it to change it."""
    return _made(tmp_path_factory.mktemp("mobile"), "mobileclip-demo", TargetOptions("coreml"), TargetOptions("executorch"))


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
