"""The committed tables of the apps' tokenizers, beside those that the Python running this would make."""

from __future__ import annotations

import functools
import importlib.util
import json
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
    """Code points that this Python's Unicode, or regex's, knows otherwise than the committed tables. None at their versions."""
    found: set[int] = set()
    for name in script().SECTIONS:
        if not same_versions(name):
            found |= _differing(stored_tables()[name], made_section(name))
    return frozenset(found)


def _differing(stored: Any, made: Any) -> set[int]:
    if isinstance(stored, dict):
        if all(key.isdigit() for key in (*stored, *made)):
            return {int(key) for key in stored.keys() | made.keys() if stored.get(key) != made.get(key)}
        return set().union(*(_of_table(key, stored[key], made[key]) for key in stored))
    return _of_set(stored, made)


def _of_table(key: str, stored: Any, made: Any) -> set[int]:
    if key == "classes" and stored and isinstance(stored[0], int):
        return _of_triples(stored, made, ranges=True)
    if key == "compositions":
        return _of_triples(stored, made, ranges=False)
    if isinstance(stored, dict) or (isinstance(stored, list) and all(isinstance(code, int) for code in stored)):
        return _differing(stored, made)
    return set()


def _of_set(stored: list[int], made: list[int]) -> set[int]:
    return _expanded(stored) ^ _expanded(made)


def _of_triples(stored: list[int], made: list[int], ranges: bool) -> set[int]:
    first, second = (set(zip(flat[::3], flat[1::3], flat[2::3], strict=True)) for flat in (stored, made))
    if not ranges:
        return {code for triple in first ^ second for code in triple}
    by_code = [{(code, value) for low, high, value in triples for code in range(low, high + 1)} for triples in (first, second)]
    return {code for code, _ in by_code[0] ^ by_code[1]}


def _expanded(flat: list[int]) -> set[int]:
    return {code for low, high in zip(flat[::2], flat[1::2], strict=True) for code in range(low, high + 1)}
