"""The Android app's core, compiled and run on a JVM against Python's vectors; the rest of the app, type-checked."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks import kotlin_core
from tests.apps import kotlin
from tests.apps.kits import compare_images, compare_index
from tests.apps.setup_scripts import run_setup

PILLOW = 13  # the order of a resize's two passes, and with it the last bits of some pixels, changed in it
needs_kotlin = pytest.mark.skipif(kotlin.toolchain() is None, reason=f"no Kotlin compiler: {kotlin.SETUP}")
_TESTS = "dev.edgeclip.core"
_OF_TEXTS = (
    *("ClipBpe", "CodePoints", "Html", "Mojibake", "Normalization", "PieceNormalizer", "PieceTrie"),
    *("SentencePiece", "SentencePieceModel", "TextCleaning", "UnicodeTables", "Utf8"),
)
_KNOW_UNICODE = (
    *("Regex", "java.text", "Character.", "lowercase", "uppercase", "equals(", "ignoreCase", "isBlank", ".trim("),
    *("isWhitespace", "isLetter", "isDigit"),
)


def _tools() -> kotlin.Toolchain:
    tools = kotlin.toolchain()
    assert tools is not None
    return tools


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core, its tests and its benchmark, compiled together by the first worker that wants them.

    They see nothing but the standard libraries and JUnit.
    """
    own = tmp_path_factory.getbasetemp()
    out = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "kotlin-classes"
    with FileLock(out.with_suffix(".lock")):
        if not out.exists():
            sources = [kotlin.CORE, kotlin.CORE_TESTS, kotlin_core.SOURCE]
            done = _tools().compile(sources, out, "-cp", _tools().jars("junit4"))
            assert done.returncode == 0, f"the core does not compile:\n{done.stderr}"
    return out


@pytest.mark.slow
@needs_kotlin
def test_core_equals_python(classes: Path, app_vectors: Path, tmp_path: Path) -> None:
    """Token ids, pixels, scores, label banks and indexes are Python's; hostile files are errors."""
    if int(version("pillow").partition(".")[0]) < PILLOW:
        pytest.skip(f"the apps resize as Pillow {PILLOW} does")
    tests = sorted(f"{_TESTS}.{path.stem}" for path in kotlin.kotlin_files(kotlin.CORE_TESTS) if path.stem.endswith("Test"))
    assert len(tests) >= 7
    path = f"{classes}:{kotlin.RESOURCES}:{_tools().jars('kotlin-stdlib', 'junit4', 'hamcrest')}"
    done = _tools().java(path, "org.junit.runner.JUnitCore", *tests, EDGECLIP_VECTORS=app_vectors, EDGECLIP_OUT=tmp_path)
    assert done.returncode == 0, _without_frames(done)
    assert f"OK ({_declared()} tests)" in done.stdout, _without_frames(done)  # none was skipped
    compare_images(app_vectors, tmp_path)
    compare_index(app_vectors, tmp_path)


def _declared() -> int:
    return sum(path.read_text("utf-8").count("@Test") for path in kotlin.kotlin_files(kotlin.CORE_TESTS))


def _without_frames(done: subprocess.CompletedProcess[str]) -> str:
    """What JUnit printed, without the frames of its own and of Java's."""
    foreign = ("at org.junit.", "at java.base/", "at jdk.")
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if not line.strip().startswith(foreign))[-20_000:]


@pytest.mark.slow
@needs_kotlin
@pytest.mark.parametrize("part", kotlin_core.PARTS)
def test_core_is_measured(classes: Path, app_vectors: Path, part: str) -> None:
    """Each part of the benchmark runs, here on little."""
    times = kotlin_core.measure(_tools(), classes, app_vectors, part, runs=2, rows=100)
    assert min(times.first_ms, times.best_ms, times.median_ms) > 0


@pytest.mark.slow
@needs_kotlin
def test_app_type_checks(classes: Path, tmp_path: Path) -> None:
    """The parts that need Android, against declarations of what they use of it.

    Beside them a misspelled method, a wrong type and a composable called from an ordinary function, which it has to see.
    """
    wrong = tmp_path / "Wrong.kt"
    wrong.write_text(
        "import android.graphics.Bitmap\n"
        "fun a(bitmap: Bitmap) = bitmap.getPixel(0, 0)\n"
        'fun b(bitmap: Bitmap) = bitmap.getPixels(IntArray(1), "0", 0, 0, 0, 0, 0)\n'
        'fun c() = androidx.compose.material3.Text("c")\n',
        "utf-8",
    )
    found = _tools().type_check([*kotlin.NEEDS_ANDROID, wrong], classes, tmp_path / "out")
    assert not [line for line in found if wrong.name not in line]
    assert {line.partition(f"{wrong.name}:")[2][:2] for line in found} == {"2:", "3:", "4:"}


@pytest.mark.parametrize("path", kotlin.kotlin_files(kotlin.CORE), ids=lambda path: path.stem)
def test_core_depends_on_no_system(path: Path) -> None:
    """Nothing of Android, and where ids are made of texts nothing that knows Unicode by itself."""
    text = path.read_text("utf-8")
    imports = [line.split()[1] for line in text.splitlines() if line.startswith("import ")]
    assert all(name.startswith(("java.", "kotlin.")) for name in imports), imports
    if path.stem in _OF_TEXTS:
        assert not [word for word in _KNOW_UNICODE if word in text]


def test_runtime_is_of_the_exporters_release() -> None:
    """`org.pytorch:executorch-android` is of the release whose exporter makes the artifacts."""
    exporter, runtime = version("executorch").split(".")[:2], kotlin.catalog_version("executorch").split(".")[:2]
    assert runtime == exporter


def test_setup_without_a_network_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_setup(kotlin.SCRIPT, "--registry", "http://127.0.0.1:9", cache=tmp_path)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: http://127.0.0.1:9/kotlin-compiler/")
    assert "network" in last
    assert not (tmp_path / "kotlin").exists()
    assert not list(tmp_path.glob(".kotlin-*"))


def test_setup_refuses_a_folder_without_java(tmp_path: Path) -> None:
    done = run_setup(kotlin.SCRIPT, "--java", str(tmp_path), cache=tmp_path / "cache")
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: --java {tmp_path}: has no bin/java; give the folder of a Java 17 or later"


def test_setup_is_of_the_apps_compiler() -> None:
    """What is compiled here is what the app's build compiles."""
    script = (kotlin.SCRIPT).read_text("utf-8")
    assert f'KOTLIN = "{kotlin.catalog_version("kotlin")}"' in script


def test_tables_are_the_shared_ones() -> None:
    """One committed copy: the kit's is a link to it, or what such a link became on a system without links."""
    own = kotlin.RESOURCES / "dev" / "edgeclip" / "core" / "text_tables.json"
    assert own.read_bytes() == (kotlin.ROOT / "sample_apps" / "shared" / "text_tables.json").read_bytes()


def test_wrapper_is_gradles() -> None:
    """The wrapper's program has the hash that Gradle publishes for 8.13 (https://gradle.org/release-checksums)."""
    from edgeclip.manifest import file_sha256

    wrapper = kotlin.APP / "gradle" / "wrapper"
    assert file_sha256(wrapper / "gradle-wrapper.jar") == "81a82aaea5abcc8ff68b3dfcb58b3c3c429378efd98e7433460610fecd7ae45f"
    settings = (wrapper / "gradle-wrapper.properties").read_text("utf-8")
    assert "gradle-8.13-bin.zip" in settings
    assert "distributionSha256Sum=20f1b1176237254a6fc204d8434196fa11a4cfb387567519c61556e8710aed78" in settings
