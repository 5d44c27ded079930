"""A contender that dies takes no other with it, and its row says how it died."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

_STUB = """
    import json, os, signal, sys, time
    sys.path.insert(0, {benchmarks!r})
    from latency.child import Reporter

    task = json.loads(sys.argv[2])
    report = Reporter()
    print("native chatter on stdout")
    for name in task["contenders"]:
        report.doing(name)
        if name == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if name == "raises":
            raise ValueError("two\\nlines")
        if name == "exits":
            sys.stderr.write("no such kernel\\n")
            os._exit(3)
        if name == "hangs":
            time.sleep(60)
        if name == "wrong":
            report.refused(name, "wrong: cosine 0.1")
            continue
        report.found(name, {{"threads": os.environ["OMP_NUM_THREADS"]}})
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    from latency import child

    script = tmp_path / "stub.py"
    script.write_text(textwrap.dedent(_STUB).format(benchmarks=str(Path(child.__file__).parents[1])))
    monkeypatch.setattr(child, "SCRIPT", script)
    said: list[str] = []
    return lambda *names, timeout_s=30.0: child.run({"task": "t", "threads": 2}, names, timeout_s, said.append)


def test_facts_come_back_and_chatter_does_not(run):
    gathered = run("a", "b")
    assert gathered.facts == {"a": {"threads": "2"}, "b": {"threads": "2"}}
    assert gathered.failed == {}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("crashes", "crashed with SIGSEGV"),
        ("raises", "ValueError: two lines"),
        ("exits", "ended with status 3: no such kernel"),
        ("wrong", "wrong: cosine 0.1"),
    ],
)
def test_a_death_is_one_row_and_the_others_go_on(run, name, why):
    gathered = run("a", name, "b")
    assert gathered.failed == {name: why}
    assert set(gathered.facts) == {"a", "b"}


def test_what_hangs_is_killed(run):
    gathered = run("a", "hangs", "b", timeout_s=1.5)
    assert "no answer for 2 s" in gathered.failed["hangs"]
    assert set(gathered.facts) == {"a", "b"}


def test_several_deaths(run):
    gathered = run("crashes", "a", "raises")
    assert set(gathered.failed) == {"crashes", "raises"}
    assert set(gathered.facts) == {"a"}
