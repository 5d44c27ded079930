"""What an app runs of a bundle, and the reasons it gives for what it does not."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from edgeclip.apps.platform import PLATFORMS, load_platform
from edgeclip.apps.selection import select
from edgeclip.errors import BundleError, InputError, UsageError
from edgeclip.manifest import Bundle
from tests.apps.small_apps import CATALOG, COREML, EXECUTORCH_PACKAGE, PACKAGE, PROJECT, TEMPLATES, XNNPACK, Made, write_bundle


def _abilities(platform, **files):
    """Those of the small templates; `files` are other texts, by their path with _ for / and without what follows a dot."""
    texts = {path: files.get(path.replace("/", "_").split(".")[0], text) for path, text in TEMPLATES[platform].items()}
    return load_platform(platform).abilities(texts.__getitem__)


def _select(tmp_path, platform, made, labels=False, targets=(), schemes=(), files=None, **bundle):
    write_bundle(tmp_path / "bundle", made, **bundle)
    return select(
        Bundle.open(tmp_path / "bundle"), load_platform(platform), _abilities(platform, **files or {}), labels, targets, schemes
    )


def _with(made, **changes):
    return tuple(replace(one, **changes) for one in made)


QUANTIZED = {"libraries": ("quantized_ops_lib",)}


def test_abilities_are_read_from_the_build_files():
    ios = _abilities("ios")
    assert (str(ios.os), str(ios.kit_os), str(ios.executorch)) == ("17.0", "17", "1.4.1")
    assert ios.backends == {"xnnpack", "coreml"}
    assert ios.libraries == {"quantized_ops_lib"}
    android = _abilities("android")
    assert (android.os, str(android.executorch)) == (None, "1.4.1")
    assert android.backends == {"xnnpack"}
    assert android.libraries == {"quantized_ops_lib"}


def test_an_app_that_links_no_executorch_runs_earlier():
    """What Core ML alone asks for: the user took ExecuTorch out of the project, and lowered its deployment target."""
    gone = ("EdgeClipExecuTorch", "executorch", "product", "branch")
    kept = [line for line in PROJECT.splitlines() if not any(word in line for word in gone)]
    project = "\n".join(kept).replace("17.0", "16.0")
    found = _abilities("ios", EdgeClipDemo_project=project)
    assert (str(found.os), str(found.kit_os), found.executorch) == ("16.0", "16", None)
    assert found.backends == found.libraries == frozenset()


@pytest.mark.parametrize(
    "catalog",
    [
        '[libraries]\net = "org.pytorch:executorch-android:1.4.1"\n',
        '[libraries]\net = { group = "org.pytorch", name = "executorch-android", version = "1.4.1" }\n',
        '[versions]\nv = "1.4.1"\n[libraries]\net = { module = "org.pytorch:executorch-android", version = { ref = "v" } }\n',
    ],
)
def test_every_form_of_a_library_in_a_catalog_is_read(catalog):
    assert str(_abilities("android", gradle_libs=catalog).executorch) == "1.4.1"


@pytest.mark.parametrize(
    ("platform", "files", "said"),
    [
        ("ios", {"EdgeClipDemo_project": PROJECT.replace("iOS:", "macOS:")}, "project.yml: does not say deploymentTarget"),
        ("ios", {"EdgeClipDemo_project": PROJECT + 'deploymentTarget: "16.0"\n'}, "says deploymentTarget 16.0 and 17.0"),
        ("ios", {"EdgeClipDemo_project": PROJECT.replace("    iOS", "#   iOS")}, "does not say deploymentTarget"),
        ("ios", {"EdgeClipKit_Package": PACKAGE.replace(".iOS(.v16)", "")}, "Kit/Package.swift: does not say platforms: .iOS"),
        (
            "ios",
            {"EdgeClipExecuTorch_Package": EXECUTORCH_PACKAGE.replace("1.4.1", "1.5.0")},
            "project.yml and EdgeClipExecuTorch/Package.swift: says swiftpm- 1.4.1 and 1.5.0",
        ),
        ("android", {"gradle_libs": "["}, "libs.versions.toml: not TOML"),
        ("android", {"gradle_libs": CATALOG.replace('"1.4.1"', '"1.4.+"')}, "has no version such as"),
        ("android", {"gradle_libs": CATALOG.replace("version.ref", "version.reference")}, "has no version such as"),
    ],
)
def test_build_files_that_say_nothing_clear_are_no_guess(platform, files, said):
    with pytest.raises(InputError, match=said):
        _abilities(platform, **files)


@pytest.mark.parametrize(
    ("platform", "made", "taken"),
    [
        ("ios", (*COREML, *XNNPACK), ["coreml", "coreml", "executorch", "executorch"]),
        ("ios", COREML, ["coreml", "coreml"]),
        ("ios", _with(XNNPACK, backend="coreml"), ["executorch", "executorch"]),
        ("ios", _with(XNNPACK, **QUANTIZED), ["executorch", "executorch"]),
        ("ios", (COREML[0], XNNPACK[1]), ["coreml", "executorch"]),
        ("ios", _with(COREML, min_os="iOS16"), ["coreml", "coreml"]),
        ("android", (*COREML, *XNNPACK), ["executorch", "executorch"]),
        ("android", _with(XNNPACK, **QUANTIZED), ["executorch", "executorch"]),
    ],
)
def test_what_an_app_can_run_is_taken(tmp_path, platform, made, taken):
    assert [artifact.target for artifact in _select(tmp_path, platform, made).artifacts] == taken


@pytest.mark.parametrize(
    ("platform", "made", "options", "said"),
    [
        ("android", COREML, {}, "Android apps run executorch"),
        ("ios", (), {}, r"has no image and text tower \(it holds nothing\); add it: edgeclip convert"),
        ("ios", COREML[:1], {}, r"has no text tower \(it holds coreml fp16 image\).*or --labels BANK"),
        ("ios", COREML[1:], {"labels": True}, "has no image tower"),
        ("ios", _with(COREML, min_os="iOS18"), {}, r"needs iOS18, the app is for iOS 17.0 and later \(EdgeClipDemo/p"),
        ("ios", _with(COREML, min_os="macOS15"), {}, "is for macOS15, not for iOS"),
        ("ios", _with(XNNPACK, backend="vulkan"), {}, r"has no vulkan backend \(EdgeClipDemo/project.yml: coreml, xnn"),
        ("android", _with(XNNPACK, backend="coreml"), {}, "has no coreml backend"),
        ("android", _with(XNNPACK, libraries=("custom_ops",)), {}, "needs custom_ops, which the app does not link"),
        ("ios", XNNPACK, {"executorch": "1.3.0"}, r"ExecuTorch 1.3.0 made it, the app has 1.4.1 \(EdgeClipDemo/project.yml\)"),
        ("android", XNNPACK, {"executorch": "1.5.0"}, r"1.5.0 made it, the app has 1.4.1 \(gradle/libs.versions.toml\)"),
        ("android", XNNPACK, {"executorch": ""}, "does not say which ExecuTorch made it"),
        ("android", XNNPACK, {"files": {"gradle_libs": "[libraries]\n"}}, "the app does not link ExecuTorch"),
        (
            "ios",
            _with(XNNPACK, **QUANTIZED),
            {"files": {"EdgeClipDemo_project": PROJECT.replace("kernels_quantized", "kernels_optimized")}},
            "needs quantized_ops_lib, which the app does not link",
        ),
        ("ios", (*COREML, *XNNPACK), {"targets": ("coreai",)}, "--target coreai: iOS apps run coreml and executorch"),
        ("ios", COREML, {"targets": ("executorch",)}, "--target executorch leaves it out"),
        ("ios", COREML, {"schemes": ("w8", "w4")}, "coreml fp16 image: --scheme w8 --scheme w4 leaves it out"),
    ],
)  # fmt: skip
def test_what_an_app_cannot_run_is_refused_with_the_reason(tmp_path, platform, made, options, said):
    with pytest.raises(UsageError, match=said):
        _select(tmp_path, platform, made, **options)


def test_what_is_left_out_beside_something_that_runs_has_its_reason(tmp_path):
    selection = _select(tmp_path, "ios", (*COREML, *_with(XNNPACK, backend="vulkan")))
    assert [artifact.target for artifact in selection.artifacts] == ["coreml", "coreml"]
    assert all("no vulkan backend" in reason for _, reason in selection.left_out)


def test_of_several_schemes_one_can_be_taken(tmp_path):
    made = (*COREML, *XNNPACK)
    selection = _select(tmp_path, "ios", made, schemes=("fp32",))
    assert [artifact.label for artifact in selection.artifacts] == [
        "executorch/xnnpack fp32 image",
        "executorch/xnnpack fp32 text",
    ]
    assert {reason for _, reason in selection.left_out} == {"--scheme fp32 leaves it out"}


def test_a_patch_label_of_the_exporter_does_not_count(tmp_path):
    assert _select(tmp_path, "android", XNNPACK, executorch="1.4.1+cpu").artifacts


def test_warnings(tmp_path):
    made = (*_with(XNNPACK, backend="coreml", checked="lowered"),)
    warnings = _select(tmp_path, "ios", made, commercial_use=False).warnings
    assert "no commercial use" in warnings[0]
    assert "https://example.org/licence" in warnings[0]
    assert [warning for warning in warnings[1:] if "was never run" in warning] == list(warnings[1:])
    assert len(warnings) == 3
    shutil.rmtree(tmp_path / "bundle")
    assert _select(tmp_path, "ios", COREML).warnings == ()


@pytest.mark.parametrize("model", ["../x", "", "a b", "x/y", ".hidden", "x\n", "é"])
def test_a_model_that_cannot_name_a_folder_is_refused(tmp_path, model):
    with pytest.raises(BundleError, match="cannot name a folder"):
        _select(tmp_path, "ios", COREML, model=model)


@pytest.mark.parametrize("name", PLATFORMS)
def test_strings_of_a_manifest_stay_strings_in_the_generated_file(tmp_path, name):
    from edgeclip.apps.platform import AppBundle

    space = 'a"\\$x\\(1)${1}\n\u2028\u00e9\U0001f600\U000e0001'
    manifest = write_bundle(tmp_path / "bundle", (Made("executorch", "image", "xnnpack"),), space_id=space)
    text = load_platform(name).render(AppBundle(manifest, "bundles/x"))
    line = next(line for line in text.splitlines() if "space" in line and "=" in line)
    wanted = {
        "ios": r'static let spaceID = "a\"\\$x\\(1)${1}\u{a}\u{2028}é😀\u{e0001}"',
        "android": r'const val spaceId = "a\"\\\$x\\(1)\${1}\u000a\u2028é😀\udb40\udc01"',
    }
    assert line.strip() == wanted[name]
