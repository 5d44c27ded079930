"""`edgeclip profile`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.cli.table import print_table
from edgeclip.plugins import DEVICES, PROFILER, RUNTIMES

_MOST_THREADS = 256


def _numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """`1,2`: numbers of threads."""
    parts = value.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 5 and 1 <= int(part) <= _MOST_THREADS for part in parts):
        raise click.BadParameter(f"{value!r}: give numbers from 1 to {_MOST_THREADS}, separated by commas", ctx, param)
    return tuple(dict.fromkeys(int(part) for part in parts))


@click.command("profile")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--device",
    default="host",
    metavar="D",
    help=f"{', '.join(name for name in DEVICES if name != 'estimate')}, or one that is estimated, such as iphone-12-pro-max;"
    " an unknown name lists all. Default: host.",
)
@click.option("--threads", callback=_numbers, default="1", metavar="N,...", help="Numbers of threads, each a row. Default: 1.")
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="R",
    help=f"{', '.join(name for name in RUNTIMES if not RUNTIMES[name].on_request)}; repeatable. Default: those that ship in"
    " apps; mil is a reference, torch the original.",
)
@click.option(
    "--max-seconds",
    "most_s",
    type=click.FloatRange(0, 3600, min_open=True),
    default=20.0,
    metavar="S",
    help="The most to spend on the timed inferences of a row. Default: 20.",
)
@click.option(
    "--runner", type=click.Path(path_type=Path), metavar="FILE", help="android, sim: the ExecuTorch program to push and run."
)
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="BUNDLE", help="Time another bundle in turns with this one: ratios."
)
@click.option(
    "--budget-ms",
    multiple=True,
    metavar="[T=]MS",
    help="The most for the p50 of each row, of an estimate for the end of its range; T: image, text or total. Repeatable.",
)
@click.option("--budget-mb", multiple=True, metavar="[T=]MB", help="The most for the files that an app ships, likewise.")
@click.option("--budget-memory-mb", multiple=True, metavar="[T=]MB", help="The most for peak memory, likewise.")
@click.option("--budgets", type=click.Path(path_type=Path), metavar="FILE", help="Budgets as TOML: tables ms, mb, memory-mb.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An earlier --json on this machine; slower is a failure.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 10),
    default=0.05,
    metavar="X",
    help="How much slower than --baseline is still as fast. Default: 0.05.",
)
@common_options
def command(
    bundle: Path,
    device: str,
    threads: tuple[int, ...],
    runtimes: tuple[str, ...],
    most_s: float,
    runner: Path | None,
    against: Path | None,
    budget_ms: tuple[str, ...],
    budget_mb: tuple[str, ...],
    budget_memory_mb: tuple[str, ...],
    budgets: Path | None,
    baseline: Path | None,
    tolerance: float,
    as_json: bool,
    verbose: bool,
) -> int:
    """Measure how long BUNDLE's artifacts take on a device, or estimate it for one that is not here.

    Each artifact is timed in a process of its own until the 95 % interval of the median is within 2 %. Exit status 1 if a
    budget is exceeded, or if --baseline was faster beyond doubt. The latest result of each device is kept in BUNDLE/profile.
    """
    for name in runtimes:
        RUNTIMES[name]  # a miss is an error before anything heavy is imported
    limits = {"ms": budget_ms, "mb": budget_mb, "memory-mb": budget_memory_mb}
    with working(verbose) as progress:
        outcome = PROFILER.load()(
            bundle,
            device,
            threads=threads,
            runtimes=runtimes,
            most_s=most_s,
            runner=runner,
            against=against,
            limits=limits,
            budgets=budgets,
            baseline=baseline,
            tolerance=tolerance,
            progress=progress,
        )
    for warning in outcome.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json(outcome.profile.as_json())
    else:
        header, rows, right = outcome.table()
        print_table(header, rows, right)
        for line in outcome.notes():
            click.echo(line)
    return 0 if outcome.profile.passed else 1
