"""verify catches wrong converters, and passes the right one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from converters.coreml.target import TARGET
from edgeclip.errors import ConversionError
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from edgeclip.spec import TOWERS
from edgeclip.verify.compare import verify
from tests.verify.faults import FAULTS, Fault, committed
from tests.verify.stored_faults import one_left_out

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]


def test_there_are_faults_enough_and_each_once():
    assert len(FAULTS) >= 40
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    schemes = Counter(fault.scheme for fault in FAULTS)
    assert all(schemes[scheme] >= 3 for scheme in TARGET.schemes if scheme != "auto"), schemes


@pytest.mark.parametrize("model", ["tinyclip-demo", "mobileclip-demo"])
def test_the_right_converter_passes(model: str, tmp_path: Path):
    convert(model, [TargetOptions("coreml", scheme="fp32")], tmp_path / "bundle")
    result = verify(tmp_path / "bundle")
    assert result.passed, result


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_wrong_converter_is_caught(fault: Fault, tmp_path: Path):
    bundle = tmp_path / "bundle"
    options = TargetOptions("coreml", scheme=fault.scheme, layout=fault.layout, min_os=fault.min_os)
    with committed(fault):
        convert(fault.model, [options], bundle, towers=TOWERS if fault.both else (fault.tower or "text",))
    if fault.after:
        fault.after(bundle)
    result = verify(bundle)
    assert not result.passed
    assert not [row.error for row in result.rows if "unknown operation" in (row.error or "")], "caught by accident"
    failed = {row.tower for row in result.rows if not row.passed}
    assert failed == ({fault.tower} if fault.tower else set()), "the fault shows in its own tower and in no other"
    assert fault.tower or result.contract


def test_a_weight_that_stays_as_it_was_stops_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one_left_out(monkeypatch)
    with pytest.raises(ConversionError, match="could not be stored as pal4"):
        convert("tinyclip-demo", [TargetOptions("coreml", scheme="pal4")], tmp_path / "bundle", towers=("image",))
