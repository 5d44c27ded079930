"""How near `--device host-model` comes to what is measured: `python benchmarks/host_model.py BUNDLE... [--write]`.

The estimates are from a fresh micro-benchmark; then all programs are run in this process, in turns, and their
medians compared with the estimates. --write keeps the errors as those that are shown with every estimate of `host-model`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.manifest import Artifact, Bundle
from edgeclip.plugins import OPERATIONS
from latency.rounds import PAUSE_S
from peers.executorch_program import load_program
from profiles.estimates.host_model import CHECK, read_checks, times_ms
from profiles.estimates.kernels import Kernels
from profiles.estimates.microbenchmark import measured
from profiles.machine import cpu_name

_LEAST_RUNS, _MOST_RUNS = 3, 40  # of a program in its turn
_TURN_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("bundles", nargs="+", type=Path, help="bundles with ExecuTorch artifacts on XNNPACK")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each program (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--write", action="store_true", help=f"keep the errors in {CHECK.name}")
    parser.add_argument("--keep", action="store_true", help="use the micro-benchmark of the cache, if there is one")
    args = parser.parse_args()
    kernels = Kernels(measured(args.threads, fresh=not args.keep))
    programs = [(bundle, artifact) for bundle in map(Bundle.open, args.bundles) for artifact in bundle.manifest.artifacts]
    programs = [one for one in programs if one[1].backend == "xnnpack"]
    estimates = [sum(_bounds(bundle, artifact, kernels).values()) for bundle, artifact in programs]
    medians = _medians([_run(bundle, artifact, args.threads) for bundle, artifact in programs], args.rounds)
    errors = [100 * (estimate / median - 1) for estimate, median in zip(estimates, medians, strict=True)]
    print(f"{'model':20}{'tower':8}{'scheme':8}{'measured':>12}{'estimated':>12}{'error':>10}")
    for (bundle, artifact), estimate, median, error in zip(programs, estimates, medians, errors, strict=True):
        name = bundle.manifest.model
        print(f"{name:20}{artifact.tower:8}{artifact.scheme:8}{median:9.2f} ms{estimate:9.2f} ms{error:+8.1f} %")
    mean, worst = statistics.mean(map(abs, errors)), max(map(abs, errors))
    print(f"{len(errors)} artifacts: mean error {mean:.1f} %, worst {worst:.1f} %")
    if args.write:
        found = {"threads": args.threads, "mean_percent": round(mean, 1), "worst_percent": round(worst, 1)}
        checks = read_checks() | {args.threads: {**found, "artifacts": len(errors), "processor": cpu_name()}}
        CHECK.write_text(json.dumps([checks[threads] for threads in sorted(checks)], indent=1) + "\n", "utf-8")


def _bounds(bundle: Bundle, artifact: Artifact, kernels: Kernels) -> dict[str, float]:
    operations = OPERATIONS[artifact.target].load()(bundle.verified_path(artifact), artifact.method)
    return times_ms(operations, kernels)[0]


def _run(bundle: Bundle, artifact: Artifact, threads: int) -> Callable[[], Any]:
    """An inference on an input of the kind that the manifest states."""
    encode = load_program(bundle.verified_path(artifact), threads)
    drawn = np.random.default_rng(0)
    shape = tuple(artifact.inputs[0].shape)
    if artifact.tower == "image":
        sample = drawn.uniform(0, 1, shape).astype(np.float32)
    else:
        sample = drawn.integers(1, 400, shape).astype(np.int32)
    return lambda: encode(sample)


def _medians(runs: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Milliseconds. In each round every program has a turn, in an order drawn anew: a run that does not count, then some."""
    times: list[list[float]] = [[] for _ in runs]
    order, drawn = list(range(len(runs))), random.Random(0)
    for _ in range(rounds):
        drawn.shuffle(order)
        for place in order:
            time.sleep(PAUSE_S)
            runs[place]()
            turn = time.perf_counter()
            for number in range(_MOST_RUNS):
                started = time.perf_counter()
                if number >= _LEAST_RUNS and started - turn > _TURN_S:
                    break
                runs[place]()
                times[place].append(1e3 * (time.perf_counter() - started))
    return [statistics.median(found) for found in times]


if __name__ == "__main__":
    main()
