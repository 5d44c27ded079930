"""`edgeclip app` with the templates of `sample_apps`."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgeclip.apps.platform import PLATFORMS, load_platform
from edgeclip.apps.record import RECORD_FILE
from edgeclip.apps.template_files import TEMPLATES, templates
from edgeclip.manifest import Bundle
from tests.apps.small_apps import COREML, XNNPACK, tree, write_bundle

EDITED = {"ios": "EdgeClipDemo/App/Engine.swift", "android": "settings.gradle.kts"}


@pytest.fixture
def bundle(tmp_path):
    """Files that hold nothing of a model, of the release of ExecuTorch that is installed."""
    from importlib.metadata import version

    write_bundle(tmp_path / "bundle", (*COREML, *XNNPACK), executorch=version("executorch"), commercial_use=False)
    return tmp_path / "bundle"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_an_app_is_made_and_updated(cli, bundle, tmp_path, platform):
    app = tmp_path / "app"
    made = cli("app", platform, bundle, "--out", app)
    assert made.status == 0, made.err
    assert f"{load_platform(platform).title} app made" in made.out
    assert "warning: the weights of tinyclip-demo are under A licence: no commercial use" in made.err
    assert "next, in the app's folder:" in made.out
    first = "the app runs coreml fp16 image and coreml fp16 text; --target and --scheme leave others out"
    assert (first in made.out) == (platform == "ios")
    (app / EDITED[platform]).write_text("mine")
    again = cli("app", platform, bundle, "--out", app)
    assert "app updated, 0 files written" in again.out
    assert f"left as it is, since you edited or removed it: {EDITED[platform]}" in again.out
    found = cli("app", platform, bundle, "--out", app, "--json").json
    assert (found["platform"], found["created"], found["bundle_changed"]) == (platform, False, False)
    assert found["files"] == {"written": [], "removed": [], "edited": [EDITED[platform]]}
    assert [Path(found["bundle"], path).exists() for path in found["artifacts"]] == [True] * len(found["artifacts"])
    assert Path(found["generated"]).exists()
    assert len(found["warnings"]) == 1


def test_a_scheme_is_taken_by_its_name(cli, bundle, tmp_path):
    found = cli("app", "ios", bundle, "--out", tmp_path / "app", "--scheme", "fp32", "--json").json
    assert found["artifacts"] == ["executorch/xnnpack_image.pte", "executorch/xnnpack_text.pte"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_generated_file_is_the_only_one_that_depends_on_the_bundle(cli, bundle, tmp_path, platform):
    cli("app", platform, bundle, "--out", tmp_path / "one")
    write_bundle(bundle, model="mobileclip-demo", executorch=Bundle.open(bundle).manifest.tools["executorch"])
    cli("app", platform, bundle, "--out", tmp_path / "two")
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    bundles = load_platform(platform).bundles
    differing = {path for path in one.keys() | two.keys() if one.get(path) != two.get(path) and not path.startswith(bundles)}
    assert differing == {load_platform(platform).generated, RECORD_FILE}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_samples_are_written_for_the_constants_that_are_generated(cli, bundle, tmp_path, platform):
    generated = load_platform(platform).generated
    cli("app", platform, bundle, "--out", tmp_path / "app")
    declared = [
        re.findall(r"(?:let|val) (\w+(?:: String\?)?) =", (folder / generated).read_text())
        for folder in (tmp_path / "app", TEMPLATES / platform)
    ]
    assert declared[0] == declared[1] != []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_templates_hold_nothing_of_where_they_were_made(platform):
    """No leftovers of builds, no links in what a user gets, no paths of a machine."""
    kit = load_platform(platform)
    for relative, template in templates(kit.name, kit.generated, kit.bundles).items():
        content = template.source.read_bytes()
        assert b"/home/" not in content, relative
        assert b"/tmp/" not in content, relative
        assert b"/Users/" not in content, relative


@pytest.mark.parametrize(
    ("platform", "made", "said"),
    [
        ("android", COREML, "cannot run its image and text tower: coreml fp16 image: Android apps run executorch"),
        ("ios", tuple(replace(one, min_os="iOS99") for one in COREML), "it needs iOS99, the app is for iOS"),
        ("android", tuple(replace(one, backend="openvino") for one in XNNPACK), "the app has no openvino backend"),
        ("ios", tuple(replace(one, backend="vulkan") for one in XNNPACK), "the app has no vulkan backend"),
        ("android", XNNPACK[:1], "has no text tower"),
    ],
)  # fmt: skip
def test_what_the_app_cannot_run_is_one_line_and_no_folder(cli, tmp_path, platform, made, said):
    from importlib.metadata import version

    write_bundle(tmp_path / "bundle", made, executorch=version("executorch"))
    result = cli("app", platform, tmp_path / "bundle", "--out", tmp_path / "app")
    assert result.status == 2
    assert said in result.error
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.slow
def test_what_is_in_an_app_verifies(cli, tiny_bundle, tmp_path):
    """The bundle in an app is a bundle: its manifest, golden files and artifacts pass `verify`."""
    made = cli("app", "android", tiny_bundle, "--out", tmp_path / "app", "--json").json
    assert made["artifacts"] == ["executorch/tinyclip_demo_image.pte", "executorch/tinyclip_demo_text.pte"]
    assert [entry["artifact"] for entry in made["left_out"]] == [
        "coreml/tinyclip_demo_image.mlpackage",
        "coreml/tinyclip_demo_text.mlpackage",
    ]
    result = cli("verify", made["bundle"])
    assert result.status == 0, result.out
    shutil.rmtree(Path(made["bundle"]) / "executorch")
    assert cli("app", "android", tiny_bundle, "--out", tmp_path / "app", "--json").json["bundle_changed"]
