"""Damaged, hostile or impossible input: one clear line, status 2, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeclip import plugins
from edgeclip.manifest import MANIFEST_FILE, Bundle, content_sha256, size_bytes
from edgeclip.plugins import Plugin

pytestmark = pytest.mark.slow

PACKAGE = "coreml/tinyclip_demo_image.mlpackage"
MODEL_FILE = f"{PACKAGE}/Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = f"{PACKAGE}/Data/com.apple.CoreML/weights/weight.bin"
PROGRAM = "executorch/tinyclip_demo_image.pte"


def _damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "emptied":
        content = bytearray()
    else:
        for place in range(len(content) // 3, len(content), max(1, len(content) // 50)):
            content[place] ^= 0xFF
    path.write_bytes(bytes(content))


def _restate_hashes(bundle: Path) -> None:
    """Make the manifest agree with what is there, as whoever tampers with a bundle would."""
    path = bundle / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    for entry in manifest["artifacts"] + manifest["files"]:
        entry["sha256"] = content_sha256(bundle / entry["path"])
        entry["size_bytes"] = size_bytes(bundle / entry["path"])
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "file", [MODEL_FILE, WEIGHTS, PROGRAM, "golden.npz", "golden.json", "tokenizer/vocab.json", "LICENSE.txt"]
)
@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_damage_is_caught_by_its_hash(cli, bundle_copy, file, how):
    _damage(bundle_copy / file, how)
    result = cli("inspect", bundle_copy)
    assert result.status == 2
    assert "content differs from the hash in edgeclip.json" in result.error


@pytest.mark.parametrize("command", ["verify", "classify"])
@pytest.mark.parametrize("file", [MODEL_FILE, PROGRAM])
def test_commands_check_the_hash_before_they_load(cli, bundle_copy, tmp_path, command, file):
    _damage(bundle_copy / file, "flipped")
    from PIL import Image

    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    runtime = ["--runtime", "mil" if file == MODEL_FILE else "executorch"]
    arguments = [tmp_path / "x.png", "--labels", "a,b"] if command == "classify" else []
    result = cli(command, bundle_copy, *arguments, *runtime)
    assert result.status == 2
    assert "content differs from the hash" in result.error


@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped"])
def test_a_damaged_program_with_a_matching_hash_does_not_crash_us(cli, bundle_copy, tmp_path, how):
    from PIL import Image

    _damage(bundle_copy / PROGRAM, how)
    _restate_hashes(bundle_copy)
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    result = cli("classify", bundle_copy, tmp_path / "x.png", "--labels", "a,b", "--runtime", "executorch")
    if result.status == 0:  # flipped bytes may all be weights
        assert how == "flipped"
    else:
        assert result.status == 2
        assert PROGRAM in result.error
        assert "ExecuTorch cannot" in result.error
    after = cli("verify", bundle_copy, "--runtime", "mil")
    assert after.status == 0, "the process lives and works on"


@pytest.mark.parametrize("how", ["truncated", "emptied", "flipped"])
@pytest.mark.parametrize("file", [MODEL_FILE, WEIGHTS])
def test_a_damaged_package_with_a_matching_hash_is_refused(cli, bundle_copy, tmp_path, file, how):
    from PIL import Image

    _damage(bundle_copy / file, how)
    _restate_hashes(bundle_copy)
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    result = cli("classify", bundle_copy, tmp_path / "x.png", "--labels", "a,b", "--runtime", "mil")
    if (file, how) == (WEIGHTS, "flipped") and result.status == 0:
        return  # other weights, but weights
    assert result.status == 2
    assert "tinyclip_demo_image.mlpackage" in result.error


def test_verify_finds_changed_weights_that_load(cli, bundle_copy):
    path = bundle_copy / WEIGHTS
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60_000] = content[middle - 60_000 : middle]
    path.write_bytes(bytes(content))
    _restate_hashes(bundle_copy)
    assert cli("verify", bundle_copy, "--runtime", "mil").status == 1


@pytest.mark.parametrize("content", ["", "{", '{"schema": "edgeclip.bundle/9"}', "[]"])
def test_a_damaged_manifest_is_named(cli, bundle_copy, content):
    (bundle_copy / MANIFEST_FILE).write_text(content)
    for command in ("verify", "inspect"):
        result = cli(command, bundle_copy)
        assert result.status == 2
        assert f"{bundle_copy / MANIFEST_FILE}: not a valid manifest" in result.error
    result = cli("convert", "tinyclip-demo", "--target", "coreml", "--out", bundle_copy)
    assert result.status == 2
    assert (bundle_copy / MANIFEST_FILE).read_text() == content


def test_a_path_out_of_the_bundle_is_refused(cli, bundle_copy):
    path = bundle_copy / MANIFEST_FILE
    path.write_text(path.read_text().replace(PROGRAM, "../../outside.pte"))
    result = cli("verify", bundle_copy)
    assert result.status == 2
    assert "'../../outside.pte' leaves the bundle" in result.error


def test_a_folder_that_is_no_bundle_is_never_overwritten(cli, tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    result = cli("convert", "tinyclip-demo", "--target", "coreml", "--out", tmp_path, "--force")
    assert result.status == 2
    assert "exists and is not a bundle" in result.error
    assert (tmp_path / "precious.txt").read_text() == "x"


def test_a_target_whose_package_is_missing_says_what_to_install(cli, monkeypatch, tmp_path):
    missing = Plugin("coreml", "converters.coreml.target:TARGET", "", ("no_such_package",))
    monkeypatch.setitem(plugins.TARGETS._items, "coreml", missing)
    result = cli("convert", "tinyclip-demo", "--target", "coreml", "--out", tmp_path / "b")
    assert result.status == 2
    assert "coreml: package no_such_package is not installed: pip install no_such_package" in result.error


@pytest.mark.parametrize(
    ("name", "content"),
    [("none.png", None), ("text.png", b"hello"), ("cut.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00")],
)
def test_what_is_no_picture_is_named(cli, tiny_bundle, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = cli("classify", tiny_bundle, tmp_path / name, "--labels", "a,b", "--runtime", "mil")
    assert result.status == 2
    assert name in result.error


@pytest.mark.parametrize(
    ("mode", "size", "said"),
    [
        ("RGB", (1, 1), "1 x 1 pixels"),
        ("RGB", (20_000, 40), "20000 x 40 pixels"),
        ("CMYK", (64, 64), "CMYK"),
        ("I;16", (64, 64), "more than 8 bits"),
    ],
)
def test_pictures_that_decoders_disagree_on_are_refused(cli, tiny_bundle, tmp_path, mode, size, said):
    from PIL import Image

    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new(mode, size).save(path)
    Image.new("RGB", (64, 64)).save(tmp_path / "z.png")
    for arguments in (["classify", tiny_bundle, path, "--labels", "a,b"], ["verify", tiny_bundle, "--images", tmp_path]):
        result = cli(*arguments, "--runtime", "mil")
        assert result.status == 2
        assert f"{path}: {said}" in result.error


@pytest.mark.parametrize(
    ("texts", "said"), [(None, "no such file"), (b"", "0 lines; give 2 to"), (b"\xff\xfe\x00", "not UTF-8 text")]
)
def test_bad_texts_are_named(cli, tiny_bundle, tmp_path, texts, said):
    path = tmp_path / "texts.txt"
    if texts is not None:
        path.write_bytes(texts)
    result = cli("verify", tiny_bundle, "--texts", path)
    assert result.status == 2
    assert said in result.error


def test_one_picture_or_one_text_proves_nothing(cli, tiny_bundle, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    (tmp_path / "texts.txt").write_text("a dog\n")
    assert "1 pictures; give 2 to 2000" in cli("verify", tiny_bundle, "--images", tmp_path).error
    assert "1 lines; give 2 to 10000" in cli("verify", tiny_bundle, "--texts", tmp_path / "texts.txt").error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["weights"]["licence"].update(name="MIT"), "weights.licence.name is MIT"),
        (lambda m: m["artifacts"][0]["outputs"][0].update(name="embedding"), "the manifest states otherwise"),
        (lambda m: m["artifacts"][-1]["inputs"][0].update(shape=[1, 7]), "they are text tensor int32 [1, 77]"),
        (lambda m: m["artifacts"][0].update(size_bytes=1), "size_bytes of coreml/tinyclip_demo_image.mlpackage is 1, it has"),
    ],
)
def test_a_manifest_that_states_what_is_not_so_fails(cli, bundle_copy, change, said):
    manifest = json.loads((bundle_copy / MANIFEST_FILE).read_text())
    change(manifest)
    (bundle_copy / MANIFEST_FILE).write_text(json.dumps(manifest))
    result = cli("verify", bundle_copy, "--runtime", "mil")
    assert result.status == 1
    assert said in result.out


def test_golden_embeddings_of_something_else_fail(cli, bundle_copy):
    import numpy as np

    with np.load(bundle_copy / "golden.npz") as stored:
        arrays = dict(stored)
    arrays["text_embeddings"] = arrays["text_embeddings"][::-1]
    np.savez_compressed(bundle_copy / "golden.npz", **arrays)
    _restate_hashes(bundle_copy)
    result = cli("verify", bundle_copy, "--runtime", "mil")
    assert result.status == 1
    assert "golden.npz: text embeddings differ from the original's" in result.out
    assert "golden.json: texts are not those of golden.npz" in result.out


def test_weights_are_not_read_from_where_a_manifest_says(cli, bundle_copy):
    path = bundle_copy / MANIFEST_FILE
    path.write_text(path.read_text().replace('"source": "demo"', '"source": "/etc/passwd"'))
    result = cli("verify", bundle_copy)
    assert result.status == 2
    assert "not a valid manifest" in result.error


def test_an_artifact_that_nothing_here_runs_is_no_pass(cli, bundle_copy, monkeypatch):
    missing = Plugin("executorch", "edgeclip.reference.executorch_runtime:RUNTIME", "", ("no_such_package",))
    monkeypatch.setitem(plugins.RUNTIMES._items, "executorch", missing)
    result = cli("verify", bundle_copy)
    assert result.status == 2
    assert "NOT RUN executorch fp32 text:" in result.out
    assert "executorch: package no_such_package is not installed: pip install no_such_package" in result.out
    assert "2 of 4 not run, so not verified" in result.out
    before = (bundle_copy / "verify.json").read_bytes()
    restricted = cli("verify", bundle_copy, "--runtime", "mil")
    assert restricted.status == 0
    assert "not run: executorch/xnnpack fp32 image" in restricted.out
    after = (bundle_copy / "verify.json").read_bytes()
    assert after == before, "a part is not recorded as the whole"


def test_a_result_that_cannot_be_written_is_still_told(cli, bundle_copy):
    (bundle_copy / "verify.json").mkdir()
    result = cli("verify", bundle_copy, "--json")
    assert result.status == 0
    assert result.json["passed"] is True
    assert "verify.json: cannot be written" in result.err
    assert not list(bundle_copy.glob(".verify*"))


@pytest.mark.parametrize("content", ['{"a</w>": "1"}', "[" * 100_000, "{}", '{"a": -1}'])
def test_a_vocabulary_that_is_none_is_named(cli, bundle_copy, content):
    (bundle_copy / "tokenizer" / "vocab.json").write_text(content)
    _restate_hashes(bundle_copy)
    result = cli("verify", bundle_copy, "--runtime", "mil")
    assert result.status == 2
    assert "tokenizer files cannot be used" in result.error


def test_code_beside_a_bundle_is_not_run(bundle_copy):
    """The worker that runs `.pte` files must not import what lies in the current folder."""
    from PIL import Image

    Image.new("RGB", (9, 9)).save(bundle_copy / "x.png")
    for name in ("resource", "struct", "torch", "numpy", "edgeclip"):
        (bundle_copy / f"{name}.py").write_text(f"open('ran-{name}', 'w')\n")
    code = "import sys; sys.path[:] = [p for p in sys.path if p] + sys.argv[1:2]; from edgeclip.cli.main import main; "
    code += "main(sys.argv[2:])"
    command = [sys.executable, "-c", code, str(Path(__file__).parents[2])]
    command += ["classify", ".", "x.png", "--labels", "a,b", "--runtime", "executorch"]
    done = subprocess.run(command, cwd=bundle_copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(bundle_copy.glob("ran-*"))


def test_extending_keeps_what_the_manifest_does_not_list(cli, bundle_copy):
    (bundle_copy / "NOTES.md").write_text("mine")
    (bundle_copy / "coreml" / "compiled.mlmodelc").mkdir()
    (bundle_copy / "coreml" / "compiled.mlmodelc" / "x").write_text("compiled")
    (bundle_copy / "verify.json").write_text("{}")
    done = cli("convert", "tinyclip-demo", "--target", "coreml", "--scheme", "w8", "--out", bundle_copy, "--force")
    assert done.status == 0, done.err
    assert (bundle_copy / "NOTES.md").read_text() == "mine"
    assert (bundle_copy / "coreml" / "compiled.mlmodelc" / "x").read_text() == "compiled"
    assert not (bundle_copy / "verify.json").exists()
    labels = {artifact.label for artifact in Bundle.open(bundle_copy).manifest.artifacts}
    assert labels == {f"{name} {tower}" for name in ("coreml w8", "executorch/xnnpack fp32") for tower in ("image", "text")}


def test_folders_that_cannot_be_exchanged_are_refused_at_once(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("convert", "tinyclip-demo", "--target", "coreml", "--out", ".")
    assert result.status == 2
    assert "use --out with a folder in it" in result.error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", "--target", "coreml"], "unknown model ''"),
        (["tinyclip-demo", "--target", "coreml", "--weights", ""], "--weights: empty"),
        (
            ["--target", "coreml", "--target", "executorch", "--scheme", "pal4"],
            "executorch can do fp32, fp16, w8, w8a8, w4, auto; give each target",
        ),
    ],
)
def test_options_that_say_nothing_or_too_much(cli, tmp_path, arguments, said):
    result = cli("convert", *arguments, "--out", tmp_path / "b")
    assert result.status == 2
    assert said in result.error


def test_a_closed_pipe_is_neither_success_nor_a_failed_check():
    command = [sys.executable, "-m", "edgeclip", "models"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    child.stdout.close()
    assert child.wait(timeout=60) == 141
    assert child.stderr.read() == b""
    child.stderr.close()


def test_a_folder_without_pictures_is_named(cli, tiny_bundle, tmp_path):
    assert "no pictures in it" in cli("verify", tiny_bundle, "--images", tmp_path).error
    assert "no such folder" in cli("verify", tiny_bundle, "--images", tmp_path / "none").error


def test_a_runtime_that_cannot_run_the_bundle_is_said(cli, tmp_path, tiny_bundle):
    result = cli("verify", tiny_bundle, "--runtime", "torch")
    assert result.status == 2
    assert "cannot be run here with --runtime torch: coreml fp16 image" in result.error


def test_a_trace_of_nothing_is_refused(cli, tmp_path, tiny_bundle):
    result = cli("verify", tiny_bundle, "--runtime", "executorch", "--trace", tmp_path / "trace")
    assert result.status == 2
    assert "none of the artifacts to verify" in result.error
    assert not (tmp_path / "trace").exists()


def test_a_disk_that_fills_up_is_one_clear_error(tmp_path):
    """A limit on the size of files stands for a full disk: the first large file cannot be written."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "from edgeclip.cli.main import main;"
        f"main(['convert', 'tinyclip-demo', '--target', 'executorch', '--out', {str(tmp_path / 'b')!r}])"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert result.returncode == 2, result.stderr
    assert "no room left on the disk" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.glob(".b*"))


