"""verify catches wrong converters, and passes the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from edgeclip.verify.compare import verify
from tests.verify.faults import FAULTS, Fault, committed

pytestmark = pytest.mark.slow


def test_there_are_faults_enough_and_each_once():
    assert len(FAULTS) >= 30
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("model", ["tinyclip-demo", "mobileclip-demo"])
def test_the_right_converter_passes(model: str, tmp_path: Path):
    convert(model, [TargetOptions("coreml", scheme="fp32")], tmp_path / "bundle")
    result = verify(tmp_path / "bundle")
    assert result.passed, result


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_wrong_converter_is_caught(fault: Fault, tmp_path: Path):
    bundle = tmp_path / "bundle"
    with committed(fault):
        convert(fault.model, [TargetOptions("coreml", scheme="fp32")], bundle)
    if fault.after:
        fault.after(bundle)
    result = verify(bundle)
    assert not result.passed
    assert not [row.error for row in result.rows if "unknown operation" in (row.error or "")], "caught by accident"
    failed = {row.tower for row in result.rows if not row.passed}
    assert failed == ({fault.tower} if fault.tower else set()), "the fault shows in its own tower and in no other"
    assert fault.tower or result.contract
