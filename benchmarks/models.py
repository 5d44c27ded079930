#!/usr/bin/env python
"""Every model through the whole chain: `python benchmarks/models.py [MODEL...] [--max-millions 100] [--readme README.md]`.

Each model is converted to fp16 Core ML and fp32 ExecuTorch with live generated weights (the demo models with their own),
verified (the large ones with six pictures and eight texts), and made to classify drawn pictures in every runtime, whose
cosines have to be the original's. Each step is the command line in a process of its own. Results are kept after each model,
and a model that has one is not done again; exit status 1 if any step failed. `--jobs N` takes N models at once, each on its
share of the cores. `--readme` puts the table between the file's markers. `--target coreai` does so for that target, in
several schemes (`models_coreai.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models_coreai
from edgeclip.data import scenes
from edgeclip.models import MODELS
from edgeclip.spec import TOWERS, ModelSpec
from edgeclip.verify.samples import TEXTS
from markers import put
from steps import StepError, said

MARKERS = ("<!-- models: benchmarks/models.py -->", "<!-- end of models -->")
_RUNTIMES = ("torch", "executorch", "mil")
_COSINE_TOLERANCE = 0.01  # of fp16
_LABELS = "a red circle,a blue star,a green heart,a yellow moon"
_LARGE_M = 100  # models of more million parameters are verified with fewer pictures and texts


@dataclass(frozen=True)
class Measured:
    """What is done with a model in a folder, and how the results are shown."""

    check: Callable[[ModelSpec, Path], dict[str, Any]]
    lines: Callable[[dict[str, dict[str, Any]]], Iterator[str]]
    markers: tuple[str, str]
    results: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument("--max-millions", type=float, metavar="M", help="only models of at most so many million parameters")
    parser.add_argument("--readme", type=Path, help="a file to put the table into")
    parser.add_argument("--target", choices=list(_MEASURED), default="phones", help="phones: Core ML and ExecuTorch (default)")
    parser.add_argument("--results", type=Path, help="default: build/models.json, for coreai build/models_coreai.json")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="models at once (default: 1)")
    args = parser.parse_args()
    measured = _MEASURED[args.target]
    args.results = args.results or measured.results
    chosen = [MODELS[name] for name in args.models] or list(MODELS.values())
    chosen = [spec for spec in chosen if args.max_millions is None or _millions(spec) <= args.max_millions]
    results: dict[str, Any] = json.loads(args.results.read_text()) if args.results.exists() and not args.fresh else {}
    wanted = [spec for spec in sorted(chosen, key=_millions) if results.get(spec.name, {"failed": "not run"})["failed"]]
    started = time.perf_counter()
    for spec, found in _in_turn(wanted, measured, args.jobs):
        results[spec.name] = found
        args.results.parent.mkdir(parents=True, exist_ok=True)
        args.results.write_text(json.dumps(results, indent=1))
        print(spec.name, json.dumps(found), flush=True)
    print(f"{len(wanted)} models in {(time.perf_counter() - started) / 60:.1f} minutes")
    done = {spec.name: results[spec.name] for spec in MODELS.values() if spec.name in results}
    table = "\n".join(measured.lines(done))
    print(table)
    if args.readme:
        put(args.readme, measured.markers, table)
    failed = [spec.name for spec in chosen if results[spec.name]["failed"]]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _in_turn(specs: list[ModelSpec], measured: Measured, jobs: int) -> Iterator[tuple[ModelSpec, dict[str, Any]]]:
    """Each with what was found, as soon as it is."""
    if jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))  # of the steps
    with ThreadPoolExecutor(jobs) as pool:
        pending = {pool.submit(_checked, spec, measured): spec for spec in specs}
        for future in as_completed(pending):
            yield pending[future], future.result()


def _millions(spec: ModelSpec) -> float:
    return (spec.image_params + spec.text_params) / 1e6


def _checked(spec: ModelSpec, measured: Measured) -> dict[str, Any]:
    """What each step said, and in `failed` the first line of the one that did not succeed."""
    found: dict[str, Any] = {"failed": None}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        try:
            found |= measured.check(spec, Path(name))
        except StepError as error:
            found["failed"] = str(error)
    found["seconds"] = round(time.perf_counter() - started, 1)
    return found


def _check(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """Converted, verified and run."""
    return {**_converted(spec, folder / "bundle"), **_verified(spec, folder), **_classified(spec, folder)}


def _converted(spec: ModelSpec, bundle: Path) -> dict[str, Any]:
    weights = "demo" if spec.demo_weights else "seeded:0"
    # The default schemes: fp16 and fp32.
    made = said("convert", spec.name, "--target", "coreml", "--target", "executorch", "--weights", weights, "--out", bundle)
    sizes = {f"{one['target']}_{one['tower']}_mb": round(one["size_bytes"] / 1e6, 1) for one in made["artifacts"]}
    executorch = [one for one in made["artifacts"] if one["target"] == "executorch"]
    delegated = {f"delegated_{one['tower']}_percent": one["delegated_percent"] for one in executorch}
    return {"convert_s": made["wall_s"], "peak_gb": round(made["peak_rss_mb"] / 1024, 2), **sizes, **delegated}


def _verified(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    rows = said("verify", folder / "bundle", *(_few(spec, folder) if _millions(spec) > _LARGE_M else ()))["rows"]
    found: dict[str, Any] = {}
    for row in rows:
        place = f"{row['target']}_{row['tower']}"
        found[f"{place}_cosine_min"] = min(row["cosine_min"], found.get(f"{place}_cosine_min", 1.0))
        found[f"{row['tower']}_between"] = row["between_input_cosine"]
    return found


def _few(spec: ModelSpec, folder: Path) -> list[str | Path]:
    """The options of `verify` for samples of our own."""
    pictures, texts = folder / "pictures", folder / "texts.txt"
    pictures.mkdir()
    for number, scene in enumerate(scenes.scenes(6, seed=6)):
        scenes.draw(scene, spec.preprocess.size).save(pictures / f"{number}.png")
    texts.write_text("\n".join(TEXTS[::4][:8]) + "\n", "utf-8")
    return ["--images", pictures, "--texts", texts]


def _classified(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """The largest difference of a cosine with the original's, over pictures, labels and runtimes."""
    pictures = []
    for number, scene in enumerate(scenes.scenes(3, seed=5)):
        pictures.append(folder / f"{number}.png")
        scenes.draw(scene, spec.preprocess.size).save(pictures[-1])
    cosines = {}
    for runtime in _RUNTIMES:
        answer = said("classify", folder / "bundle", *pictures, "--labels", _LABELS, "--runtime", runtime)
        cosines[runtime] = [{one["label"]: one["cosine"] for one in image["scores"]} for image in answer["images"]]
    original = cosines.pop("torch")
    differences = [
        abs(image[label] - cosine)
        for images in cosines.values()
        for image, expected in zip(images, original, strict=True)
        for label, cosine in expected.items()
    ]
    if max(differences) > _COSINE_TOLERANCE:
        raise StepError(f"classify: a cosine is {max(differences):.4f} off the original's")
    return {"classify_error": max(differences)}


