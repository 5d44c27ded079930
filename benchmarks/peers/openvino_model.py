"""OpenVINO on the CPU, tuned for latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latency.case import Case
from latency.contender import Contender, Encode
from peers.onnx_model import PACKAGES, onnx_file

_FILE = "tower.xml"


def _build(case: Case, folder: Path) -> None:
    import openvino

    openvino.save_model(openvino.convert_model(onnx_file(case)), folder / _FILE, compress_to_fp16=False)


def _load(_: Case, folder: Path, threads: int) -> Encode:
    import openvino

    # https://docs.openvino.ai/2026/openvino-workflow/running-inference/optimize-inference/high-level-performance-hints.html
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / _FILE, "CPU", options)
    request, output = model.create_infer_request(), model.output(0)

    def encode(sample: np.ndarray) -> np.ndarray:
        return np.array(request.infer({0: sample}, share_inputs=True)[output])

    return encode


CONTENDERS = (
    Contender(
        name="openvino",
        label="OpenVINO fp32",
        packages=("openvino", *PACKAGES),
        sources=("benchmarks/peers/openvino_model.py", "benchmarks/peers/onnx_model.py"),
        build=_build,
        load=_load,
    ),
)
