"""`edgeclip eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.cli.table import print_table
from edgeclip.data.prompts import DEFAULT_TEMPLATES, read_templates, template_sets
from edgeclip.errors import UsageError
from edgeclip.plugins import RUNTIMES

if TYPE_CHECKING:
    from edgeclip.evaluation.results import Direction, EvalResult, RetrievalRow, Row

T = TypeVar("T")


@click.command("eval")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="DIR",
    help="A folder for each class (DIR/CLASS/PICTURE), or captions.tsv or .jsonl beside pictures; or demo, drawn scenes.",
)
@click.option(
    "--classnames",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What class folders are called: lines of folder, tab, names; or JSON. Default: classnames.txt or .json in DIR.",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="T",
    help=f"Prompt with {{}} for the class; repeatable, averaged. Default: {'; '.join(DEFAULT_TEMPLATES)}",
)
@click.option(
    "--templates",
    "templates_file",
    metavar="FILE",
    help=f"Templates, one a line, # for comments; or a set that ships with edgeclip: {', '.join(template_sets())}.",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="R",
    help=f"One of {', '.join(RUNTIMES)}; repeatable. Default: all that can run the bundle here, but for qemu-arm64.",
)
@click.option("--no-torch", is_flag=True, help="Leave out the torch original, and with it all differences.")
@click.option("--weights", metavar="SRC", help="Where the original's weights are, if not where the bundle says.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="Where its spiece.model is, likewise, if it has one."
)
@click.option("--limit", type=int, metavar="N", help="At most N pictures, always the same ones.")
@click.option("--per-class", type=int, metavar="N", help="At most N pictures of each class, always the same ones.")
@click.option("--jobs", type=int, default=1, show_default=True, metavar="N", help="Processes that encode.")
@click.option("--skip-bad", is_flag=True, help="Leave out pictures that cannot be read, and name them.")
@click.option("--min-top1", type=float, metavar="PERCENT", help="Fail if an artifact's top-1 is less.")
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Fail if an artifact's top-1, or recall@1 either way, is more percentage points below the original's.",
)
@click.option(
    "--confusion",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write which classes are taken for which: a table (.csv) or, with matplotlib, a picture (.png).",
)
@common_options
def command(
    bundle: Path,
    data: str,
    classnames: Path | None,
    templates: tuple[str, ...],
    templates_file: str | None,
    runtimes: tuple[str, ...],
    no_torch: bool,
    weights: str | None,
    tokenizer: Path | None,
    limit: int | None,
    per_class: int | None,
    jobs: int,
    skip_bad: bool,
    min_top1: float | None,
    max_drop: float | None,
    confusion: Path | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Measure what of the original's zero-shot accuracy the artifacts of BUNDLE keep, on your pictures.

    Class folders give top-1, top-5 and mean per-class accuracy; captions give recall@1, 5 and 10 both ways. Each artifact runs
    in each runtime that exists here, beside the torch original on the same pictures, and the difference is stated with a 95 %
    confidence interval. Exit status 1 if --min-top1 or --max-drop is missed; 2 if nothing failed, but nothing here can run an
    artifact.
    """
    if templates and templates_file:
        raise UsageError("give templates either by --template or by --templates")
    chosen = read_templates(templates_file) if templates_file else templates or DEFAULT_TEMPLATES
    for name in runtimes:
        RUNTIMES[name]  # a miss is an error before anything heavy is imported
    with working(verbose) as progress:
        from edgeclip.evaluation.evaluate import EvalOptions, evaluate
        from edgeclip.evaluation.results import Gates

        options = EvalOptions(
            templates=chosen,
            runtimes=runtimes,
            original=not no_torch,
            weights=weights,
            tokenizer=tokenizer,
            classnames=classnames,
            limit=limit,
            per_class=per_class,
            jobs=jobs,
            skip_bad=skip_bad,
            gates=Gates(min_top1, max_drop),
            confusion=confusion,
        )
        result = evaluate(bundle, data, options, progress)
    print_json(result.as_json()) if as_json else _print(result, confusion)
    return 1 if result.failed else 2 if result.not_run else 0


def _print(result: EvalResult, confusion: Path | None) -> None:
    if result.rows:
        click.echo(f"{result.images} pictures of {result.classes} classes, {len(result.templates)} templates")
        top = f"top-{result.top5_k}" + ("" if result.top5_k == 5 else f" (of {result.classes} classes)")
        header = ("artifact", "runtime", "top-1 %", f"{top} %", "per class %", "as torch %", "difference", "pictures/s")
        print_table(header, [_cells(row) for row in result.rows], right=(2, 3, 4, 5, 6, 7))
    if result.retrieval:
        click.echo(f"{chr(10) if result.rows else ''}{result.pairs_images} pictures with {result.pairs_captions} captions")
        columns = ("artifact", "runtime", "find", "recall %", "difference @1", "pictures/s")
        print_table(columns, [cells for row in result.retrieval for cells in _retrieval_cells(row)], right=(4, 5))
    click.echo()
    if result.original_missing:
        click.echo(f"without the torch original, so without differences: {result.original_missing}")
    else:
        click.echo(f"differences: percentage points to torch on the same pictures, 95 % interval by {result.interval_method}")
    for label, error in result.not_run:
        click.echo(f"NOT RUN {label}: {error}")
    for note in result.notes:
        click.echo(f"note: {note}")
    if result.bad:
        click.echo(f"left out {len(result.bad)} pictures that cannot be read:")
        for _, error in result.bad:
            click.echo(f"  {error}")
    if confusion is not None:
        click.echo(f"wrote {confusion}")
    for check in result.checks:
        verdict = "ok" if check.passed else "FAILED"
        click.echo(f"{verdict} {check.who}: {check.name} {check.value:.2f}, limit {check.limit:g}")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.label,
        _runtime(row.runtime, row.mode),
        f"{row.top1:.2f}",
        f"{row.top5:.2f}",
        f"{row.per_class:.2f}",
        "-" if row.agreement is None else f"{row.agreement:.2f}",
        _difference(row.difference_percent, row.difference_interval),
        f"{row.images_per_second:.1f}",
    )


def _retrieval_cells(row: RetrievalRow) -> list[tuple[str, ...]]:
    def way(name: str, found: Direction) -> tuple[str, ...]:
        recall = ", ".join(f"@{k} {value:.2f}" for k, value in found.recall.items())
        return (name, recall, _difference(_at_1(found.difference_percent), _at_1(found.difference_interval)))

    return [
        (row.label, _runtime(row.runtime, row.mode), *way("texts by image", row.image_to_text), f"{row.images_per_second:.1f}"),
        ("", "", *way("images by text", row.text_to_image), ""),
    ]


def _at_1(values: dict[int, T] | None) -> T | None:
    return None if values is None else values[1]


def _runtime(name: str, mode: str) -> str:
    return name if mode == "native" else f"{name} {mode}"


def _difference(value: float | None, interval: tuple[float, float] | None) -> str:
    return "-" if value is None or interval is None else f"{value:+.2f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"
