"""The vectors, made once for all workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.apps.vectors import write_vectors


@pytest.fixture(scope="session")
def app_vectors(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tests.apps.vectors`. Read-only."""
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = common / "app-vectors"
    with FileLock(common / "app-vectors.lock"):
        if not folder.exists():
            making = folder.with_name("app-vectors-unfinished")
            write_vectors(making, tiny_bundle)
            making.rename(folder)
    return folder
