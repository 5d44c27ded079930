"""The packages depend on each other one way only, and nothing heavy is imported before it is used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeclip.plugins import TARGETS

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "coremltools", "executorch", "open_clip", "timm", "transformers", "huggingface_hub", "numpy", "PIL")
ALLOWED = {"edgeclip": {"edgeclip"}, "converters": {"converters", "edgeclip"}, "profiles": {"profiles", "edgeclip"}}


def _imports(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", [name for name in ALLOWED if (ROOT / name).exists()])
def test_packages_import_only_downwards(package):
    for path in (ROOT / package).rglob("*.py"):
        ours = _imports(path) & (ALLOWED.keys() | {"tests", "scripts", "benchmarks"})
        assert ours <= ALLOWED[package], f"{path.relative_to(ROOT)} imports {ours - ALLOWED[package]}"


def _modules(path: Path) -> set[str]:
    """Modules of `converters` that a file imports anywhere, as `converters.coreml`."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {".".join(name.split(".")[:2]) for name in names if name.startswith("converters.")}


def test_targets_do_not_import_each_other_nor_what_they_share_imports_one():
    targets = {path.parent.name for path in (ROOT / "converters").glob("*/target.py")}
    assert targets == set(TARGETS)
    for path in (ROOT / "converters").rglob("*.py"):
        own = path.relative_to(ROOT / "converters").parts[0]
        imported = {name.partition(".")[2] for name in _modules(path)}
        assert not imported & (targets - {own}), path.relative_to(ROOT)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "code",
    [
        "import edgeclip",
        "from edgeclip.cli.main import run; run(['--help'])",
        "from edgeclip.cli.main import run; run(['models'])",
        "from edgeclip.cli.main import run; run(['models', '--json'])",
        "from edgeclip.cli.main import run; run(['convert', '--help'])",
        "from edgeclip.cli.main import run; run(['app', '--help'])",
        "from edgeclip.cli.main import run; run(['app', 'windows', 'bundle', '--out', 'app'])",
        "from edgeclip.cli.main import run; run(['labels', '--help'])",
        "from edgeclip.cli.main import run; run(['compat', '--help'])",
        "from edgeclip.cli.main import run; run(['convert', 'no-such-model', '--target', 'coreml'])",
        "import edgeclip.manifest, edgeclip.recipe, edgeclip.plugins, edgeclip.registry, edgeclip.target",
    ],
)
def test_light_commands_load_nothing_heavy(code):
    loaded = _python(f"{code}\nimport sys\nprint('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded.strip().splitlines()[-1] == "LOADED"


def test_targets_are_found_without_their_packages():
    code = "import sys, converters.coreml.target, converters.executorch.target; print({m for m in sys.modules})"
    modules = _python(code)
    assert "'coremltools'" not in modules
    assert "'executorch'" not in modules


@pytest.mark.parametrize("args", [["--help"], ["models"]])
def test_start_up_is_quick(args):
    """The bar is 0.3 s on a quiet machine: processor time, the best of several runs, so that others' work counts little."""
    times = []
    for _ in range(5):
        started = _time_of_children()
        subprocess.run([sys.executable, "-m", "edgeclip", *args], check=True, capture_output=True)
        times.append(_time_of_children() - started)
    assert min(times) < 0.3


def _time_of_children():
    """Seconds of processor time of all children that have ended."""
    spent = os.times()
    return spent.children_user + spent.children_system
