"""Conversions in quick succession: what many have in common is made once a process.

Tests of schemes convert the same towers again and again; what differs comes after the float program. What is shared is what
the library made. The key is all that a test may have changed before it, patched functions included, so a conversion that is
wrong on purpose neither takes a right program nor leaves a wrong one.

coremltools validates a program after each of its hundred passes, a quarter of the time; here it does not. Tests that convert
each layout and OS floor once (`test_layout_programs`, `test_mil_towers`) leave that on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import torch

_MOST = 12  # held at a time; a tower of a demo model takes up to 40 MB
T = TypeVar("T")


class _Recent:
    """What was made last, by key."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        found: T = self._made.pop(key) if key in self._made else make()
        self._made[key] = found
        if len(self._made) > _MOST:
            del self._made[next(iter(self._made))]
        return found


class _Decomposed:
    """An exported program that is decomposed once, for those that only read the result."""

    def __init__(self, program: Any) -> None:
        self._program = program

    @functools.cached_property
    def _result(self) -> Any:
        return self._program.run_decompositions({})

    def run_decompositions(self, table: dict[Any, Any]) -> Any:
        assert table == {}
        return self._result


_WEIGHTS, _PICTURES, _EXPORTS, _DECOMPOSED, _PROGRAMS = (_Recent() for _ in range(5))


def share_programs(patch: pytest.MonkeyPatch) -> None:
    """Let `convert` and `verify` take weights, samples, exports and programs that were made before, while `patch` lasts."""
    import coremltools as ct
    from coremltools.converters.mil.mil.program import Program

    from converters.coreml import lowering
    from edgeclip.models import towers
    from edgeclip.models.demo import weights as demo
    from edgeclip.models.weights import tensors_sha256
    from edgeclip.verify import compare, diagnose

    export, to_program = towers.export_tower, lowering.to_program

    def exported(pair: Any, spec: Any, tower: str, rewrite: Any = None) -> Any:
        key = (spec.name, tensors_sha256(pair), tower, rewrite, towers.prepare_for_export, torch.Tensor.argmax)
        return _EXPORTS.get(key, lambda: export(pair, spec, tower, rewrite))

    def decomposed(made: Any) -> Any:
        return _DECOMPOSED.get(_Same(made), lambda: replace(made, program=_Decomposed(made.program)))

    def program(made: Any, interface: Any, min_os: str, half: bool, keep_fp32: frozenset[str] = frozenset()) -> Any:
        key = (_Same(made), repr(interface), min_os, half, frozenset(keep_fp32), ct.ImageType)
        return _PROGRAMS.get(key, lambda: to_program(decomposed(made), interface, min_os, half, keep_fp32))

    load, draw = demo.load_demo_weights, compare.default_images
    patch.setattr(demo, "load_demo_weights", lambda path: dict(_WEIGHTS.get(path, lambda: load(path))))
    patch.setattr(compare, "default_images", lambda: iter(_PICTURES.get("all", lambda: tuple(draw()))))
    patch.setattr(towers, "export_tower", exported)
    patch.setattr(diagnose, "export_tower", lambda *args: decomposed(exported(*args)))
    patch.setattr(lowering, "to_program", program)
    patch.setattr(Program, "validate", lambda self, check_essential_scope=False: None)


class _Same:
    """An object as a key: equal to itself alone, and kept alive."""

    def __init__(self, one: object) -> None:
        self._one = one

    def __hash__(self) -> int:
        return id(self._one)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._one is self._one
