"""The Core ML target: towers to ML Programs through coremltools' `torch.export` path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.coreml.compression import compress
from converters.coreml.inspection import inspect_package
from converters.coreml.package import write_package
from edgeclip.errors import ConversionError
from edgeclip.models.towers import ExportedTower
from edgeclip.recipe import Recipe
from edgeclip.spec import ModelSpec, Tower
from edgeclip.target import Interface, tower_interface


class CoreMLTarget:
    """ML Programs of static shape, batch 1; the image tower takes a pixel buffer."""

    name = "coreml"
    suffix = ".mlpackage"
    schemes = ("fp16", "fp32", "w8")
    backends = ()
    os_floors = ("iOS17", "iOS16", "iOS18")
    runtimes = ("coreml", "mil")

    def lower(self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path) -> None:
        import coremltools as ct
        import numpy as np

        assert recipe.min_os is not None
        precision = ct.precision.FLOAT32 if recipe.scheme == "fp32" else ct.precision.FLOAT16
        try:
            model = ct.convert(
                exported.program.run_decompositions({}),
                convert_to="mlprogram",
                inputs=[_input_type(exported)],
                outputs=[ct.TensorType(name=exported.output_name, dtype=np.float32)],
                minimum_deployment_target=getattr(ct.target, recipe.min_os),
                compute_precision=precision,
                skip_model_load=True,
            )
            model = compress(model, recipe.scheme)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ConversionError(f"coreml: {exported.tower} tower of {recipe.model}: {error}") from error
        write_package(model, dict(metadata), path)

    def interface(self, spec: ModelSpec, tower: Tower) -> Interface:
        return tower_interface(spec, tower, picture="image")

    def inspect(self, path: Path) -> dict[str, Any]:
        return inspect_package(path)


def _input_type(exported: ExportedTower) -> Any:
    """A pixel buffer for pictures: Core ML hands the graph 0..255, its scale brings that to [0, 1]."""
    import coremltools as ct
    import numpy as np

    shape = exported.spec.input_shape(exported.tower)
    if exported.tower == "image":
        return ct.ImageType(name=exported.input_name, shape=shape, scale=1 / 255, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=exported.input_name, shape=shape, dtype=np.int32)


TARGET = CoreMLTarget()
