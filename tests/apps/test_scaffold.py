"""An app from templates and a bundle; and again, with what the user did to it in between."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeclip.apps.label_bank import LabelBank, write_label_bank
from edgeclip.apps.record import RECORD_FILE
from edgeclip.apps.scaffold import scaffold
from edgeclip.errors import BundleError, InputError, UsageError
from edgeclip.golden_json import read_golden_json
from edgeclip.manifest import MANIFEST_FILE, Bundle
from edgeclip.spec import Scoring
from tests.apps.small_apps import COREML, TEMPLATES, XNNPACK, tree, write_bundle, write_templates

APP_SWIFT = "EdgeClipDemo/Sources/App.swift"
SEARCH_SWIFT = "EdgeClipDemo/Sources/Search.swift"
INFO_SWIFT = "EdgeClipDemo/Generated/BundleInfo.swift"
BUNDLE = "EdgeClipDemo/Bundles/tinyclip-demo"


@pytest.fixture
def parts(tmp_path):
    """Templates of both platforms, a bundle with all it takes, and where the app goes."""
    root = write_templates(tmp_path / "templates")
    write_bundle(tmp_path / "bundle")
    return root, tmp_path / "bundle", tmp_path / "app"


def _bank(path: Path, space_id: str = "space-1", dim: int = 4) -> Path:
    bank = LabelBank(
        space_id, ("a", "b"), ("{}",), Scoring(kind="softmax", logit_scale=100.0), np.eye(2, dim, dtype=np.float32)
    )
    write_label_bank(path, bank)
    return path


def _change(root: Path, changes: dict[str, str | None]) -> None:
    """What a later version of the iOS templates has: other texts, and None for files that are no more."""
    for relative, text in changes.items():
        (root / "ios" / relative).unlink() if text is None else (root / "ios" / relative).write_text(text)


def _check_bundle(place: Path) -> Bundle:
    """All that the manifest lists is there with its hash, and nothing else is."""
    bundle = Bundle.open(place)
    listed = {MANIFEST_FILE}
    for entry in (*bundle.manifest.artifacts, *bundle.manifest.files):
        path = bundle.verified_path(entry)
        listed |= {f"{entry.path}/{name}" for name in tree(path)} if path.is_dir() else {entry.path}
    assert tree(place).keys() == listed
    return bundle


def test_a_new_ios_app(parts):
    root, bundle, app = parts
    result = scaffold("ios", bundle, app, root=root)
    assert result.created
    assert result.edited == ()
    expected = {*TEMPLATES["ios"], RECORD_FILE} - {"EdgeClipKit/.build/debug/junk.o"}
    found = tree(app)
    assert {path for path in found if not path.startswith(BUNDLE)} == expected
    manifest = _check_bundle(app / BUNDLE).manifest
    assert [artifact.target for artifact in manifest.artifacts] == ["coreml", "coreml", "executorch", "executorch"]
    assert {entry.path for entry in manifest.files} >= {"tokenizer/vocab.json", "golden.json"}
    assert read_golden_json(Bundle.open(app / BUNDLE)).min_cosine.keys() == {artifact.path for artifact in manifest.artifacts}
    info = found[INFO_SWIFT].decode()
    assert 'static let folder = "Bundles/tinyclip-demo"' in info
    assert 'static let imageArtifact = "coreml/ml_image.mlpackage"' in info
    assert "static let labelBank: String? = nil" in info
    assert [path.name for path in app.parent.iterdir() if path.name.startswith(".")] == []


def test_a_new_android_app(parts):
    root, bundle, app = parts
    scaffold("android", bundle, app, root=root)
    manifest = _check_bundle(app / "demo/src/main/assets/bundles/tinyclip-demo").manifest
    assert {artifact.path for artifact in manifest.artifacts} == {"executorch/xnnpack_image.pte", "executorch/xnnpack_text.pte"}
    info = (app / "demo/src/main/kotlin/dev/edgeclip/demo/BundleInfo.kt").read_text()
    assert 'const val spaceId = "space-1"' in info
    assert 'val textArtifact: String? = "executorch/xnnpack_text.pte"' in info
    assert os.access(app / "gradlew", os.X_OK)
    assert not os.access(app / "gradle/libs.versions.toml", os.X_OK)
    assert not (app / "local.properties").exists()


def test_one_target_only(parts):
    root, bundle, app = parts
    result = scaffold("ios", bundle, app, targets=("executorch",), root=root)
    assert {artifact.target for artifact in _check_bundle(app / BUNDLE).manifest.artifacts} == {"executorch"}
    assert [reason for _, reason in result.selection.left_out] == ["--target executorch leaves it out"] * 2


def test_with_a_label_bank_only_the_image_tower_is_shipped(parts, tmp_path):
    root, bundle, app = parts
    scaffold("ios", bundle, app, labels=_bank(tmp_path / "my.safetensors"), root=root)
    manifest = _check_bundle(app / BUNDLE).manifest
    assert {artifact.tower for artifact in manifest.artifacts} == {"image"}
    assert {entry.path for entry in manifest.files} == {"LICENSE.txt", "golden.json", "golden.npz", "labels.safetensors"}
    info = (app / INFO_SWIFT).read_text()
    assert "static let textArtifact: String? = nil" in info
    assert 'static let labelBank: String? = "labels.safetensors"' in info


@pytest.mark.parametrize(("bank", "said"), [({"space_id": "x"}, "is of space x"), ({"dim": 8}, "is of embeddings of 8")])
def test_a_label_bank_of_something_else_is_refused(parts, tmp_path, bank, said):
    root, bundle, app = parts
    with pytest.raises(InputError, match=said):
        scaffold("ios", bundle, app, labels=_bank(tmp_path / "my.safetensors", **bank), root=root)
    assert not app.exists()


def _times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_same_again_changes_nothing(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    before = _times(app)
    result = scaffold("ios", bundle, app, root=root)
    after = _times(app)
    assert (result.created, result.written, result.bundle_changed) == (False, (), False)
    assert {path: time for path, time in after.items() if path != str(app)} == before


def test_edits_are_left_and_the_rest_is_brought_up_to_date(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    (app / APP_SWIFT).write_text("mine")
    (app / SEARCH_SWIFT).unlink()
    (app / INFO_SWIFT).write_text("not to be edited")
    (app / "EdgeClipDemo/Mine.swift").write_text("mine too")
    _change(
        root, {APP_SWIFT: "new", SEARCH_SWIFT: "new", "EdgeClipKit/.gitignore": "new", "EdgeClipDemo/Sources/New.swift": "new"}
    )
    result = scaffold("ios", bundle, app, root=root)
    assert set(result.edited) == {APP_SWIFT, SEARCH_SWIFT}
    assert {"EdgeClipKit/.gitignore", "EdgeClipDemo/Sources/New.swift"} <= set(result.written)
    found = tree(app)
    assert found[APP_SWIFT] == b"mine"
    assert SEARCH_SWIFT not in found
    assert found["EdgeClipDemo/Mine.swift"] == b"mine too"
    assert found["EdgeClipKit/.gitignore"] == b"new"
    assert b"enum BundleInfo" in found[INFO_SWIFT]
    again = scaffold("ios", bundle, app, root=root)
    assert (again.written, set(again.edited)) == ((), {APP_SWIFT, SEARCH_SWIFT})


def test_an_edit_that_is_taken_back_is_none(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    (app / APP_SWIFT).write_text("mine")
    _change(root, {APP_SWIFT: "new"})
    assert scaffold("ios", bundle, app, root=root).edited == (APP_SWIFT,)
    (app / APP_SWIFT).write_text(TEMPLATES["ios"][APP_SWIFT])
    assert scaffold("ios", bundle, app, root=root).written == (APP_SWIFT,)
    assert (app / APP_SWIFT).read_text() == "new"


def test_what_the_templates_have_no_more_goes_unless_it_was_edited(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    (app / APP_SWIFT).write_text("mine")
    _change(root, {APP_SWIFT: None, SEARCH_SWIFT: None})
    result = scaffold("ios", bundle, app, root=root)
    assert (result.removed, result.edited) == ((SEARCH_SWIFT,), (APP_SWIFT,))
    assert (app / APP_SWIFT).read_text() == "mine"
    assert not (app / SEARCH_SWIFT).exists()


def test_a_file_of_the_users_in_the_place_of_a_new_template_stays(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    (app / "EdgeClipDemo/Sources/New.swift").write_text("mine")
    _change(root, {"EdgeClipDemo/Sources/New.swift": "new"})
    for _ in range(2):
        assert scaffold("ios", bundle, app, root=root).edited == ("EdgeClipDemo/Sources/New.swift",)
    assert (app / "EdgeClipDemo/Sources/New.swift").read_text() == "mine"


def test_another_bundle_takes_the_place_of_the_first(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    write_bundle(bundle, content="trained further", space_id="space-2")
    assert scaffold("ios", bundle, app, root=root).bundle_changed
    assert _check_bundle(app / BUNDLE).manifest.embedding.space_id == "space-2"
    write_bundle(bundle, model="mobileclip-demo")
    scaffold("ios", bundle, app, root=root)
    assert [path.name for path in (app / BUNDLE).parent.iterdir()] == ["mobileclip-demo"]
    assert 'folder = "Bundles/mobileclip-demo"' in (app / INFO_SWIFT).read_text()


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_a_damaged_bundle_in_the_app_is_made_whole(parts, how):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    weights = app / BUNDLE / "coreml/ml_image.mlpackage/Data/weights.bin"
    weights.write_text("x") if how == "changed" else shutil.rmtree(app / BUNDLE)
    assert scaffold("ios", bundle, app, root=root).bundle_changed
    _check_bundle(app / BUNDLE)


class _Killed(BaseException):
    """As if the process ended here."""


def _kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the process end before its `step`-th change to the disk of a kind that puts something in its place."""
    left = [step]

    def counted(change):
        def run(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise _Killed
            return change(*args, **kwargs)

        return run

    for name in ("replace", "rename", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # the dead do not clean up


@pytest.mark.parametrize("model", ["tinyclip-demo", "mobileclip-demo"])
def test_killed_at_any_step_an_update_is_finished_by_the_next(parts, tmp_path, monkeypatch, model):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    (app / "EdgeClipKit/.gitignore").write_text("mine")
    shutil.copytree(app, tmp_path / "first")
    _change(root, {APP_SWIFT: "new", SEARCH_SWIFT: None, "EdgeClipDemo/New.swift": "new"})
    write_bundle(bundle, model=model, space_id="space-2")
    scaffold("ios", bundle, app, root=root)
    wanted = tree(app)
    steps = 0
    while True:
        shutil.rmtree(app)
        shutil.copytree(tmp_path / "first", app)
        with monkeypatch.context() as patch:
            _kill_at(patch, steps)
            patch.setattr(os, "getpid", lambda pid=10**9 + steps: pid)
            try:
                scaffold("ios", bundle, app, root=root)
                break
            except _Killed:
                steps += 1
        result = scaffold("ios", bundle, app, root=root)
        assert result.edited == ("EdgeClipKit/.gitignore",)
        assert tree(app) == wanted, f"killed at step {steps - 1}"
    assert steps > 6


def test_killed_while_it_is_made_there_is_no_app(parts, monkeypatch):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    wanted = tree(app)
    steps = 0
    while True:
        shutil.rmtree(app)
        with monkeypatch.context() as patch:
            _kill_at(patch, steps)
            patch.setattr(os, "getpid", lambda pid=10**9 + steps: pid)
            try:
                scaffold("ios", bundle, app, root=root)
                break
            except _Killed:
                steps += 1
        assert not app.exists()
        scaffold("ios", bundle, app, root=root)
        assert tree(app) == wanted
        assert {path.name for path in app.parent.iterdir()} == {"templates", "bundle", "app"}
    assert steps > 6


@pytest.mark.parametrize("existing", [False, True])
def test_damage_of_the_bundle_is_found_and_nothing_is_left(parts, existing):
    root, bundle, app = parts
    if existing:
        scaffold("ios", bundle, app, root=root)
        write_bundle(bundle, content="trained further")
    before = tree(app) if existing else None
    damaged = bundle / "executorch/xnnpack_text.pte"
    damaged.write_text(damaged.read_text()[::-1])
    with pytest.raises(BundleError, match=r"xnnpack_text.pte: content differs from its hash"):
        scaffold("ios", bundle, app, root=root)
    if existing:
        assert {path: content for path, content in tree(app).items() if path != RECORD_FILE} == {
            path: content for path, content in before.items() if path != RECORD_FILE
        }
    else:
        assert {path.name for path in app.parent.iterdir()} == {"templates", "bundle"}


@pytest.mark.parametrize("path", ["executorch/xnnpack_text.pte", "tokenizer/vocab.json"])
def test_a_size_that_apps_would_refuse_is_found_before_the_file_is_copied(parts, path):
    root, bundle, app = parts
    manifest = bundle / MANIFEST_FILE
    stated = json.loads(manifest.read_text())
    next(entry for entry in (*stated["artifacts"], *stated["files"]) if entry["path"] == path)["size_bytes"] = 1
    manifest.write_text(json.dumps(stated))
    with pytest.raises(BundleError, match=f"{path}: .* bytes, 1 in the manifest"):
        scaffold("android", bundle, app, root=root)
    assert {path.name for path in app.parent.iterdir()} == {"templates", "bundle"}


def test_a_full_disk_is_one_line_and_leaves_the_app_as_it_was(parts, monkeypatch):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    before = tree(app)
    _change(root, {APP_SWIFT: "new"})

    def full(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(Exception, match=r"no room left on the disk.*nothing was changed"):
        scaffold("ios", bundle, app, root=root)
    assert tree(app) == before


def test_an_empty_folder_will_do(parts):
    root, bundle, app = parts
    app.mkdir()
    assert scaffold("ios", bundle, app, root=root).created
    _check_bundle(app / BUNDLE)


def test_a_folder_of_something_else_is_refused(parts):
    root, bundle, app = parts
    app.mkdir()
    (app / "precious.txt").write_text("x")
    with pytest.raises(UsageError, match="is no app made by edgeclip"):
        scaffold("ios", bundle, app, root=root)
    assert tree(app) == {"precious.txt": b"x"}
    with pytest.raises(InputError, match="is not a folder"):
        scaffold("ios", bundle, app / "precious.txt", root=root)


def test_the_current_folder_is_refused(parts, monkeypatch):
    root, bundle, app = parts
    app.mkdir()
    monkeypatch.chdir(app)
    with pytest.raises(UsageError, match="cannot be this one"):
        scaffold("ios", bundle, Path(), root=root)


def test_an_app_of_the_other_platform_is_refused(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    before = tree(app)
    with pytest.raises(UsageError, match="holds an app for ios"):
        scaffold("android", bundle, app, root=root)
    assert tree(app) == before


def test_a_folder_of_the_users_in_the_place_of_a_bundle_is_refused(parts):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    mine = app / "EdgeClipDemo/Bundles/mobileclip-demo/mine.txt"
    mine.parent.mkdir()
    mine.write_text("x")
    write_bundle(bundle, model="mobileclip-demo")
    with pytest.raises(UsageError, match="is in the way of the bundle"):
        scaffold("ios", bundle, app, root=root)
    assert mine.exists()


@pytest.mark.parametrize("place", ["EdgeClipDemo/Sources", "EdgeClipDemo/Bundles"])
def test_links_that_lead_out_of_the_app_are_refused(parts, tmp_path, place):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    (app / place).rename(tmp_path / "elsewhere")
    (app / place).symlink_to(tmp_path / "elsewhere")
    before = tree(tmp_path / "elsewhere")
    _change(root, {APP_SWIFT: "new"})
    write_bundle(bundle, content="trained further")
    with pytest.raises(InputError, match="leads out of the app"):
        scaffold("ios", bundle, app, root=root)
    assert tree(tmp_path / "elsewhere") == before


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda record: "{", "not a record of an app"),
        (lambda record: json.dumps({**record, "schema": "edgeclip.app/9"}), "not a record of an app"),
        (lambda record: json.dumps({**record, "files": {"../x": "0" * 64}}), "leaves the bundle"),
        (lambda record: json.dumps({**record, "bundles": ["EdgeClipDemo"]}), "names bundles outside"),
        (lambda record: json.dumps({**record, "bundles": ["EdgeClipDemo/Bundles/x/y"]}), "names bundles outside"),
    ],
)
def test_a_damaged_record_is_refused(parts, damage, said):
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    record = app / RECORD_FILE
    record.write_text(damage(json.loads(record.read_text())))
    before = tree(app)
    with pytest.raises(InputError, match=said):
        scaffold("ios", bundle, app, root=root)
    assert tree(app) == before


def test_the_users_build_files_decide_what_the_app_runs(parts):
    """An app whose deployment target was raised takes what needs it; one that was lowered below the kit's is refused."""
    root, bundle, app = parts
    scaffold("ios", bundle, app, root=root)
    project = app / "EdgeClipDemo/project.yml"
    later = tuple(type(one)(one.target, one.tower, min_os="iOS18") for one in COREML)
    write_bundle(bundle, (*later,))
    with pytest.raises(UsageError, match="needs iOS18"):
        scaffold("ios", bundle, app, root=root)
    project.write_text(project.read_text().replace("17.0", "18.0"))
    assert scaffold("ios", bundle, app, root=root).edited == ("EdgeClipDemo/project.yml",)
    project.write_text(project.read_text().replace("18.0", "16.4"))
    with pytest.raises(UsageError, match=r"below what it requires: EdgeClipExecuTorch/Package.swift says iOS 17"):
        scaffold("ios", bundle, app, root=root)


def test_methods_of_one_file_are_copied_once(parts, tmp_path):
    """A single file holds both towers, so a label bank does not take the text tower out of it."""
    from msgspec import structs

    root, bundle, app = parts
    manifest = write_bundle(bundle, XNNPACK[:1])
    image = manifest.artifacts[0]
    text = structs.replace(image, tower="text", method="encode_text")
    both = structs.replace(manifest, artifacts=(structs.replace(image, method="encode_image"), text))
    (bundle / MANIFEST_FILE).write_bytes(both.to_json())
    scaffold("ios", bundle, app, labels=_bank(tmp_path / "my.safetensors"), root=root)
    assert len(_check_bundle(app / BUNDLE).manifest.artifacts) == 2
