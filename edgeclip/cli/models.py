"""`edgeclip models`."""

from __future__ import annotations

from typing import Any

import click
from msgspec import to_builtins

from edgeclip.cli.output import common_options, print_json
from edgeclip.cli.table import print_table
from edgeclip.models import MODELS
from edgeclip.models.demo import FOLDER
from edgeclip.models.hub import cached_path
from edgeclip.spec import ModelSpec


@click.command("models")
@common_options
def command(as_json: bool, verbose: bool) -> None:
    """List the models: parameters, picture size, licence, where the weights come from and whether they are here."""
    rows = [_row(spec) for spec in MODELS.values()]
    if as_json:
        print_json({"models": rows})
        return
    print_table(
        ("model", "image M", "text M", "pixels", "commercial use", "licence", "weights", "here"),
        [
            (
                row["name"],
                f"{row['image_params_m']:.1f}",
                f"{row['text_params_m']:.1f}",
                str(row["image_size"]),
                "yes" if row["commercial_use"] else "NO",
                row["licence"],
                row["weights"],
                "yes" if row["cached"] else "no",
            )
            for row in rows
        ],
        right=(1, 2, 3),
    )


def _row(spec: ModelSpec) -> dict[str, Any]:
    local = cached_path(spec.hub) if spec.hub else FOLDER / spec.demo_weights if spec.demo_weights else None
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "family": spec.family,
        "image_params_m": round(spec.image_params / 1e6, 2),
        "text_params_m": round(spec.text_params / 1e6, 2),
        "image_size": spec.preprocess.size,
        "preprocess": to_builtins(spec.preprocess),
        "tokenizer": to_builtins(spec.tokenizer),
        "scoring": spec.scoring,
        "embedding_dim": spec.embed_dim,
        "licence": spec.licence.name,
        "licence_url": spec.licence.url,
        "commercial_use": spec.licence.commercial_use,
        "weights": spec.published_at,
        "cached": local is not None and local.is_file(),
        "published": spec.published.as_json() if spec.published else {},
    }
