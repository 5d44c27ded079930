#!/usr/bin/env python
"""The ML Program interpreter against torch eager: `python benchmarks/interpreter.py [MODEL ...]`.

For each tower, scheme and mode: interleaved rounds in one process on the same threads; prints the ratio of the medians, and
loading times, the shortest of three, for each tower and for a bundle's two together. The first load of a process takes a few
seconds more, in which torch imports what it needs for shapes without values.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgeclip.golden import read_golden
from edgeclip.manifest import Bundle
from edgeclip.models import MODELS
from edgeclip.models.originals import load_original
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.runtime import MilRunner
from edgeclip.reference.torch_runtime import original_runner

CELLS = ("fp32:fp32", "fp16:fp16", "fp16:fp32", "fp16:ane", "w8:fp16", "pal4:fp32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", default=["mobileclip-s0", "tinyclip-vit-8m-16"], metavar="MODEL")
    parser.add_argument("--cell", action="append", metavar="SCHEME:MODE", help=f"(default: {' '.join(CELLS)})")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"  # coremltools' bars
    torch.set_num_threads(args.threads)
    print(f"{args.threads} thread(s), medians of {args.rounds} interleaved rounds")
    print(f"{'model':20} {'tower':6} {'scheme':6} {'mode':5} {'load s':>7} {'eager ms':>9} {'mil ms':>8} {'ratio':>6}")
    for name in args.models:
        for cell in args.cell or CELLS:
            scheme, _, mode = cell.partition(":")
            _measure(name, scheme, mode, args.rounds)


def _measure(name: str, scheme: str, mode: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        weights = "demo" if MODELS[name].demo_weights else "seeded:0"
        bundle = Bundle.open(convert(name, [TargetOptions("coreml", scheme=scheme)], Path(folder) / "b", weights).bundle)
        original, golden = load_original(bundle.manifest), read_golden(bundle)
        together = 0.0
        for artifact in bundle.manifest.artifacts:
            given = golden.inputs(artifact.tower)[:1]
            loads = [_load(bundle.path / artifact.path, mode) for _ in range(3)]
            load, runner = min(seconds for seconds, _ in loads), loads[-1][1]
            together += load
            eager = original_runner(original, artifact.tower)
            times: dict[str, list[float]] = {"eager": [], "mil": []}
            for _ in range(rounds + 2):
                for key, encode in (("eager", eager.encode), ("mil", runner.encode)):
                    times[key].append(_seconds(encode, given))
            before, after = (1e3 * statistics.median(times[key][2:]) for key in ("eager", "mil"))
            row = f"{name:20} {artifact.tower:6} {scheme:6} {mode:5} {load:7.2f} {before:9.1f} {after:8.1f}"
            print(f"{row} {after / before:6.2f}", flush=True)
        print(f"{name:20} {'both':6} {scheme:6} {mode:5} {together:7.2f}", flush=True)


def _load(path: Path, mode: str) -> tuple[float, MilRunner]:
    started = time.perf_counter()
    runner = MilRunner(MilModel.load(path, mode))  # type: ignore[arg-type]
    return time.perf_counter() - started, runner


def _seconds(encode: Callable[[np.ndarray], object], given: np.ndarray) -> float:
    started = time.perf_counter()
    encode(given)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
