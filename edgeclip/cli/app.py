"""`edgeclip app`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeclip.apps.platform import PLATFORMS
from edgeclip.cli.output import common_options, print_json, working

if TYPE_CHECKING:
    from edgeclip.apps.scaffold import AppResult


@click.command("app")
@click.argument("platform", metavar="|".join(PLATFORMS))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The app's folder.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="BANK",
    help="A label bank, made by `edgeclip labels`, in place of the text tower.",
)
@click.option("--target", "targets", multiple=True, metavar="T", help="Take only artifacts of this target; repeatable.")
@click.option("--scheme", "schemes", multiple=True, metavar="S", help="Take only artifacts of this scheme; repeatable.")
@common_options
def command(
    platform: str,
    bundle: Path,
    out: Path,
    labels: Path | None,
    targets: tuple[str, ...],
    schemes: tuple[str, ...],
    as_json: bool,
    verbose: bool,
) -> None:
    """Make an app from the samples with BUNDLE in place, or put BUNDLE into the app that is in DIR.

    Of the bundle, the app gets the artifacts that it can run, and a manifest that lists just these. What the app knows of it
    when it is compiled is in one generated file. Run again, the bundle and that file are replaced, template files that were not
    edited are brought up to date, and those that were are left and named.
    """
    PLATFORMS[platform]  # a miss is an error before anything heavy is imported
    with working(verbose) as progress:
        from edgeclip.apps.scaffold import scaffold

        result = scaffold(platform, bundle, out, labels, targets, schemes, progress)
    for warning in result.selection.warnings:
        click.echo(f"warning: {warning}", err=True)
    print_json(_as_json(result)) if as_json else _print(result)


def _as_json(result: AppResult) -> dict[str, Any]:
    selection = result.selection
    return {
        "platform": result.platform.name,
        "app": str(result.app),
        "created": result.created,
        "model": result.manifest.model,
        "space_id": result.manifest.embedding.space_id,
        "bundle": str(result.bundle),
        "bundle_changed": result.bundle_changed,
        "bundle_size_bytes": result.size_bytes,
        "artifacts": [artifact.path for artifact in selection.artifacts],
        "left_out": [{"artifact": artifact.path, "reason": reason} for artifact, reason in selection.left_out],
        "files": {"written": list(result.written), "removed": list(result.removed), "edited": list(result.edited)},
        "generated": str(result.app / result.platform.generated),
        "warnings": list(selection.warnings),
    }


def _print(result: AppResult) -> None:
    platform, selection = result.platform, result.selection
    done = "made" if result.created else "updated"
    click.echo(f"{result.app}: {platform.title} app {done}, {len(result.written)} files written")
    how = "" if result.bundle_changed else ", unchanged"
    click.echo(f"{result.bundle}: {result.manifest.model}, {result.size_bytes / 1e6:.1f} MB{how}")
    for artifact in selection.artifacts:
        click.echo(f"  {artifact.label}: {artifact.path}, {artifact.size_bytes / 1e6:.1f} MB")
    for artifact, reason in selection.left_out:
        click.echo(f"  left out {artifact.label}: {reason}")
    runs = {artifact.tower: artifact.label for artifact in reversed(selection.artifacts)}  # of each tower, the first
    if len(runs) < len(selection.artifacts):
        click.echo(f"  the app runs {' and '.join(reversed(runs.values()))}; --target and --scheme leave others out")
    for path in result.removed:
        click.echo(f"removed {path}: the templates have it no more")
    for path in result.edited:
        click.echo(f"left as it is, since you edited or removed it: {path}")
    click.echo("\nnext, in the app's folder:")
    for step in platform.next_steps:
        click.echo(f"  {step}")
