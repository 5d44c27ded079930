"""ExportedProgram -> ML Program, through coremltools' `torch.export` path."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from converters.coreml.neural_engine.operations import SCALES_AND_SHIFTS
from edgeclip.models.towers import ExportedTower
from edgeclip.target import Interface

# It writes a constant product and sum as a batch_norm of variance 1 and forgets that batch_norm adds an epsilon of 1e-5 to
# that: everything becomes 5e-6 smaller (coremltools 9.0, `fuse_elementwise_to_batchnorm`).
_UNWANTED_PASSES = {"common::fuse_elementwise_to_batchnorm"}


def to_program(exported: ExportedTower, interface: Interface, min_os: str, half: bool, keep_fp32: Collection[str] = ()) -> Any:
    """Convert a tower to a coremltools model of static shape, batch 1.

    half: compute in float16, except for the operations with a result named in `keep_fp32`.
    """
    import coremltools as ct
    import numpy as np

    kept = frozenset(keep_fp32)
    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes(_UNWANTED_PASSES)
    precision: Any = ct.precision.FLOAT32
    if half:
        precision = ct.transform.FP16ComputePrecision(
            op_selector=lambda op: kept.isdisjoint(out.name for out in op.outputs) and not any(map(_of_pixels, op.outputs))
        )
    return ct.convert(
        exported.program.run_decompositions({}),
        convert_to="mlprogram",
        inputs=[_input_type(exported, interface)],
        outputs=[ct.TensorType(name=interface.outputs[0].name, dtype=np.float32)],
        minimum_deployment_target=getattr(ct.target, min_os),
        compute_precision=precision,
        pass_pipeline=pipeline,
        skip_model_load=True,
    )


def _of_pixels(value: Any) -> bool:
    """Whether it is the picture, or one whose pixels are scaled and shifted.

    That stays in float32, as the scale of a pixel buffer does: a mean in float16 is a picture a little brighter, on all pixels.
    """
    if value.op is None:
        return value.rank == 4
    return value.op.op_type in SCALES_AND_SHIFTS and all(_of_pixels(one) for one in (value.op.x, value.op.y) if one.val is None)


def _input_type(exported: ExportedTower, interface: Interface) -> Any:
    """A pixel buffer for pictures: Core ML hands the graph 0..255, its scale brings that to [0, 1]."""
    import coremltools as ct
    import numpy as np

    given = interface.inputs[0]
    if exported.tower == "image":
        return ct.ImageType(name=given.name, shape=given.shape, scale=1 / 255, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=given.name, shape=given.shape, dtype=np.int32)
