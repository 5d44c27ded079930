"""Packages damaged at random: every one runs or is refused, whatever the damage.

`EDGECLIP_FUZZ_EXAMPLES` sets how many damaged packages each test tries (100). A failure names its seed, which makes it again.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reference.hostile import outcome, save_many_operations
from tests.reference.mutations import mutate_bytes, mutate_message
from tests.reference.packages import edited, model_file, weight_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_EXAMPLES = int(os.environ.get("EDGECLIP_FUZZ_EXAMPLES", "100"))


@pytest.fixture(scope="module", params=["iOS16", "iOS17", "iOS18"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_many_operations(tmp_path_factory.mktemp("fuzz") / "m.mlpackage", request.param)


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "m.mlpackage"))


def _program_bytes(package: Path, rng: random.Random) -> None:
    model_file(package).write_bytes(mutate_bytes(model_file(package).read_bytes(), rng))


def _program_fields(package: Path, rng: random.Random) -> None:
    with edited(package) as model:
        mutate_message(model, rng)


def _weight_bytes(package: Path, rng: random.Random) -> None:
    weight_file(package).write_bytes(mutate_bytes(weight_file(package).read_bytes(), rng))


def _manifest_bytes(package: Path, rng: random.Random) -> None:
    manifest = package / "Manifest.json"
    manifest.write_bytes(mutate_bytes(manifest.read_bytes(), rng))


def _everything(package: Path, rng: random.Random) -> None:
    _program_fields(package, rng)
    _weight_bytes(package, rng)


_FILES: tuple[Callable[[Path], Path], ...] = (model_file, weight_file, lambda package: package / "Manifest.json")


@pytest.mark.parametrize(
    "damage",
    [_program_bytes, _program_fields, _weight_bytes, _manifest_bytes, _everything],
    ids=lambda damage: damage.__name__[1:],
)
def test_damaged_packages_run_or_are_refused(package: Path, damage: Callable[[Path, random.Random], None]) -> None:
    assert outcome(package) == "ran"
    whole = {file: file(package).read_bytes() for file in _FILES}
    seen: Counter[str] = Counter()
    broken: dict[str, int] = {}
    for seed in range(_EXAMPLES):
        for file, content in whole.items():
            file(package).write_bytes(content)
        damage(package, random.Random(seed))
        try:
            seen[outcome(package)] += 1
        except Exception as error:  # noqa: BLE001 - all failures of a run are reported together, each kind once
            broken.setdefault(f"{type(error).__name__}: {error}"[:300], seed)
    assert not broken
    assert seen["refused"] > 0
