"""`edgeclip compat`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.cli.table import print_table
from edgeclip.plugins import RUNTIMES

if TYPE_CHECKING:
    from edgeclip.apps.compat import CompatResult


@click.command("compat")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), metavar="DIR", help="Your pictures in place of drawn scenes.")
@click.option("--texts", type=click.Path(path_type=Path), metavar="FILE", help="Your searches, one a line.")
@click.option("--min-recall", type=float, default=0.9, show_default=True, metavar="SHARE", help="What counts as compatible.")
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp32"]),
    default="int8",
    show_default=True,
    help="Of the index's rows; the apps store int8.",
)
@click.option("--runtime", metavar="R", help=f"One of {', '.join(RUNTIMES)}. Default: the first that runs each bundle here.")
@common_options
def command(
    old: Path,
    new: Path,
    images: Path | None,
    texts: Path | None,
    min_recall: float,
    precision: str,
    runtime: str | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Say whether an index of embeddings made with the bundle OLD may be searched with the bundle NEW.

    Bundles of one embedding space may. Between others it is measured: recall@10 of NEW's texts and pictures in OLD's index,
    against what OLD finds by itself. Exit status 1 if they are not compatible.
    """
    if runtime is not None:
        RUNTIMES[runtime]  # a miss is an error before anything heavy is imported
    with working(verbose) as progress:
        from edgeclip.apps.compat import CompatOptions, compat

        result = compat(old, new, CompatOptions(images, texts, min_recall, precision, runtime), progress)
    print_json(result.as_json()) if as_json else _print(result, old, new)
    return 0 if result.compatible else 1


def _print(result: CompatResult, old: Path, new: Path) -> None:
    for path, label, runtime, space in zip((old, new), result.labels, result.runtimes, result.spaces, strict=True):
        click.echo(f"{path}: {label} in {runtime}, space {space}")
    for difference in result.differences:
        click.echo(f"DIFFERENT {difference}")
    if result.measured:
        click.echo(f"\nrecall@10 among {result.rows} pictures, {result.precision} index of {old}")
        rows = [
            (row.queries, str(row.count), f"{100 * row.recall:.1f} %", f"{100 * row.of_itself:.1f} %")
            for row in result.measured
        ]
        print_table(("queries", "count", "new in old", "old in old"), rows, right=(1, 2, 3))
    for warning in result.warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"\n{_verdict(result)}")


def _verdict(result: CompatResult) -> str:
    if result.differences:
        return "not compatible: make the index anew"
    if result.same_space:
        return "compatible: the embedding space is the same"
    worst = min(row.recall for row in result.measured)
    limit = f"recall@10 is {100 * worst:.1f} %, at least {100 * result.min_recall:g} % is asked for"
    return f"compatible: {limit}" if result.compatible else f"not compatible: {limit}; make the index anew"
