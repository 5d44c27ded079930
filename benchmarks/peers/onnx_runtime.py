"""ONNX Runtime on the CPU: float32, and int8 by its own two quantizers.

As https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html recommends: shape inference and graph
optimization first (`quant_pre_process`), weights per channel, and on x86-64 without VNNI unsigned activations with signed
weights of 7 bits (`reduce_range`), since `VPMADDUBSW` saturates on 8. The attention fusions of `onnxruntime.transformers`
find no attention in these graphs (1.31, model types vit, clip and bert), so they are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.spec import Tower
from latency.case import Case
from latency.contender import FLOAT_COSINE, LOSSY_COSINE, Contender, Encode
from peers.onnx_model import PACKAGES, onnx_file

_FILE = "tower.onnx"
# None is all that the static quantizer knows. In text towers it would quantize the sum with the attention mask too, and with a
# range of -1e4 to 0 nothing is left of the scores.
_STATIC_OPERATORS: dict[Tower, list[str] | None] = {"image": None, "text": ["Conv", "MatMul", "Gemm", "Gather"]}


def _build_float(case: Case, folder: Path) -> None:
    (folder / _FILE).write_bytes(onnx_file(case).read_bytes())


def _preprocessed(case: Case, folder: Path) -> Path:
    """Optimized and with all shapes, for a quantizer; not part of the artifact."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, path = folder / "plain.onnx", folder / "preprocessed.onnx"
    model = onnx.load(onnx_file(case))
    # The optimizer fuses convolutions with what follows and keeps the exporter's shapes of before, on which the quantizer's
    # shape inference stops ("Inferred shape and existing shape differ", onnxruntime 1.31).
    del model.graph.value_info[:]
    onnx.save(model, plain)
    # Symbolic inference fails on these graphs (TypeError, the same release), and has nothing to add: all shapes are static.
    quant_pre_process(plain, path, skip_symbolic_shape=True)
    plain.unlink()
    return path


def _build_dynamic(case: Case, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = _preprocessed(case, folder)
    quantize_dynamic(path, folder / _FILE, per_channel=True, reduce_range=not _has_vnni(), weight_type=QuantType.QInt8)
    path.unlink()


def _build_static(case: Case, folder: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The calibration samples one by one, as the quantizer asks for them."""

        def __init__(self) -> None:
            self._samples: Iterator[np.ndarray] = iter(case.samples.inputs(case.tower))

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._samples, None)
            return None if sample is None else {case.input_name: sample[None]}

    path = _preprocessed(case, folder)
    quantize_static(
        path,
        folder / _FILE,
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_STATIC_OPERATORS[case.tower],
        per_channel=True,
        reduce_range=not _has_vnni(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    path.unlink()


def _has_vnni() -> bool:
    """Whether products of 8 by 8 bits cannot saturate: VNNI, or a processor that is not x86."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags or "asimddp" in flags


def _load(case: Case, folder: Path, threads: int) -> Encode:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors
    session: Any = onnxruntime.InferenceSession(folder / _FILE, options, providers=["CPUExecutionProvider"])

    def encode(sample: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {case.input_name: sample})[0])

    return encode


def _contender(name: str, label: str, build: Callable[[Case, Path], None], least: float, note: str = "") -> Contender:
    return Contender(
        name=name,
        label=label,
        packages=("onnxruntime", *PACKAGES),
        sources=("benchmarks/peers/onnx_runtime.py", "benchmarks/peers/onnx_model.py"),
        build=build,
        artifact=lambda _, folder: folder / _FILE,
        load=_load,
        least_cosine=least,
        note=note,
    )


CONTENDERS = (
    _contender("onnxruntime", "ONNX Runtime fp32", _build_float, FLOAT_COSINE),
    _contender("onnxruntime-dynamic", "ONNX Runtime, dynamic int8", _build_dynamic, LOSSY_COSINE),
    _contender(
        "onnxruntime-static",
        "ONNX Runtime, static int8",
        _build_static,
        LOSSY_COSINE,
        "calibrated on edgeclip's calibration samples; in text towers only products, embeddings and convolutions",
    ),
)
