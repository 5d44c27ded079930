"""Who takes part, what is kept of them, and that a fast wrong answer is not a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeclip.errors import UsageError
from edgeclip.plugins import TARGETS
from edgeclip.verify.metrics import unit

RNG = np.random.RandomState(0)
INPUTS = RNG.rand(4, 3, 2, 2).astype(np.float32)
MIX = RNG.randn(12, 6)


@dataclass
class Report:
    """What a child would have sent."""

    refusals: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict] = field(default_factory=dict)

    def doing(self, contender, step=None):
        return

    def refused(self, contender, why):
        self.refusals[contender] = why

    def found(self, contender, facts):
        self.facts[contender] = facts


def _right(sample: np.ndarray) -> np.ndarray:
    return unit(sample.reshape(1, -1) @ MIX)


def _contender(name, encode, **changed):
    from latency.contender import Contender

    return Contender(name=name, label=name, packages=(), load=lambda case, folder, threads: encode, **changed)


def _measured(*contenders):
    from latency.work import TASKS

    case = SimpleNamespace(reference=SimpleNamespace(inputs=INPUTS, embeddings=np.concatenate([_right(x) for x in INPUTS])))
    task = {"threads": 1, "rounds": 2, "runs": 1, "folders": {c.name: "" for c in contenders}}
    report = Report()
    TASKS["measure"](task, case, list(contenders), report)
    return report


def test_a_right_answer_is_timed_and_its_cosine_kept():
    report = _measured(_contender("right", _right), _contender("longer", lambda x: 3 * _right(x)))
    assert report.refusals == {}
    assert report.facts["right"]["latency_ms"]["n"] == 2
    assert [facts["cosine_min"] for facts in report.facts.values()] == [1.0, 1.0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: -_right(x),
        lambda x: _right(INPUTS[:1]),  # the same for every input
        lambda x: np.full((1, 6), np.nan),
        lambda x: _right(x) + 0.02 * RNG.randn(1, 6),  # as a wrong epsilon or GELU would be off, and more
    ],
)
def test_a_wrong_answer_is_refused_whatever_its_speed(wrong):
    report = _measured(_contender("wrong", wrong), _contender("right", _right))
    assert set(report.facts) == {"right"}
    assert report.refusals["wrong"].startswith("wrong: cosine")


def test_an_answer_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match=r"embeddings of shape \[3\], not \[6\]"):
        _measured(_contender("short", lambda x: _right(x)[:, :3]))


def test_the_bar_is_lower_where_numbers_are_rounded_on_purpose():
    from latency.contender import LOSSY_COSINE

    coarse = partial(np.round, decimals=1)
    rounded = _contender("int8", lambda x: coarse(_right(x)), least_cosine=LOSSY_COSINE)
    assert set(_measured(rounded).facts) == {"int8"}
    assert set(_measured(_contender("fp32", lambda x: coarse(_right(x)))).refusals) == {"fp32"}


def test_every_scheme_of_the_target_takes_part_first_and_is_ours():
    from peers.table import contenders

    table = contenders()
    schemes = TARGETS["executorch"].load().schemes
    assert list(table)[: len(schemes)] == [f"edgeclip-{scheme}" for scheme in schemes]
    assert [contender.name for contender in table.values() if contender.ours] == list(table)[: len(schemes)]
    assert "straight" in table
    with pytest.raises(UsageError, match="known:"):
        contenders(["fp32"])["edgeclip-w8"]


def test_sources_exist():
    from latency.contender import ROOT
    from peers.table import contenders

    for contender in contenders().values():
        assert all((ROOT / source).exists() for source in contender.sources), contender.name


def test_peers_are_imported_when_they_are_used_only():
    import subprocess
    import sys

    benchmarks = str(Path(__file__).parents[2] / "benchmarks")
    heavy = {"torch", "executorch", "onnx", "onnxruntime", "openvino", "MNN", "ncnn", "pnnx", "litert_torch", "matplotlib"}
    code = f"import sys; sys.path.insert(0, {benchmarks!r}); import latency_vs_peers; print(*({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == ""


def test_an_artifact_is_made_once_and_anew_when_its_sources_change(tmp_path, monkeypatch):
    from latency import contender as module

    made: list[Path] = []

    def build(case, folder):
        made.append(folder)
        (folder / "a.bin").write_bytes(b"12345")

    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "edgeclip" / "models").mkdir(parents=True)
    source = tmp_path / "maker.py"
    source.write_text("1")
    case = SimpleNamespace(folder=tmp_path / "case")
    one = _contender("one", _right, build=build, sources=("maker.py",))
    folder = one.made(case)
    assert one.made(case) == folder
    assert len(made) == 1
    assert one.size_bytes(case, folder) == 5
    source.write_text("2")
    assert one.made(case) != folder
    assert len(made) == 2


def test_a_build_that_fails_leaves_nothing_that_looks_built(tmp_path):
    def build(case, folder):
        (folder / "half").write_bytes(b"1")
        raise RuntimeError("no such operator")

    broken = _contender("broken", _right, build=build)
    case = SimpleNamespace(folder=tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such operator"):
            broken.made(case)
