"""What `models.py --target coreai` measures: each model in three schemes, verified by Core AI's own runtime.

It is given a minute for each tower, and the table says on how many samples that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeclip.models import MODELS
from edgeclip.spec import TOWERS, ModelSpec
from steps import said

MARKERS = ("<!-- models: benchmarks/models.py --target coreai -->", "<!-- end of coreai models -->")
SCHEMES = ("fp32", "fp16", "w8")


def check(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """Sizes, times and errors. Raises StepError if a scheme does not convert or verify."""
    found: dict[str, Any] = {}
    weights = "demo" if spec.demo_weights else "seeded:0"
    for scheme in SCHEMES:
        bundle = folder / scheme
        made = said("convert", spec.name, "--target", "coreai", "--scheme", scheme, "--weights", weights, "--out", bundle)
        found[f"{scheme}_s"], found[f"{scheme}_gb"] = made["wall_s"], round(made["peak_rss_mb"] / 1024, 2)
        for artifact in made["artifacts"]:
            found[f"{scheme}_{artifact['tower']}_mb"] = round(artifact["size_bytes"] / 1e6, 1)
        for row in said("verify", bundle)["rows"]:
            for figure in ("cosine_min", "max_abs_error", "samples", "between_input_cosine"):
                found[f"{scheme}_{row['tower']}_{figure}"] = row[figure]
    return found


def lines(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The table."""
    yield (
        "| model | parameters, M | fp32, MB | largest error | fp16, MB | cosine | w8, MB | cosine | samples image, text |"
        " convert | memory |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for name, found in results.items():
        spec = MODELS[name]
        millions = f"{spec.image_params / 1e6:.1f} + {spec.text_params / 1e6:.1f}"
        if found["failed"]:
            yield f"| `{name}` | {millions} | FAILED: {found['failed']} |" + " |" * 8
            continue
        cells = [f"`{name}`", millions]
        for scheme in SCHEMES:
            cells.append(" + ".join(f"{found[f'{scheme}_{tower}_mb']:.0f}" for tower in TOWERS))
            errors = [found[f"{scheme}_{tower}_max_abs_error"] for tower in TOWERS]
            cosines = [found[f"{scheme}_{tower}_cosine_min"] for tower in TOWERS]
            cells.append(f"{max(errors):.0e}" if scheme == "fp32" else f"{min(cosines):.5f}")
        cells.append(", ".join(" / ".join(str(found[f"{scheme}_{tower}_samples"]) for scheme in SCHEMES) for tower in TOWERS))
        yield f"| {' | '.join(cells)} | {found['fp16_s']:.0f} s | {found['fp16_gb']:.1f} GB |"
