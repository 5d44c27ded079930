"""The interpreter needs neither the converter whose output it judges, nor any other runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reference.oracle import floats
from tests.reference.packages import builder, save

_SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
import edgeclip.reference.mil.runtime
from edgeclip.reference.mil.interpreter import MilModel

got = MilModel.load(Path(sys.argv[1])).run({"x": np.ones((2, 4), np.float32)})
print(json.dumps({"y": got["y"].tolist(), "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""
_ELSEWHERE = {
    "coremltools",
    "executorch",
    "open_clip",
    "timm",
    "torchao",
    "torchvision",
    "transformers",
    "converters",
    "profiles",
}


@pytest.mark.slow
def test_a_package_runs_without_the_converters(tmp_path: Path) -> None:
    weight = floats(8, 4)
    path = save(
        tmp_path / "m.mlpackage",
        {"x": ((2, 4), "fp32")},
        lambda variables: builder().linear(x=variables["x"], weight=weight, name="y"),
    )
    command = [sys.executable, "-W", "error", "-c", _SCRIPT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    said = json.loads(done.stdout)
    assert not _ELSEWHERE & set(said["modules"])
    assert done.stderr == ""
    assert max(abs(a - b) for a, b in zip(said["y"][0], weight.sum(1).tolist(), strict=True)) < 1e-5
