"""The iOS app's core, compiled and run on Linux against Python's vectors; the rest of the app, type-checked."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.apps import swift
from tests.apps.kits import compare_images, compare_index
from tests.apps.setup_scripts import run_setup

PILLOW = 13  # the order of a resize's two passes, and with it the last bits of some pixels, changed in it
_TESTS = swift.KIT / "Tests" / "EdgeClipCoreTests"
_CORE = swift.KIT / "Sources" / "EdgeClipCore"
_OF_TEXTS = [*swift.sources(_CORE / "Text"), *swift.sources(_CORE / "SentencePiece"), _CORE / "TokenizerSpec.swift"]
_KNOW_UNICODE = re.compile(
    r"NSRegularExpression|Regex|CharacterSet|\bCharacter\b|Locale|(lower|upper)cased|capitalized|caseInsensitive|localized"
    r"|\.is(Whitespace|Letter|Number|Punctuation|Newline)|\.properties|(pre|de)composedString|folding\(|trimmingCharacters"
    r"|applyingTransform"
)


@pytest.fixture(scope="module")
def _toolchain() -> None:
    if why := swift.missing():
        pytest.skip(why)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a compiler on a busy machine
@pytest.mark.usefixtures("_toolchain")
def test_core_equals_python(app_vectors: Path, tmp_path: Path) -> None:
    """Token ids, pixels, scores, label banks and indexes are Python's; hostile files are errors."""
    if int(version("pillow").partition(".")[0]) < PILLOW:
        pytest.skip(f"the apps resize as Pillow {PILLOW} does")
    declared = sum(
        len(re.findall(r"^    func test\w+\(", path.read_text("utf-8"), re.MULTILINE)) for path in swift.sources(_TESTS)
    )
    assert declared >= 24
    done = swift.package("test", EDGECLIP_VECTORS=app_vectors, EDGECLIP_OUT=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-20_000:]
    assert f"Executed {declared} tests, with 0 failures" in said, said[-20_000:]  # none was skipped
    compare_images(app_vectors, tmp_path)
    compare_index(app_vectors, tmp_path)


@pytest.fixture(scope="module")
def modules(_toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where modules of what the app's parts declare are made."""
    return tmp_path_factory.mktemp("swift")


@pytest.mark.slow
def test_app_type_checks(modules: Path) -> None:
    """The parts that need Apple's frameworks, the self-test's target among them, against declarations of what they use."""
    assert not swift.type_check(modules)


@pytest.mark.slow
def test_type_check_sees_mistakes(modules: Path) -> None:
    """A misspelled method, a wrong type, and a main thread's method called from elsewhere without waiting for it, fail it."""
    for name in ("CoreVideo", "CoreGraphics"):
        assert not swift.module(name, [swift.APPLE / f"{name}.swift"], modules)
    source = modules / "Wrong.swift"
    source.write_text(
        "import CoreGraphics\n"
        "func a(image: CGImage) -> Int { image.widht }\n"
        "func b(image: CGImage) -> String { image.width }\n"
        "@MainActor func c() {}\n"
        "func d() { c() }\n",
        "utf-8",
    )
    found = swift.module("Wrong", [source], modules)
    assert set(re.findall(r"Wrong\.swift:(\d+):\d+: error:", found)) == {"2", "3", "5"}


@pytest.mark.parametrize("path", swift.sources(_CORE), ids=lambda path: path.stem)
def test_core_depends_on_no_system(path: Path) -> None:
    """Nothing of Apple's but its SHA-256, where it is; and where ids are made of texts, nothing that knows Unicode."""
    text = path.read_text("utf-8")
    code = re.sub(r"//.*", "", text)
    imported = set(re.findall(r"^import (\w+)$", text, re.MULTILINE))
    assert imported <= {"Foundation", *(["CryptoKit"] if path.stem == "Digest" else [])}
    if path in _OF_TEXTS:
        assert not _KNOW_UNICODE.search(code)


def test_runtime_is_of_the_exporters_release() -> None:
    """ExecuTorch's Swift package is of the release whose exporter makes the artifacts."""
    files = (swift.APP / "EdgeClipDemo" / "project.yml", swift.APP / "EdgeClipExecuTorch" / "Package.swift")
    releases = {found for file in files for found in re.findall(r"swiftpm-(\d+\.\d+)\.\d+", file.read_text("utf-8"))}
    assert releases == {".".join(version("executorch").split(".")[:2])}


def test_project_has_the_golden_self_test() -> None:
    """`xcodebuild test` of the app's scheme runs the XCTest target, whose sources are there."""
    project = (swift.APP / "EdgeClipDemo" / "project.yml").read_text("utf-8")
    app, target = re.split(r"^  EdgeClipDemoTests:$", project, flags=re.MULTILINE)
    assert "testTargets: [EdgeClipDemoTests]" in app
    assert "type: bundle.unit-test" in target
    assert "sources: [Tests]" in target
    assert "- target: EdgeClipDemo\n" in target
    tests = "".join(path.read_text("utf-8") for path in swift.sources(swift.APP / "EdgeClipDemo" / "Tests"))
    assert {"testImageTower", "testTextTower"} <= set(re.findall(r"func (test\w+)\(", tests))


def test_tables_are_the_shared_ones() -> None:
    """One committed copy: the kit's is a link to it, or what such a link became on a system without links."""
    own = _CORE / "Resources" / "text_tables.json"
    assert own.read_bytes() == (swift.ROOT / "sample_apps" / "shared" / "text_tables.json").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="Debian's packages are for Linux")
def test_setup_without_a_network_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_setup(swift.SCRIPT, "--archive", "http://127.0.0.1:9/debian", cache=tmp_path)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: http://127.0.0.1:9/debian/dists/trixie/InRelease")
    assert "network" in last
    assert not (tmp_path / "swift").exists()
    assert not list(tmp_path.glob(".swift-*"))


def test_without_a_compiler_the_command_that_sets_it_up_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for arguments in (["--check"], ["run", "swift", "--version"]):
        done = run_setup(swift.SCRIPT, *arguments, cache=tmp_path)
        assert done.returncode == 2
        assert done.stderr.strip() == "error: there is no Swift: run `python scripts/setup_swift.py` (500 MB of downloads)"
