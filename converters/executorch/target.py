"""The ExecuTorch target: towers to `.pte` programs for a delegate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.executorch.backends import partitioners
from converters.executorch.inspection import inspect_program
from converters.executorch.passes import PASS_CHOICES, apply_passes, chosen
from converters.executorch.quantization import quantize
from edgeclip.errors import ConversionError
from edgeclip.models.towers import ExportedTower
from edgeclip.progress import silent
from edgeclip.recipe import Recipe
from edgeclip.spec import ModelSpec, Tower
from edgeclip.target import Context, Interface, Lowered, tower_interface

if TYPE_CHECKING:
    from torch import nn


class ExecuTorchTarget:
    """Programs of static shape, batch 1, with one method `forward`."""

    name = "executorch"
    suffix = ".pte"
    schemes = ("fp32", "w8")
    backends = ("xnnpack",)
    os_floors = ()
    layouts = ()
    token_tables = ()
    conventions = ()
    passes = PASS_CHOICES
    runtimes = ("executorch",)

    def needed_os(self, scheme: str, forms: Collection[str] = ()) -> str | None:
        return None

    def check(self, recipe: Recipe) -> None:
        return

    def rewrite(self, layout: str | None) -> Callable[[nn.Module], nn.Module] | None:
        return None

    def lower(
        self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path, context: Context | None = None
    ) -> Lowered:
        from converters.executorch.lowering import lower

        assert recipe.backend is not None
        progress = silent if context is None else context.progress
        try:
            with progress(f"lowering the {exported.tower} tower: executorch {recipe.scheme}"):
                example = (exported.example,)
                program, _ = apply_passes(exported.program, example, chosen(recipe.passes))
                program = quantize(program, example, recipe.scheme)
                content = lower({"forward": program}, partitioners(recipe.backend, recipe.scheme)).buffer
        except (RuntimeError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise ConversionError(f"executorch: {exported.tower} tower of {recipe.model}: {error}") from error
        path.write_bytes(content)
        return Lowered()

    def interface(self, spec: ModelSpec, tower: Tower, convention: str | None) -> Interface:
        return tower_interface(spec, tower, picture="tensor")

    def file_stem(self, spec: ModelSpec, tower: Tower, convention: str | None) -> str:
        return f"{spec.file_stem}_{tower}"

    def stated_scheme(self, path: Path) -> str | None:
        return None

    def inspect(self, path: Path) -> dict[str, Any]:
        return inspect_program(path)


TARGET = ExecuTorchTarget()
