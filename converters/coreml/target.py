"""The Core ML target: towers to ML Programs, compressed as the scheme says, as `.mlpackage`."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from converters.coreml.compression.plan import check_floor, needed_os
from converters.coreml.conventions import CONVENTIONS
from converters.coreml.inspection import inspect_package
from converters.layouts import NeuralEngineLayouts
from edgeclip.errors import ConversionError
from edgeclip.models.towers import ExportedTower
from edgeclip.recipe import Recipe
from edgeclip.reference.mil.package import Package
from edgeclip.spec import ModelSpec, Tower
from edgeclip.target import Context, Interface, Lowered, tower_interface


class CoreMLTarget(NeuralEngineLayouts):
    """ML Programs of static shape, batch 1; the image tower takes a pixel buffer."""

    name = "coreml"
    suffix = ".mlpackage"
    schemes = ("fp16", "fp32", "w8", "w8a8", "w4", "pal6", "pal4", "pal4-lut8", "prune50", "prune50-w8", "auto")
    backends = ()
    os_floors = ("iOS17", "iOS16", "iOS18")
    token_tables = ("fp16", "w8", "w4", "pal6", "pal4", "pal4-lut8")
    conventions = tuple(CONVENTIONS)
    passes = ()
    runtimes = ("coreml", "mil")

    def schemes_with(self, backend: str | None) -> tuple[str, ...]:
        return self.schemes

    def needed_os(self, scheme: str, forms: Collection[str] = ()) -> str | None:
        return needed_os(scheme, *forms)

    def check(self, recipe: Recipe) -> None:
        check_floor(recipe)

    def lower(
        self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path, context: Context | None = None
    ) -> Lowered:
        from converters.coreml.lowering import Lowering

        interface = self.interface(exported.spec, exported.tower, recipe.convention)
        with tempfile.TemporaryDirectory(prefix="edgeclip-") as folder:
            try:
                return Lowering(exported, recipe, interface, Path(folder), context).write(dict(metadata), path)
            except (RuntimeError, ValueError, KeyError, TypeError) as error:
                raise ConversionError(f"coreml: {exported.tower} tower of {recipe.model}: {error}") from error

    def interface(self, spec: ModelSpec, tower: Tower, convention: str | None) -> Interface:
        names = CONVENTIONS[convention or self.conventions[0]]
        return tower_interface(spec, tower, "image", names.inputs[tower], names.outputs[tower])

    def file_stem(self, spec: ModelSpec, tower: Tower, convention: str | None) -> str:
        return CONVENTIONS[convention or self.conventions[0]].file_stem(spec, tower)

    def stated_scheme(self, path: Path) -> str | None:
        return Package(path).model.description.metadata.userDefined.get("edgeclip.scheme")

    def inspect(self, path: Path, method: str = "forward") -> dict[str, Any]:
        return inspect_package(path)


TARGET = CoreMLTarget()