def _lines(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield (
        "| model | parameters, M | Core ML fp16, MB | cosine | ExecuTorch fp32, MB | cosine | delegated | convert | memory |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, found in results.items():
        spec = MODELS[name]
        millions = f"{spec.image_params / 1e6:.1f} + {spec.text_params / 1e6:.1f}"
        if found["failed"]:
            yield f"| `{name}` | {millions} | FAILED: {found['failed']} | | | | | | |"
            continue
        sizes = {target: _both(found, f"{target}_{{}}_mb", "{:.0f}") for target in ("coreml", "executorch")}
        cosines = {target: _worst(found, target) for target in ("coreml", "executorch")}
        delegated = _both(found, "delegated_{}_percent", "{:.0f}", " / ")
        yield (
            f"| `{name}` | {millions} | {sizes['coreml']} | {cosines['coreml']} | {sizes['executorch']} |"
            f" {cosines['executorch']} | {delegated} % | {found['convert_s']:.0f} s |"
            f" {found['peak_gb']:.1f} GB |"
        )


def _both(found: dict[str, Any], key: str, form: str, between: str = " + ") -> str:
    return between.join(form.format(found[key.format(tower)]) for tower in TOWERS)


def _worst(found: dict[str, Any], target: str) -> str:
    worst = min(found[f"{target}_{tower}_cosine_min"] for tower in TOWERS)
    return f"{worst:.5f}"


_MEASURED = {
    "phones": Measured(_check, _lines, MARKERS, Path("build/models.json")),
    "coreai": Measured(models_coreai.check, models_coreai.lines, models_coreai.MARKERS, Path("build/models_coreai.json")),
}


if __name__ == "__main__":
    main()
