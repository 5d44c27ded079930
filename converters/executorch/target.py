"""The ExecuTorch target: towers to `.pte` programs for a delegate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.executorch.backends import partitioners
from converters.executorch.inspection import inspect_program
from converters.executorch.quantization import quantize
from edgeclip.errors import ConversionError
from edgeclip.models.towers import ExportedTower
from edgeclip.recipe import Recipe
from edgeclip.spec import ModelSpec, Tower
from edgeclip.target import Interface, tower_interface


class ExecuTorchTarget:
    """Programs of static shape, batch 1, with one method `forward`."""

    name = "executorch"
    suffix = ".pte"
    schemes = ("fp32", "w8")
    backends = ("xnnpack",)
    os_floors = ()
    runtimes = ("executorch",)

    def lower(self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path) -> None:
        from executorch.exir import to_edge_transform_and_lower

        assert recipe.backend is not None
        try:
            program = quantize(exported, recipe.scheme)
            lowered = to_edge_transform_and_lower(program, partitioner=partitioners(recipe.backend, recipe.scheme))
            content = lowered.to_executorch().buffer
        except (RuntimeError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise ConversionError(f"executorch: {exported.tower} tower of {recipe.model}: {error}") from error
        path.write_bytes(content)

    def interface(self, spec: ModelSpec, tower: Tower) -> Interface:
        return tower_interface(spec, tower, picture="tensor")

    def inspect(self, path: Path) -> dict[str, Any]:
        return inspect_program(path)


TARGET = ExecuTorchTarget()
