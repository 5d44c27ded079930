"""MNN on the CPU, converted from ONNX by its own tool, attention fused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from edgeclip.spec import OUTPUT_NAME
from latency.case import Case
from latency.contender import Contender, Encode
from peers.onnx_model import PACKAGES, onnx_file

_FILE = "tower.mnn"


def _build(case: Case, folder: Path) -> None:
    tool = [sys.executable, "-m", "MNN.tools.mnnconvert", "-f", "ONNX", "--bizCode", "edgeclip", "--transformerFuse"]
    command = [*tool, "--modelFile", str(onnx_file(case)), "--MNNModel", str(folder / _FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not (folder / _FILE).exists():  # the tool's exit status is 0 all the same
        raise RuntimeError(f"MNNConvert made no file: {(done.stdout + done.stderr).strip().splitlines()[-1:]}")


def _load(case: Case, folder: Path, threads: int) -> Encode:
    from MNN import expr, nn

    # `high` is float32; the default lets the runtime choose. https://mnn-docs.readthedocs.io/en/latest/pymnn/RuntimeManager.html
    manager = nn.create_runtime_manager(({"backend": 0, "numThread": threads, "precision": "high"},))
    module = nn.load_module_from_file(str(folder / _FILE), [case.input_name], [OUTPUT_NAME], runtime_manager=manager)
    kind = expr.float if case.tower == "image" else expr.int

    def encode(sample: np.ndarray) -> np.ndarray:
        (output,) = module.onForward([expr.const(sample, list(sample.shape), expr.NCHW, kind)])
        return np.array(expr.convert(output, expr.NCHW).read())

    return encode


CONTENDERS = (
    Contender(
        name="mnn",
        label="MNN fp32",
        packages=("MNN", *PACKAGES),
        sources=("benchmarks/peers/mnn_model.py", "benchmarks/peers/onnx_model.py"),
        build=_build,
        load=_load,
    ),
)
