"""Sweeps that tests ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeclip.recipe import TargetOptions
from edgeclip.sweep.plan import Sweep

MODELS = ("mobileclip-demo", "tinyclip-demo")


def sweep(out: Path, given: TargetOptions = TargetOptions(""), **changes: Any) -> Sweep:  # noqa: B008 (frozen)
    """Both demo models for Core ML; `given` is asked of every target."""

    def options(target: str, scheme: str | None) -> TargetOptions:
        return replace(given, target=target, scheme=scheme)

    return Sweep(**{"models": MODELS, "targets": ("coreml",), "schemes": (None,), "options": options, "out": out, **changes})