def test_too_little_room_is_said_before_starting(cli, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("edgeclip.needs.shutil.disk_usage", lambda path: usage._replace(free=1_000_000))
    result = cli("convert", "tinyclip-demo", "--target", "coreml", "--out", tmp_path / "b")
    assert result.status == 2
    assert "MB on the disk, 0 MB are free" in result.error


def test_weights_from_a_file_are_found_again_and_must_be_the_same(cli, tmp_path, tiny_bundle):
    import torch

    from edgeclip.models import MODELS
    from edgeclip.models.seeded import seeded_pair

    spec = MODELS["tinyclip-demo"]
    for seed in (5, 6):
        torch.save(seeded_pair(spec, seed).state_dict(), tmp_path / f"{seed}.pt")
    out = tmp_path / "bundle"
    assert cli("convert", "tinyclip-demo", "--target", "coreml", "--weights", tmp_path / "5.pt", "--out", out).status == 0
    assert Bundle.open(out).manifest.weights.source == "file:5.pt"
    assert cli("verify", out).status == 0, "found again without being named"
    wrong = cli("verify", out, "--weights", tmp_path / "6.pt")
    assert wrong.status == 2
    assert "are not those of the bundle" in wrong.error
    (tmp_path / "5.pt").unlink()
    gone = cli("verify", out)
    assert gone.status == 2
    assert "made from a file 5.pt" in gone.error
    assert "pass --weights FILE" in gone.error
