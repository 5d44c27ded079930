"""What the command line says about itself, and how it fails."""

from __future__ import annotations

import pytest

from edgeclip.cli.main import COMMANDS
from edgeclip.models import MODELS


def test_help_names_every_command(cli):
    result = cli("--help")
    assert result.status == 0
    assert all(command in result.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    result = cli(command, "--help")
    assert result.status == 0
    assert "--json" in result.out
    assert "--verbose" in result.out


def test_models_lists_the_table(cli):
    result = cli("models")
    assert result.status == 0
    for spec in MODELS.values():
        line = next(line for line in result.out.splitlines() if line.startswith(spec.name))
        assert spec.licence.name in line


def test_models_as_json(cli):
    models = {row["name"]: row for row in cli("models", "--json").json["models"]}
    assert models.keys() == set(MODELS)
    row = models["mobileclip-s0"]
    assert {"name", "family", "image_params_m", "text_params_m", "image_size", "licence", "weights"} <= row.keys()
    assert row["image_size"] == 256
    assert row["image_params_m"] == pytest.approx(11.4, abs=0.05)
    assert row["text_params_m"] == pytest.approx(42.4, abs=0.05)
    assert row["commercial_use"] is False
    assert row["licence_url"].startswith("https://")
    assert (row["preprocess"]["mean"], row["preprocess"]["interpolation"]) == ([0.0, 0.0, 0.0], "bilinear")
    assert models["siglip-base-patch16-256"]["tokenizer"]["context_length"] == 64
    assert (row["scoring"], models["siglip-base-patch16-256"]["scoring"]) == ("softmax", "sigmoid")
    assert models["tinyclip-demo"]["cached"] is True
    assert row["cached"] is False


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["frobnicate"], "unknown command 'frobnicate'"),
        (["covert"], "did you mean 'convert'?"),
        (["convert"], "--target"),
        (["convert", "--target"], "--target"),
        (["convert", "--frob"], "--frob"),
        (["convert", "mobilclip-s0", "--target", "coreml"], "did you mean 'mobileclip-s0'?"),
        (["convert", "--target", "corml"], "did you mean 'coreml'?"),
        (["convert", "--target", "coreml", "--scheme", "fp8"], "unknown scheme for coreml 'fp8'"),
        (["convert", "--target", "executorch", "--scheme", "pal4"], "known: fp32, fp16, w8, w8a8, w4, auto"),
        (["convert", "--target", "executorch", "--backend", "vulcan"], "known: xnnpack"),
        (["convert", "--target", "coreml", "--backend", "xnnpack"], "backend for coreml: there is nothing to choose"),
        (["convert", "--target", "coreml", "--min-os", "iOS12"], "known: iOS17, iOS16, iOS18"),
        (["convert", "tinyclip-demo", "--target", "coreml", "--weights", "hub"], "is not published on the hub"),
        (["convert", "mobileclip-s0", "--target", "coreml", "--weights", "demo"], "weights for mobileclip-demo, tinyclip-demo"),
        (["convert", "--target", "coreml", "--weights", "seeded:x"], "give a number, as in seeded:0"),
        (["convert", "--target", "coreml", "--weights", "nothing"], "neither a file nor one of hub, demo, seeded:N"),
        (["convert", "--target", "coreml", "--weights", "none.pt"], "none.pt: no such file"),
        (["verify"], "BUNDLE"),
        (["verify", "nowhere"], "nowhere: not a bundle (no edgeclip.json)"),
        (["verify", "nowhere", "--runtime", "onnx"], "unknown runtime 'onnx'"),
        (["inspect", "nowhere"], "nowhere: not a bundle"),
        (["classify", "nowhere", "x.png"], "--labels"),
        (["classify", "nowhere", "x.png", "--labels", "a,,b"], "none of them empty"),
        (["classify", "nowhere", "x.png", "--labels", "a,a"], "a label is given twice"),
        (["classify", "nowhere", "x.png", "--labels", "a", "--template", "photo"], "needs {} exactly once"),
        (["classify", "nowhere", "x.png", "--labels", "a", "--labels-file", "l"], "either by --labels or by --labels-file"),
        (["classify", "nowhere", "x.png", "--labels-file", "none.txt"], "none.txt: cannot be read"),
        (["classify", "nowhere", "x.png", "--labels", "a", "--label-bank", "b"], "or by --label-bank"),
        (["classify", "nowhere", "x.png", "--label-bank", "b", "--template", "{}"], "has its templates inside"),
        (["app", "ios", "nowhere"], "--out"),
        (["app", "windows", "nowhere", "--out", "app"], "did you mean 'ios'? known: ios, android"),
        (["app", "ios", "nowhere", "--out", "app"], "nowhere: not a bundle"),
        (["labels", "nowhere", "--out", "bank"], "--labels"),
        (["labels", "nowhere", "--labels", "none.txt", "--out", "bank"], "none.txt: cannot be read"),
        (["compat", "nowhere"], "NEW"),
        (["compat", "nowhere", "elsewhere"], "nowhere: not a bundle"),
        (["compat", "nowhere", "elsewhere", "--runtime", "onnx"], "unknown runtime 'onnx'"),
        (["compat", "nowhere", "elsewhere", "--min-recall", "90"], "--min-recall 90: give a share from 0 to 1"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_status_2(cli, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli(*args)
    assert result.status == 2
    assert said in result.error
    assert result.out == ""
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_no_command_shows_help(cli):
    result = cli()
    assert result.status == 2
    assert "Commands:" in result.out


def test_a_bug_is_one_line_too_and_a_traceback_with_v(cli, monkeypatch):
    def broken(*args: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("edgeclip.cli.models.print_json", broken)
    result = cli("models", "--json")
    assert result.status == 2
    assert result.error.startswith("edgeclip: internal error: ZeroDivisionError: oh; run again with -v")
    assert "Traceback" in cli("models", "--json", "-v").err


def test_an_interrupt_is_no_traceback(cli, monkeypatch):
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeclip.cli.models.print_json", interrupted)
    result = cli("models", "--json")
    assert result.status == 130
    assert result.error == "edgeclip: interrupted"
