"""`edgeclip labels`, and pictures classified with what it wrote."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from msgspec import structs

from edgeclip.apps import labels as making
from edgeclip.apps.label_bank import read_label_bank
from edgeclip.apps.labels import make_label_bank
from edgeclip.data import scenes
from edgeclip.errors import BundleError, InputError, UsageError
from edgeclip.manifest import MANIFEST_FILE, Bundle
from edgeclip.progress import Task
from tests.apps.small_apps import COREML, write_bundle

LABELS = ("a red circle", "a blue star", "an orange ring", "a green heart", "a yellow moon")
TEMPLATES = ("{}", "a drawing of {}")


class _Runtime:
    """Gives a prompt's number in the batch of all, so that what is averaged can be told."""

    name = "counting"

    def __init__(self, value=None, dim=4):
        self.value, self.dim, self.batches = value, dim, []

    def modes(self, scheme):
        return ("native",)

    @contextmanager
    def open(self, bundle, artifact, mode):
        assert artifact.tower == "text"
        yield self

    def encode(self, batch):
        self.batches.append(len(batch))
        rows = np.zeros((len(batch), self.dim), np.float32)
        rows[np.arange(len(batch)), batch[:, 0] % 4] = 1 if self.value is None else self.value
        return rows


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A bundle without a model in it, and what runs it."""
    write_bundle(tmp_path / "bundle", COREML)
    runtime = _Runtime()
    monkeypatch.setattr(
        making, "load_tokenizer", lambda bundle: lambda texts: np.array([[len(text)] for text in texts], np.int32)
    )
    monkeypatch.setattr(
        making, "choose_runtime", lambda bundle, name, towers: (runtime, {"text": bundle.manifest.artifacts[1]})
    )
    return tmp_path / "bundle", tmp_path / "bank.safetensors", runtime


def test_labels_are_encoded_in_parts_and_progress_is_told(small):
    bundle, out, runtime = small
    names = [f"{'x' * (index % 7 + 1)} {index}" for index in range(1000)]
    told = []

    @contextmanager
    def progress(what):
        task = Task()
        task.advance = lambda done, total, unit="": told.append((done, total, unit))
        yield task

    result = make_label_bank(bundle, names, out, TEMPLATES, progress=progress)
    assert sum(runtime.batches) == 2000
    assert max(runtime.batches) <= 256
    assert told[-1] == (2000, 2000, "prompts")
    assert len(told) > 3
    bank = read_label_bank(out)
    assert bank.labels == tuple(names)
    assert bank.templates == TEMPLATES
    assert bank.space_id == "space-1"
    assert result.size_bytes == out.stat().st_size
    lengths = [[len(template.replace("{}", name)) for template in TEMPLATES] for name in names]
    expected = np.zeros((1000, 4))
    for row, pair in zip(expected, lengths, strict=True):
        for length in pair:
            row[length % 4] += 0.5
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(bank.embeddings, expected, atol=5e-4)


def test_a_thousand_labels_take_less_than_a_megabyte(small):
    """512 values each in float16, and labels of 16 characters: ImageNet's have 13 in the mean."""
    bundle, out, runtime = small
    opened = Bundle.open(bundle)
    large = structs.replace(opened.manifest, embedding=structs.replace(opened.manifest.embedding, dim=512))
    (bundle / MANIFEST_FILE).write_bytes(large.to_json())
    runtime.dim = 512
    result = make_label_bank(bundle, [f"kind of dog, {index:03}" for index in range(1000)], out)
    assert result.bank.embeddings.shape == (1000, 512)
    assert result.size_bytes < 2**20


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(small, value):
    bundle, out, runtime = small
    runtime.value = value
    with pytest.raises(BundleError, match="coreml fp16 text in counting gives no embeddings"):
        make_label_bank(bundle, ["a"], out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("labels", "templates", "precision", "said"),
    [
        ([], ["{}"], "fp16", "one or more labels"),
        (["a", " "], ["{}"], "fp16", "none of them empty"),
        (["a", "b", "a"], ["{}"], "fp16", r"given twice \('a'\)"),
        (["a"], ["photo"], "fp16", "exactly once"),
        (["a"], ["{}"], "fp8", "unknown precision"),
        ([str(n) for n in range(100_001)], ["{}"], "fp16", "100001 labels; give up to 100000"),
        ([str(n) for n in range(60_000)], [f"{{}} {n}" for n in range(100)], "fp16", "are 6000000 prompts"),
    ],
)
def test_what_cannot_be_encoded_is_refused_before_anything_runs(small, labels, templates, precision, said):
    bundle, out, runtime = small
    with pytest.raises(UsageError, match=said):
        make_label_bank(bundle, labels, out, templates, precision)
    assert runtime.batches == []
    assert not out.exists()


