"""The committed tables of the apps' tokenizers, beside those that the Python running this would make."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = ROOT / "scripts" / "app_text_tables.py"


@functools.cache
def script() -> ModuleType:
    """`scripts/app_text_tables.py` as a module."""
    spec = importlib.util.spec_from_file_location("app_text_tables", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def stored_tables() -> dict[str, Any]:
    """`sample_apps/shared/text_tables.json`."""
    found: dict[str, Any] = json.loads(script().PATH.read_text("utf-8"))
    return found


@functools.cache
def made_section(name: str) -> Any:
    """A section as this Python makes it."""
    return script().SECTIONS[name][1]()


def same_versions(name: str) -> bool:
    """Whether this Python has what a committed section was made of."""
    return bool(stored_tables()["made_by"][name] == script().SECTIONS[name][0]())


@functools.cache
def differing() -> frozenset[int]:
    """Code points that this Python's Unicode, or regex's, knows otherwise than the committed tables. None at their versions.

    Fails where more than that differs: then ftfy, or HTML, is another, and the tables have to be made again.
    """
    found: set[int] = set()
    for name in script().SECTIONS:
        if same_versions(name):
            continue
        stored, made = stored_tables()[name], made_section(name)
        assert isinstance(stored, dict), f"{name} does not depend on versions"
        for table in stored:
            if stored[table] != made[table]:
                assert (name, table) in _DIFFERENCES, f"{name}.{table} is another here: run scripts/app_text_tables.py"
                found |= _DIFFERENCES[name, table](stored[table], made[table])
    return frozenset(found)


def _of_sets(stored: list[int], made: list[int]) -> set[int]:
    expanded = script().expanded
    return set(expanded(stored)) ^ set(expanded(made))


def _of_maps(stored: dict[str, Any], made: dict[str, Any]) -> set[int]:
    return {int(key) for key in stored.keys() | made.keys() if stored.get(key) != made.get(key)}


def _of_patterns(stored: dict[str, Any], made: dict[str, Any]) -> set[int]:
    """The same patterns, of which a class has other members."""
    assert all(stored[name] == made[name] for name in ("patterns", "start_patterns")), "another ftfy"
    return set().union(*(_of_sets(*pair) for pair in zip(stored["classes"], made["classes"], strict=True)))


def _of_classes(stored: list[int], made: list[int]) -> set[int]:
    """Ranges with a combining class."""
    by_code = [
        {(code, kind) for first, last, kind in _triples(flat) for code in range(first, last + 1)} for flat in (stored, made)
    ]
    return {code for code, _ in by_code[0] ^ by_code[1]}


def _of_compositions(stored: list[int], made: list[int]) -> set[int]:
    """What is composed otherwise; its parts are what they were, but beside one another."""
    return {composite for _, _, composite in _triples(stored) ^ _triples(made)}


def _triples(flat: list[int]) -> set[tuple[int, int, int]]:
    return set(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


# What a version of Unicode changes, by section and table.
_DIFFERENCES: dict[tuple[str, str], Callable[[Any, Any], set[int]]] = {
    ("ftfy", "bad"): _of_patterns,
    ("ftfy", "width"): _of_maps,
    ("ftfy", "decimal"): _of_sets,
    ("nfc", "decompositions"): _of_maps,
    ("nfc", "classes"): _of_classes,
    ("nfc", "compositions"): _of_compositions,
    ("case", "lower"): _of_maps,
    ("case", "cased"): _of_sets,
    ("case", "case_ignorable"): _of_sets,
    ("case", "space"): _of_sets,
    ("words", "letter"): _of_sets,
    ("words", "number"): _of_sets,
    ("words", "other"): _of_sets,
}
