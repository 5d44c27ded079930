"""`edgeclip report`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.errors import InputError, UsageError
from edgeclip.plugins import REPORTS
from edgeclip.whole_file import write_whole


@click.command("report")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@click.option("--format", "form", default="html", metavar="F", help=f"{' or '.join(REPORTS)}. Default: html.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: report.html or report.md.")
@click.option("--no-ops", is_flag=True, help="Do not look into the artifacts for operations; takes a second then.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@common_options
def command(
    bundles: tuple[Path, ...], form: str, out: Path | None, no_ops: bool, force: bool, as_json: bool, verbose: bool
) -> None:
    """Put all that is known of BUNDLEs on one page: sizes, errors, times, operations.

    Shows what `edgeclip verify` and `edgeclip profile` left in the bundles. The page needs no network and no other file.
    """
    plugin = REPORTS[form]
    out = Path(f"report{_SUFFIXES[form]}") if out is None else out
    _check_free(out, force)
    with working(verbose) as progress:
        document = plugin.load()(bundles, progress, operations=not no_ops)
    _write(out, document.text)
    if as_json:
        print_json({"report": str(out), "format": form, **document.summary})
        return
    for bundle in document.summary["bundles"]:
        for stale in bundle["stale"]:
            click.echo(f"{bundle['path']}: stale, not shown: {stale}")
        for missing in bundle["missing"]:
            click.echo(f"to add to the report: {missing}")
    click.echo(f"report: {out}")


_SUFFIXES = {"html": ".html", "markdown": ".md"}


def _check_free(out: Path, force: bool) -> None:
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name a file in it")
    if out.exists() and not force:
        raise UsageError(f"{out}: exists; use --force to replace it, or --out for another file")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.resolve().parent}")


def _write(out: Path, text: str) -> None:
    try:
        write_whole(out, text)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
