"""`edgeclip classify`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.cli.table import print_table
from edgeclip.data.prompts import DEFAULT_TEMPLATES, read_labels
from edgeclip.errors import UsageError
from edgeclip.plugins import RUNTIMES

_SHOWN = 5


@click.command("classify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--labels", metavar="A,B", help="Labels, separated by commas.")
@click.option("--labels-file", type=click.Path(path_type=Path), metavar="FILE", help="Labels, one a line.")
@click.option(
    "--label-bank",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labels with their embeddings, made by `edgeclip labels`; the text tower is not needed then.",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="T",
    help=f"Prompt with {{}} for the label; repeatable, averaged. Default: {'; '.join(DEFAULT_TEMPLATES)}",
)
@click.option("--runtime", metavar="R", help=f"One of {', '.join(RUNTIMES)}. Default: the first that runs the bundle here.")
@common_options
def command(
    bundle: Path,
    images: tuple[Path, ...],
    labels: str | None,
    labels_file: Path | None,
    label_bank: Path | None,
    templates: tuple[str, ...],
    runtime: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Score labels for pictures with the towers of BUNDLE."""
    if sum(given is not None for given in (labels, labels_file, label_bank)) != 1:
        raise UsageError("give the labels either by --labels or by --labels-file, or by --label-bank")
    if label_bank is not None and templates:
        raise UsageError("--template: a label bank has its templates inside; give them to `edgeclip labels`")
    names = [label.strip() for label in labels.split(",")] if labels is not None else []
    if labels_file is not None:
        names = read_labels(labels_file, "--labels-file")
    if runtime is not None:
        RUNTIMES[runtime]  # a miss is an error before anything heavy is imported

    with working(verbose) as progress:
        from edgeclip.classify import classify

        chosen = templates or DEFAULT_TEMPLATES
        result = classify(bundle, list(images), names, chosen, runtime, progress, label_bank)
    if as_json:
        print_json(result.as_json())
        return
    rows = []
    for image in result.images:
        for rank, score in enumerate(image.scores[:_SHOWN]):
            rows.append((image.path if rank == 0 else "", score.label, f"{100 * score.score:.1f} %", f"{score.cosine:.4f}"))
    print_table(("picture", "label", "score", "cosine"), rows, right=(2, 3))
    for image in result.images:
        if image.none_of_these:
            click.echo(f"{image.path}: none of these labels; the best, {image.scores[0].label!r}, is less likely than not")
    click.echo(f"\nruntime: {result.runtime}")
