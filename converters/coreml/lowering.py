"""One tower's way to a package: a float program first, checked for float16, then compressed as planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converters.coreml.activations import activation_ranges, quantize_activations
from converters.coreml.compression.plan import carry_out, check_stored, plan_for
from converters.coreml.compression.weights import find_weights
from converters.coreml.package import write_package
from converters.coreml.precision import half_is_safe, keep_in_fp32
from converters.coreml.program import to_program
from edgeclip.errors import UsageError
from edgeclip.models.towers import ExportedTower
from edgeclip.progress import silent
from edgeclip.recipe import Recipe
from edgeclip.target import Context, Interface, Lowered

_CHECKED = 3  # calibration samples on which float16 is tried


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
            if self.recipe.scheme != "auto":
                plan = plan_for(self.recipe, weights)
                if self.recipe.scheme == "w8a8":
                    model = quantize_activations(model, activation_ranges(package, self._samples()))
                write_package(self._compressed(model, plan, weights), metadata, path)
                check_stored(plan, path)
                listed = plan if self.recipe.layers is not None else None
                return Lowered(listed, kept, calibrated=self.recipe.scheme == "w8a8")
        raise NotImplementedError

    def _compressed(self, model: Any, plan: dict[str, str], weights: Any) -> Any:
        assert self.recipe.min_os is not None
        return carry_out(plan, weights, model, self.recipe.min_os)

    def _float_program(self) -> tuple[Any, Path, tuple[str, ...]]:
        """The uncompressed program, a package of it, and the operations that stay in float32."""
        assert self.recipe.min_os is not None
        min_os, half = self.recipe.min_os, self.recipe.scheme != "fp32"
        models: dict[Path, Any] = {}

        def convert(half: bool, kept: frozenset[str] = frozenset()) -> Path:
            model = to_program(self.exported, self.interface, min_os, half, kept)
            path = self._save(model)
            models[path] = model
            return path

        package = convert(half)
        kept: frozenset[str] = frozenset()
        if half and self.context is not None:
            samples = self._samples()[:_CHECKED]
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
