"""ncnn on the CPU, converted by pnnx from a trace."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from latency.case import Case
from latency.contender import Contender, Encode

_STEM = "tower"
_PLAIN = ("no-ops", "constants", "matmul", "pooling", "attention", "layer-scale", "norm-affine")
_NARROW = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


def _build(case: Case, folder: Path) -> None:
    import pnnx
    import torch

    example = case.example()
    traced = folder / f"{_STEM}.pt"
    torch.jit.trace(_plain(case, example), example, check_trace=False).save(str(traced))  # type: ignore[no-untyped-call]
    kind = "f32" if example.is_floating_point() else "i32"
    shape = f"inputshape=[{','.join(map(str, example.shape))}]{kind}"
    done = subprocess.run(
        [pnnx.EXEC_PATH, traced.name, shape, "fp16=0"], cwd=folder, capture_output=True, text=True, check=False
    )
    for file in folder.iterdir():
        if ".ncnn." not in file.name or file.suffix == ".py":
            file.unlink()
    param = folder / f"{_STEM}.ncnn.param"
    if not param.exists():
        raise RuntimeError(f"pnnx ended with status {done.returncode} and made no file")
    # pnnx writes what it could not translate under torch's name, which has a dot as no layer of ncnn has.
    layers = {line.split()[0] for line in param.read_text("utf-8").splitlines()[2:] if line.strip()}
    if foreign := sorted(layer for layer in layers if "." in layer):
        raise RuntimeError(f"ncnn has no layer for {', '.join(foreign)}")


def _plain(case: Case, example: Any) -> Any:
    """The tower with attention as plain products, which are exact: pnnx translates neither `unbind` nor five axes."""
    import torch

    from converters.executorch.passes import apply_passes, chosen

    program = torch.export.export(case.fused(), (example,), strict=False)
    others = [f"-{step.name}" for step in chosen() if step.name not in _PLAIN]
    return apply_passes(program, (example,), chosen(others))[0].module()


def _load(_: Case, folder: Path, threads: int) -> Encode:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in _NARROW:
        setattr(net.opt, option, False)
    if net.load_param(str(folder / f"{_STEM}.ncnn.param")) or net.load_model(str(folder / f"{_STEM}.ncnn.bin")):
        raise RuntimeError("ncnn cannot load what pnnx made")

    def encode(sample: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(sample[0]).clone())
        status, output = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn cannot run it (status {status})")
        return np.array(output).reshape(1, -1)

    return encode


CONTENDERS = (
    Contender(
        name="ncnn",
        label="ncnn fp32",
        packages=("ncnn", "pnnx", "torch"),
        sources=("benchmarks/peers/ncnn_model.py", "converters/executorch/passes"),
        build=_build,
        load=_load,
    ),
)
