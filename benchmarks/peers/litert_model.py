"""LiteRT on the CPU (XNNPACK too), converted by litert-torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latency.case import Case
from latency.contender import Contender, Encode

_FILE = "tower.tflite"


def _build(case: Case, folder: Path) -> None:
    import litert_torch

    litert_torch.convert(case.fused(), (case.example(),)).export(str(folder / _FILE))


def _load(_: Case, folder: Path, threads: int) -> Encode:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / _FILE), num_threads=threads)
    interpreter.allocate_tensors()
    given, output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def encode(sample: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], sample)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(output["index"]))

    return encode


CONTENDERS = (
    Contender(
        name="litert",
        label="LiteRT fp32",
        packages=("litert-torch", "ai-edge-litert", "torch"),
        sources=("benchmarks/peers/litert_model.py",),
        build=_build,
        load=_load,
    ),
)
