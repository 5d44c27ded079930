"""One tower's way to a package: a float program first, checked for float16, then compressed as planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converters.coreml.activations import activation_ranges, quantize_activations
from converters.coreml.auto.search import search
from converters.coreml.auto.sensitivity import Trial
from converters.coreml.compression.plan import Plan, carry_out, check_stored, plan_for
from converters.coreml.compression.weights import Weight, find_weights
from converters.coreml.package import write_package
from converters.coreml.precision import half_is_safe, keep_in_fp32
from converters.coreml.program import to_program
from edgeclip.errors import BudgetError, UsageError
from edgeclip.models.towers import ExportedTower
from edgeclip.progress import silent
from edgeclip.recipe import Recipe
from edgeclip.target import Context, Interface, Lowered

_CHECKED = 5  # calibration samples on which float16 is tried


class Lowering:
    """Packages on the way lie in `folder`."""

    def __init__(
        self, exported: ExportedTower, recipe: Recipe, interface: Interface, folder: Path, context: Context | None
    ) -> None:
        self.exported = exported
        self.recipe = recipe
        self.interface = interface
        self.folder = folder
        self.context = context
        self.progress = silent if context is None else context.progress
        self._made = 0

    @property
    def label(self) -> str:
        return f"{self.exported.tower} tower of {self.recipe.model}"

    def write(self, metadata: dict[str, str], path: Path) -> Lowered:
        """Lower as the recipe says and save the package at `path`."""
        with self.progress(f"lowering the {self.exported.tower} tower: coreml {self.recipe.scheme}"):
            model, package, kept = self._float_program()
            weights = find_weights(package)
        if self.recipe.scheme == "auto":
            return self._write_auto(model, package, weights, kept, metadata, path)
        with self.progress(f"compressing the {self.exported.tower} tower: {self.recipe.scheme}"):
            if self.recipe.scheme == "w8a8":
                model = quantize_activations(model, activation_ranges(package, self._samples()))
            self._write(model, plan_for(self.recipe, weights), weights, metadata, path)
        return Lowered(None, kept, calibrated=self.recipe.scheme == "w8a8" or bool(kept))

    def _write_auto(
        self, model: Any, package: Path, weights: dict[str, Weight], kept: tuple[str, ...], metadata: dict[str, str], path: Path
    ) -> Lowered:
        """Choose a form for each weight, unless a table of them was given, and measure the package that comes of it."""
        samples = self._samples()
        assert self.context is not None
        if self.recipe.layers is not None:
            plan = plan_for(self.recipe, weights)
        else:
            plan = search(package, weights, self.recipe, self.context, self.label)
        with self.progress(f"compressing the {self.exported.tower} tower: {self.recipe.scheme}"):
            self._write(model, plan, weights, metadata, path)
            cosine = float(Trial(path, samples, self.context.originals()).cosines({}).min())
        goal = self.context.goal
        floor = goal.min_cosine if self.recipe.layers is not None else goal.floor
        if floor is not None and cosine < floor:
            raise BudgetError(f"coreml: {self.label}: cosine {cosine:.6f} on the calibration samples, below {floor:g}")
        # without a floor, what is promised of other samples is at most four times the loss seen here
        return Lowered(plan, kept, calibrated=True, min_cosine=max(1 - 4 * (1 - cosine), 0.0) if floor is None else floor)

    def _write(self, model: Any, plan: Plan, weights: dict[str, Weight], metadata: dict[str, str], path: Path) -> None:
        assert self.recipe.min_os is not None
        write_package(carry_out(plan, weights, model, self.recipe.min_os), metadata, path)
        check_stored(plan, path)

    def _float_program(self) -> tuple[Any, Path, tuple[str, ...]]:
        """The uncompressed program, a package of it, and the operations that stay in float32."""
        assert self.recipe.min_os is not None
        min_os, half = self.recipe.min_os, self.recipe.scheme != "fp32"
        models: dict[Path, Any] = {}

        def convert(half: bool, kept: frozenset[str] = frozenset()) -> Path:
            model = to_program(self.exported, self.interface, min_os, half, kept)
            path = self._save(model)
            models.clear()  # only the last one can be the one that is kept
            models[path] = model
            return path

        package = convert(half)
        kept: frozenset[str] = frozenset()
        if half and self.context is not None:
            samples = self._samples()
            samples = samples[np.linspace(0, len(samples) - 1, _CHECKED).astype(int)]
            if not half_is_safe(package, samples):
                with self.progress(f"looking for what float16 ruins in the {self.exported.tower} tower"):
                    kept, package = keep_in_fp32(convert(False), lambda names: convert(True, names), samples, self.label)
        return models[package], package, tuple(sorted(kept))

    def _samples(self) -> np.ndarray:
        if self.context is None:
            raise UsageError(f"--scheme {self.recipe.scheme}: needs calibration samples")
        return self.context.samples()

    def _save(self, model: Any) -> Path:
        self._made += 1
        path = self.folder / f"{self._made}.mlpackage"
        write_package(model, {}, path)
        return path
