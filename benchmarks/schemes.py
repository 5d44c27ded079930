#!/usr/bin/env python
"""Every scheme of a target: size, error, accuracy: `python benchmarks/schemes.py --target coreml [--readme README.md]`.

Two tables. Sizes, and for Core ML the share of MobileCLIP-S0's multiply-adds (under `auto`, of mobileclip-demo's) which no
rule of `inspect --ane` keeps off the Neural Engine. And errors: the smallest cosine with the original, for the demo models,
which are really trained, over `verify`'s samples, and zero-shot top-1 among all 64 colour-shape pairs on drawn scenes, half of
them of pairs that training never showed; for the others over the golden inputs, with generated weights, which compress worse
than trained ones. `--readme` puts the tables between the file's markers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.coreml.neural_engine.lint import lint_package
from edgeclip.data import scenes
from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.prompts import DEFAULT_TEMPLATES
from edgeclip.data.tokenizer import load_tokenizer
from edgeclip.golden import read_golden
from edgeclip.manifest import Bundle
from edgeclip.models import MODELS
from edgeclip.models.originals import load_original
from edgeclip.pipeline import convert
from edgeclip.plugins import RUNTIMES
from edgeclip.recipe import Goal, TargetOptions
from edgeclip.reference.runtime import Runner
from edgeclip.reference.torch_runtime import original_runner
from edgeclip.spec import TOWERS
from edgeclip.verify.compare import verify
from edgeclip.verify.metrics import unit
from markers import put

SIZED = ("mobileclip-s0", "tinyclip-vit-8m-16")
TRAINED = ("mobileclip-demo", "tinyclip-demo")
AUTO_BITS = 4.5  # of each weight, scales and tables included
_SEED = 78_000


@dataclass(frozen=True)
class Case:
    """One row of the table: a name, and what is converted for it."""

    name: str
    scheme: str
    min_os: str | None = None
    bits: float | None = None

    def options(self, target: str, model: str) -> TargetOptions:
        spec = MODELS[model]
        size = None if self.bits is None else (spec.image_params + spec.text_params) * self.bits / 8e6
        return TargetOptions(target, scheme=self.scheme, min_os=self.min_os, goal=Goal(max_mb=size))


@dataclass(frozen=True)
class Measured:
    """A target's cases, and the runtime that its artifacts are run with."""

    runtime: str
    cases: tuple[Case, ...]


