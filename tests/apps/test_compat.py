"""May an index of one bundle be searched with another?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from edgeclip.apps.compat import CompatOptions, K, compat, differences, measured
from edgeclip.data import scenes
from edgeclip.errors import InputError, UsageError
from edgeclip.manifest import MANIFEST_FILE, Bundle, content_sha256, size_bytes
from tests.apps.small_apps import COREML, write_bundle

ROWS, DIM = 300, 32


def _units(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _near(rows: np.ndarray, noise: float, seed: int = 9) -> np.ndarray:
    moved = rows + noise * _units(len(rows), seed)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def _both(image: np.ndarray, text: np.ndarray) -> dict[str, np.ndarray]:
    return {"image": image, "text": text}


def test_the_same_embeddings_find_all():
    image, text = _units(ROWS, 1), _units(50, 2)
    found = measured(image, _both(image, text), _both(image, text), "fp32")
    assert [(one.queries, one.count, one.recall, one.of_itself) for one in found] == [
        ("pictures", ROWS, 1.0, 1.0),
        ("texts", 50, 1.0, 1.0),
    ]


def test_recall_is_what_a_plain_count_gives():
    image, text = _units(ROWS, 1), _units(50, 2)
    moved = _near(text, 0.5)
    (found,) = measured(image, {"text": text}, {"text": moved}, "fp32")
    shares = []
    for query, other in zip(text, moved, strict=True):
        best = [set(sorted(range(ROWS), key=lambda row, q=q: (-float(q @ image[row]), row))[:K]) for q in (query, other)]
        shares.append(len(best[0] & best[1]) / K)
    assert found.recall == pytest.approx(np.mean(shares))
    assert 0.2 < found.recall < 0.95


def test_a_picture_does_not_find_itself():
    """Embeddings that agree with the old ones by nothing but their own row find nothing but chance."""
    image = _units(ROWS, 1)
    (found,) = measured(image, {"image": image}, {"image": _near(image, 30.0)}, "fp32")
    assert found.recall < 4 * K / ROWS


def test_other_weights_find_what_chance_finds():
    image, text = _units(ROWS, 1), _units(50, 2)
    other = _both(_units(ROWS, 3), _units(50, 4))
    assert all(one.recall < 4 * K / ROWS for one in measured(image, _both(image, text), other, "int8"))


def test_what_storing_in_int8_costs_is_counted():
    image = _units(ROWS, 1)
    close = _near(np.repeat(image[:10], ROWS // 10, axis=0), 0.02)  # neighbours that int8 can hardly tell apart
    (exact,) = measured(close, {"image": close}, {"image": close}, "fp32")
    (stored,) = measured(close, {"image": close}, {"image": close}, "int8")
    assert exact.recall == exact.of_itself == 1
    assert stored.recall == stored.of_itself < 0.999


def _bundles(tmp_path: Path, **changes):
    manifest = write_bundle(tmp_path / "a", COREML)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    changed = structs.replace(
        manifest, **{name: structs.replace(getattr(manifest, name), **to) for name, to in changes.items()}
    )
    (tmp_path / "b" / MANIFEST_FILE).write_bytes(changed.to_json())
    return Bundle.open(tmp_path / "a"), Bundle.open(tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"embedding": {"dim": 8}}, "embedding.dim: 4 and 8"),
        ({"image": {"size": 128}}, "image.size: 64 and 128"),
        ({"image": {"interpolation": "bilinear"}}, "image.interpolation: bicubic and bilinear"),
        ({"text": {"context_length": 64}}, "text.context_length: 77 and 64"),
        ({"text": {"clean": "canonicalize"}}, "text.clean: lower and canonicalize"),
    ],
)
def test_what_rules_it_out_is_named(tmp_path, changes, said):
    old, new = _bundles(tmp_path, **changes)
    assert list(differences(old, new)) == [said]
    result = compat(old.path, new.path)
    assert not result.compatible
    assert result.differences == (said,)


def test_the_place_a_vocabulary_came_from_rules_nothing_out_and_its_content_does(tmp_path):
    old, new = _bundles(tmp_path, text={"vocabulary": "file:x"})
    assert list(differences(old, new)) == []
    entries = tuple(
        structs.replace(entry, sha256="1" * 64) if entry.path == "tokenizer/vocab.json" else entry
        for entry in new.manifest.files
    )
    other = Bundle(new.path, structs.replace(new.manifest, files=entries))
    assert list(differences(old, other)) == ["tokenizer/vocab.json: the files differ"]


def test_one_space_and_one_scheme_need_no_measuring(tmp_path):
    old, new = _bundles(tmp_path)
    result = compat(old.path, new.path)
    assert (result.compatible, result.same_space, result.measured) == (True, True, ())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CompatOptions(precision="int4"), "unknown precision 'int4'"),
        (CompatOptions(min_recall=1.5), "--min-recall 1.5"),
        (CompatOptions(min_recall=float("nan")), "--min-recall nan"),
        (CompatOptions(runtime="onnx"), "unknown runtime 'onnx'"),
        (CompatOptions(runtime="executorch"), "runtime executorch can run none"),
    ],
)
def test_wrong_options(tmp_path, options, said):
    old, new = _bundles(tmp_path)
    with pytest.raises(UsageError, match=said):
        compat(old.path, new.path, options)


@pytest.mark.parametrize("option", ["images", "texts"])
def test_samples_that_are_not_there_are_an_error_even_where_none_are_needed(tmp_path, option):
    old, new = _bundles(tmp_path)
    with pytest.raises(InputError, match=f"--{option} .*no such"):
        compat(old.path, new.path, CompatOptions(**{option: tmp_path / "nowhere"}))


@pytest.mark.parametrize("count", [None, 0, 99])
def test_too_few_pictures_show_nothing(tmp_path, count):
    old, new = _bundles(tmp_path, embedding={"space_id": "other"})
    folder = tmp_path / "pictures"
    if count is not None:
        folder.mkdir()
        for index in range(count):
            (folder / f"{index}.png").touch()
    with pytest.raises(InputError, match="no such folder" if count is None else f"{count} pictures; give 100 to 2000"):
        compat(old.path, new.path, CompatOptions(images=folder))


def test_an_image_tower_is_needed_for_an_index(tmp_path):
    write_bundle(tmp_path / "a", COREML[1:])
    write_bundle(tmp_path / "b", COREML)
    with pytest.raises(UsageError, match="has no image tower"):
        compat(tmp_path / "a", tmp_path / "b")


@pytest.fixture
def samples(tmp_path):
    """100 drawn pictures and a few texts, as options."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, scene in enumerate(scenes.scenes(100, seed=5)):
        scenes.draw(scene, 64).save(folder / f"{index:03}.png")
    (tmp_path / "texts.txt").write_text("a red circle\ntwo blue stars\na large green heart\nsmall dotted moons\n")
    return ["--images", folder, "--texts", tmp_path / "texts.txt"]


