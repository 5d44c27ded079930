"""`edgeclip report`: files, exit statuses, and what it prints."""

from __future__ import annotations

import importlib.util

import pytest

from tests.profiles.report_bundles import SIX, write_bundle, write_full


@pytest.fixture
def full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_full(tmp_path / "full")


def test_a_page_at_the_default_place(cli, full, tmp_path):
    result = cli("report", full, "--no-ops")
    assert (result.status, result.out) == (0, "report: report.html\n")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_there_is_not_replaced_unasked(cli, full, tmp_path):
    (tmp_path / "report.md").write_text("mine")
    args = ("report", full, "--no-ops", "--format", "markdown")
    result = cli(*args)
    assert (result.status, result.error) == (
        2,
        "edgeclip: report.md: exists; use --force to replace it, or --out for another file",
    )
    assert (tmp_path / "report.md").read_text() == "mine"
    assert cli(*args, "--force").status == 0
    assert (tmp_path / "report.md").read_text("utf-8").startswith("### edgeclip report")


def test_json_names_what_is_in_it(cli, full):
    result = cli("report", full, "--no-ops", "--json", "--out", "r.html")
    assert result.status == 0
    found = result.json
    assert (found["report"], found["format"]) == ("r.html", "html")
    assert found["bundles"] == [
        {
            "path": str(full),
            "model": "tinyclip-demo",
            "artifacts": 6,
            "verified": 6,
            "failed": [],
            "stale": [],
            "missing": [],
        }
    ]
    assert [(device["id"], device["kind"]) for device in found["devices"]] == [
        ("host", "measured"),
        ("android:emulator-5554", "measured"),
        ("phone-14", "estimated"),
    ]
    assert "full: executorch/xnnpack w8 text" in found["pareto"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "Missing argument 'BUNDLE...'"),
        (("nowhere",), "nowhere: not a bundle"),
        (("full", "full"), "a bundle is named twice"),
        (("full", "--format", "pdf"), "format 'pdf'"),
        (("full", "--out", "full"), "--out full: is a folder"),
        (("full", "--out", "no/where.html"), "there is no folder"),
    ],
)
def test_usage(cli, full, args, says):
    result = cli("report", *args, "--no-ops")
    assert result.status == 2
    assert says in result.error


def test_a_missing_extra_is_named_before_anything_is_read(cli, full, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find(name, *rest))
    result = cli("report", "nowhere", "--no-ops")
    assert result.status == 2
    assert result.error.endswith('package matplotlib is not installed: pip install "edgeclip[report]"')
    assert cli("report", full, "--no-ops", "--format", "markdown").status == 0  # needs neither


def test_an_altered_artifact_is_an_error(cli, full):
    result = cli("report", full)
    assert result.status == 2  # its artifacts are not there at all
    assert "missing; the manifest lists it" in result.error


def test_what_to_run_is_said(cli, full, tmp_path):
    bundle = write_bundle(tmp_path / "new", SIX[:1])
    result = cli("report", bundle, "--no-ops", "--format", "markdown")
    assert result.out.splitlines() == [
        f"to add to the report: edgeclip verify {bundle}",
        f"to add to the report: edgeclip profile {bundle}",
        "report: report.md",
    ]


@pytest.mark.slow
def test_operations_of_a_converted_bundle(cli, tiny_bundle, tmp_path):
    """What the page says of the Neural Engine is what `inspect --ane` says."""
    inspected = cli("inspect", tiny_bundle, "--ane", "--json").json
    result = cli("report", tiny_bundle, "--out", tmp_path / "r.html")
    assert result.status == 0
    text = (tmp_path / "r.html").read_text("utf-8")
    for entry in inspected["contents"]:
        for group in entry.get("neural_engine", {"summary": {"findings": []}})["summary"]["findings"]:
            assert f'<td class="name">{group["rule"]}</td>' in text
            assert f">{group['count']}</td>" in text
    assert 'id="table-left"' in text
    assert 'id="table-placement"' in text