MEASURED = {
    "coreml": Measured(
        "mil",
        (
            *(Case(scheme, scheme) for scheme in ("fp32", "fp16", "w8", "w8a8", "pal6", "pal4", "prune50")),
            *(Case(scheme, scheme, "iOS18") for scheme in ("w4", "pal6", "pal4", "pal4-lut8", "prune50-w8")),
            Case("auto, cosine 0.995", "auto", "iOS18"),
            Case(f"auto, {AUTO_BITS} bits", "auto", "iOS18", AUTO_BITS),
        ),
    ),
    "executorch": Measured(
        "executorch",
        (
            *(Case(scheme, scheme) for scheme in ("fp32", "fp16", "w8", "w8a8", "w4")),
            Case("auto, cosine 0.995", "auto"),
            Case("auto, 9 bits", "auto", bits=9),
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--target", choices=list(MEASURED), default="coreml")
    parser.add_argument("--readme", type=Path, help="a file to put the table into")
    parser.add_argument("--scenes", type=int, default=1000, help="for top-1")
    parser.add_argument("--only", help="names of schemes, separated by commas")
    parser.add_argument("--models", default=",".join((*SIZED, *TRAINED)))
    parser.add_argument("--results", type=Path, help="default: build/TARGET_schemes.json; kept after every cell")
    args = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"  # coremltools' bars
    args.results = args.results or Path(f"build/{args.target}_schemes.json")
    chosen = [case for case in MEASURED[args.target].cases if args.only is None or case.scheme in args.only.split(",")]
    results: dict[str, Any] = json.loads(args.results.read_text()) if args.results.exists() else {}
    for case in chosen:
        for model in args.models.split(","):
            if case.scheme == "auto" and model in SIZED:
                continue  # what it chooses depends on the weights, and these are generated
            key = f"{case.name}/{case.min_os}/{model}"
            if key not in results:
                results[key] = _measure(args.target, case, model, args.scenes)
                args.results.parent.mkdir(parents=True, exist_ok=True)
                args.results.write_text(json.dumps(results, indent=1))
            print(key, json.dumps(results[key]), flush=True)
    table = "\n".join(_lines(args.target, chosen, results))
    print(table)
    if args.readme:
        put(
            args.readme,
            (f"<!-- schemes: benchmarks/schemes.py --target {args.target} -->", f"<!-- end of {args.target} schemes -->"),
            table,
        )


def _measure(target: str, case: Case, model: str, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        demo = bool(MODELS[model].demo_weights)
        made = convert(model, [case.options(target, model)], Path(folder) / "b", "demo" if demo else "seeded:0")
        bundle, runtime = Bundle.open(made.bundle), MEASURED[target].runtime
        found: dict[str, Any] = {"min_os": bundle.manifest.artifacts[0].min_os}
        found["mb"] = {a.tower: round(a.size_bytes / 1e6, 2) for a in bundle.manifest.artifacts}
        if target == "coreml":
            shares = {a.tower: lint_package(bundle.path / a.path).macs_share for a in bundle.manifest.artifacts}
            found["eligible_percent"] = {tower: round(100 * (share or 0), 2) for tower, share in shares.items()}
        if not demo:
            found["cosine_min"] = _golden_cosines(bundle, runtime)
            return found
        rows = verify(bundle.path, runtime=runtime).rows
        found["cosine_min"] = {row.tower: row.cosine_min for row in rows}
        found["passed"] = {row.tower: row.passed for row in rows}
        found["top1_lost"] = round(_top1_lost(bundle, runtime, count), 2)
        return found


def _golden_cosines(bundle: Bundle, name: str) -> dict[str, float]:
    golden, runtime = read_golden(bundle), RUNTIMES[name].load()
    found = {}
    for artifact in bundle.manifest.artifacts:
        with runtime.open(bundle, artifact, runtime.modes(artifact.scheme)[0]) as runner:
            embeddings = unit(runner.encode(golden.inputs(artifact.tower)).astype(np.float64))
        found[artifact.tower] = float((embeddings * unit(golden.embeddings(artifact.tower).astype(np.float64))).sum(1).min())
    return found


def _top1_lost(bundle: Bundle, name: str, count: int) -> float:
    """Percent points between the original and the artifacts, on the same scenes."""
    spec = MODELS[bundle.manifest.model]
    drawn = [*scenes.scenes(count // 2, _SEED, scenes.SEEN_PAIRS), *scenes.scenes(count // 2, _SEED, scenes.HELD_OUT_PAIRS)]
    pictures = np.stack([preprocess_image(scenes.draw(scene, spec.preprocess.size), spec.preprocess) for scene in drawn])
    phrases = [scenes.phrase({"colour": colour, "shape": shape}) for colour, shape in scenes.ALL_PAIRS]
    ids = load_tokenizer(bundle)([template.replace("{}", phrase) for phrase in phrases for template in DEFAULT_TEMPLATES])
    right = np.array([scenes.ALL_PAIRS.index((scene.colour, scene.shape)) for scene in drawn])
    original, runtime = load_original(bundle.manifest), RUNTIMES[name].load()
    by = {a.tower: runtime.open(bundle, a, runtime.modes(a.scheme)[0]) for a in bundle.manifest.artifacts}
    theirs = {tower: original_runner(original, tower) for tower in TOWERS}
    return _top1(theirs, pictures, ids, right) - _top1(by, pictures, ids, right)


def _top1(runners: dict[Any, Runner], pictures: np.ndarray, ids: np.ndarray, right: np.ndarray) -> float:
    text = unit(runners["text"].encode(ids)).reshape(len(scenes.ALL_PAIRS), len(DEFAULT_TEMPLATES), -1).mean(axis=1)
    best = (unit(runners["image"].encode(pictures)) @ unit(text).T).argmax(axis=1)
    return 100 * float((best == right).mean())


def _lines(target: str, cases: Iterable[Case], results: dict[str, Any]) -> Iterable[str]:
    models = (*SIZED, *TRAINED)
    shown = [
        (case, {model: results.get(f"{case.name}/{case.min_os}/{model}") for model in models})
        for case in cases
        if any(key.startswith(f"{case.name}/{case.min_os}/") for key in results)
    ]
    apple = target == "coreml"
    yield from _table(
        (
            "scheme",
            *(("from",) if apple else ()),
            *(f"{model}, MB" for model in models),
            *(("NE-eligible image / text",) if apple else ()),
        ),
        [
            (
                *_named(case, found, apple),
                *(_pair(found[model], "mb", ".1f", total=True) for model in models),
                *((_pair(found[SIZED[0]] or found[TRAINED[0]], "eligible_percent", ".0f") + " %",) if apple else ()),
            )
            for case, found in shown
        ],
    )
    yield ""
    yield from _table(
        ("cosine image / text", *(("from",) if apple else ()), *models, *(f"top-1 lost, {model}" for model in TRAINED)),
        [
            (
                *_named(case, found, apple),
                *(_pair(found[model], "cosine_min", ".4f") for model in models),
                *("" if not found[model] else f"{found[model]['top1_lost']:.1f}" for model in TRAINED),
            )
            for case, found in shown
        ],
    )


def _named(case: Case, found: dict[str, Any], apple: bool) -> tuple[str, ...]:
    return (case.name, next(result["min_os"] for result in found.values() if result)) if apple else (case.name,)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterable[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _pair(result: dict[str, Any] | None, name: str, form: str, total: bool = False) -> str:
    if not result:
        return "-"
    values = [result[name][tower] for tower in TOWERS]
    return format(sum(values), form) if total else " / ".join(format(value, form) for value in values)


if __name__ == "__main__":
    main()