def test_a_folder_is_no_place_for_a_bank(small, tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        make_label_bank(small[0], ["a"], tmp_path)


def test_a_place_that_cannot_be_written_is_found_before_anything_runs(small, tmp_path):
    bundle, _, runtime = small
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: cannot be written"):
        make_label_bank(bundle, ["a"], tmp_path / "file" / "bank.safetensors")
    assert runtime.batches == []


def test_more_than_apps_read_is_refused_before_anything_runs(small, monkeypatch):
    bundle, out, runtime = small
    monkeypatch.setattr(making, "MAX_BYTES", 16)
    with pytest.raises(UsageError, match="3 labels take 24 bytes in fp16, and apps read 16"):
        make_label_bank(bundle, ["a", "b", "c"], out)
    assert runtime.batches == []


@pytest.mark.parametrize("option", ["--labels", "--templates"])
def test_what_is_read_is_not_written_over(cli, small, tmp_path, option):
    files = {"--labels": tmp_path / "labels.txt", "--templates": tmp_path / "templates.txt"}
    files["--labels"].write_text("a\n")
    files["--templates"].write_text("a {}\n")
    given = [part for name, path in files.items() for part in (name, path)]
    result = cli("labels", small[0], *given, "--out", files[option])
    assert result.status == 2
    assert f"is the file of {option}" in result.error
    assert files[option].read_text().startswith("a")


@pytest.fixture
def drawn(tmp_path):
    """A picture of each of the first labels."""
    paths = []
    for index, scene in enumerate(scenes.scenes(4, seed=3)):
        paths.append(tmp_path / f"{index}.png")
        scenes.draw(scene, 96).save(paths[-1])
    return paths


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp16", 2e-3)])
def test_a_bank_classifies_as_its_labels_do(cli, tiny_bundle, tmp_path, drawn, precision, tolerance):
    (tmp_path / "labels.txt").write_text("\n\n".join(LABELS))
    (tmp_path / "templates.txt").write_text("# two\n" + "\n".join(TEMPLATES))
    bank = tmp_path / "banks" / "my.safetensors"
    made = cli(
        "labels", tiny_bundle, "--labels", tmp_path / "labels.txt", "--out", bank, "--precision", precision,
        "--templates", tmp_path / "templates.txt", "--json",
    )  # fmt: skip
    assert made.status == 0
    assert (made.json["labels"], made.json["templates"], made.json["size_bytes"]) == (5, 2, bank.stat().st_size)
    options = [option for template in TEMPLATES for option in ("--template", template)]
    wanted = cli("classify", tiny_bundle, *drawn, "--labels", ",".join(LABELS), *options, "--json").json["images"]
    found = cli("classify", tiny_bundle, *drawn, "--label-bank", bank, "--json").json["images"]
    for one, other in zip(wanted, found, strict=True):
        cosines = [{score["label"]: score["cosine"] for score in image["scores"]} for image in (one, other)]
        assert cosines[0] == pytest.approx(cosines[1], abs=tolerance)


@pytest.mark.slow
def test_towers_that_are_alone(cli, bundle_copy, tmp_path, drawn):
    """Labels take the text tower only, and a picture with a bank the image tower only."""
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    manifest = json.loads((bundle_copy / MANIFEST_FILE).read_text())

    def only(tower):
        folder = tmp_path / tower
        shutil.copytree(bundle_copy, folder, dirs_exist_ok=True)
        kept = [artifact for artifact in manifest["artifacts"] if artifact["tower"] == tower]
        (folder / MANIFEST_FILE).write_text(json.dumps({**manifest, "artifacts": kept}))
        return folder

    image, text, bank = only("image"), only("text"), tmp_path / "my.safetensors"
    refused = cli("labels", image, "--labels", tmp_path / "labels.txt", "--out", bank)
    assert refused.status == 2
    assert "has no text tower (it holds coreml fp16 image, executorch/xnnpack fp32 image)" in refused.error
    assert cli("labels", text, "--labels", tmp_path / "labels.txt", "--out", bank).status == 0
    assert cli("classify", image, *drawn, "--label-bank", bank).status == 0
    assert "has no image tower" in cli("classify", text, *drawn, "--label-bank", bank).error
    manifest["embedding"]["space_id"] = "another"
    result = cli("classify", only("image"), *drawn, "--label-bank", bank)
    assert result.status == 2
    assert "make it anew with `edgeclip labels" in result.error