def _of_another_space(bundle: Path, programs: Path | None = None) -> Path:
    """Give a bundle another space, and the ExecuTorch programs of another bundle."""
    path = bundle / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["embedding"]["space_id"] = "another"
    for artifact in manifest["artifacts"]:
        if programs is not None and artifact["target"] == "executorch":
            (source,) = programs.glob(f"executorch/*_{artifact['tower']}.pte")
            shutil.copyfile(source, bundle / artifact["path"])
            artifact["sha256"] = content_sha256(bundle / artifact["path"])
            artifact["size_bytes"] = size_bytes(bundle / artifact["path"])
    path.write_text(json.dumps(manifest))
    return bundle


@pytest.mark.slow
def test_an_update_that_keeps_the_neighbours(cli, tiny_bundle, bundle_copy, samples):
    result = cli("compat", tiny_bundle, _of_another_space(bundle_copy), *samples, "--json")
    assert result.status == 0
    found = result.json
    assert (found["compatible"], found["same_space"], found["rows"], found["k"]) == (True, False, 100, 10)
    assert [(one["queries"], one["count"]) for one in found["measured"]] == [("pictures", 100), ("texts", 4)]
    assert all(one["recall"] == one["of_itself"] > 0.95 for one in found["measured"])


@pytest.mark.slow
def test_an_update_that_does_not(cli, tiny_bundle, mobile_bundle, bundle_copy, samples):
    """The other demo model's programs take the same inputs and give embeddings of the same size."""
    other = _of_another_space(bundle_copy, mobile_bundle)
    result = cli("compat", tiny_bundle, other, *samples, "--runtime", "executorch")
    assert result.status == 1
    assert "not compatible: recall@10 is" in result.out
    assert "make the index anew" in result.out
    assert cli("compat", tiny_bundle, other, *samples, "--runtime", "executorch", "--min-recall", "0").status == 0


@pytest.mark.slow
def test_models_that_see_pictures_differently(cli, tiny_bundle, mobile_bundle):
    result = cli("compat", tiny_bundle, mobile_bundle)
    assert result.status == 1
    assert "DIFFERENT image." in result.out
    assert "not compatible" in result.out


@pytest.mark.slow
def test_one_space_in_two_schemes_is_measured_and_is_one_space(cli, tiny_bundle, samples, tmp_path):
    """Without its ExecuTorch programs, the same bundle is searched with its Core ML packages."""
    packages = Path(shutil.copytree(tiny_bundle, tmp_path / "packages"))
    manifest = json.loads((packages / MANIFEST_FILE).read_text())
    manifest["artifacts"] = [artifact for artifact in manifest["artifacts"] if artifact["target"] == "coreml"]
    (packages / MANIFEST_FILE).write_text(json.dumps(manifest))
    result = cli("compat", tiny_bundle, packages, *samples)
    assert result.status == 0
    assert "coreml fp16 in mil" in result.out
    assert "compatible: the embedding space is the same" in result.out
    found = cli("compat", tiny_bundle, packages, *samples, "--json").json
    assert all(one["recall"] > 0.95 for one in found["measured"])
