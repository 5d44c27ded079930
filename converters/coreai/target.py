"""The Core AI target: towers to `.aimodel` assets, compressed as the scheme says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from converters.coreai.compression import check_installed
from converters.coreai.inspection import inspect_asset
from converters.coreai.metadata import stated_scheme
from converters.layouts import NeuralEngineLayouts
from edgeclip.errors import ConversionError, MissingPackageError
from edgeclip.models.towers import ExportedTower
from edgeclip.plugins import RUNTIMES
from edgeclip.recipe import Recipe
from edgeclip.spec import ModelSpec, Tower
from edgeclip.target import Context, Interface, Lowered, tower_interface


class CoreAITarget(NeuralEngineLayouts):
    """Programs of static shape, batch 1, float32 or int32 outside; the image tower takes a tensor."""

    name = "coreai"
    suffix = ".aimodel"
    schemes = ("fp16", "fp32", "w8", "w4", "pal4")
    backends = ()
    os_floors = ("iOS27",)
    token_tables = ()
    conventions = ()
    passes = ()
    runtimes = ("coreai",)

    def schemes_with(self, backend: str | None) -> tuple[str, ...]:
        return self.schemes

    def needed_os(self, scheme: str, forms: Collection[str] = ()) -> str | None:
        return None

    def check(self, recipe: Recipe) -> None:
        if missing := RUNTIMES[self.name].missing():
            raise MissingPackageError(f"{self.name}: {missing}")
        check_installed(recipe.scheme)

    def lower(
        self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path, context: Context | None = None
    ) -> Lowered:
        from converters.coreai.lowering import lower

        try:
            return lower(exported, recipe, metadata, path, context)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ConversionError(f"coreai: {exported.tower} tower of {recipe.model}: {error}") from error

    def interface(self, spec: ModelSpec, tower: Tower, convention: str | None) -> Interface:
        return tower_interface(spec, tower, picture="tensor")

    def file_stem(self, spec: ModelSpec, tower: Tower, convention: str | None) -> str:
        return f"{spec.file_stem}_{tower}"

    def stated_scheme(self, path: Path) -> str | None:
        return stated_scheme(path)

    def inspect(self, path: Path, method: str = "forward") -> dict[str, Any]:
        return inspect_asset(path)


TARGET = CoreAITarget()
