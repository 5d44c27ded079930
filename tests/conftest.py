"""Fixtures that several test folders share."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings

from edgeclip.cli.main import run
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from tests.support.sharing import share_programs

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


def _made(factory: pytest.TempPathFactory, model: str) -> Path:
    """Both targets of a demo model: made by the first worker that wants it, and copied by each."""
    own = factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with FileLock(common / f"{model}.lock"):
        if not (common / model).exists():
            convert(model, [TargetOptions("coreml"), TargetOptions("executorch")], common / model)
    return Path(shutil.copytree(common / model, factory.mktemp("bundle") / model))


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TinyCLIP demo, Core ML fp16 and ExecuTorch fp32. Read-only: copy it to change it."""
    return _made(tmp_path_factory, "tinyclip-demo")


@pytest.fixture(scope="session")
def mobile_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MobileCLIP demo, Core ML fp16 and ExecuTorch fp32. Read-only: copy it to change it."""
    return _made(tmp_path_factory, "mobileclip-demo")


@pytest.fixture(scope="module")
def shared_programs() -> Iterator[None]:
    """Conversions of this file share what comes before compression; see `tests.support.sharing`."""
    with pytest.MonkeyPatch.context() as patch:
        share_programs(patch)
        gc.freeze()  # as in `quick_collections`
        yield
        gc.unfreeze()


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
