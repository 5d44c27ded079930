"""The fused tower as ONNX: what ONNX Runtime, OpenVINO and MNN are given."""

from __future__ import annotations

import os
from pathlib import Path

from edgeclip.spec import OUTPUT_NAME
from latency.case import Case

# From 17 on LayerNormalization and from 20 on Gelu are operators of their own, which every runtime has kernels for.
OPSET = 20
PACKAGES = ("torch", "onnx", "onnxscript")


def onnx_file(case: Case) -> Path:
    """The exported tower, static shape, batch 1; made once for all peers of one run."""
    import onnxscript
    import torch

    path = case.folder / f"fp32-opset{OPSET}-torch{torch.__version__}-onnxscript{onnxscript.__version__}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        torch.onnx.export(
            case.fused(),
            (case.example(),),
            str(temporary),
            input_names=[case.input_name],
            output_names=[OUTPUT_NAME],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        temporary.replace(path)
    return path
