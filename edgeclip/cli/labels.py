"""`edgeclip labels`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.data.prompts import DEFAULT_TEMPLATES, read_labels, read_templates, template_sets
from edgeclip.errors import UsageError
from edgeclip.plugins import RUNTIMES


@click.command("labels")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--labels", "labels_file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Labels, one a line."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="What to write: NAME.safetensors.")
@click.option(
    "--templates",
    "templates_file",
    metavar="FILE",
    help=f"Prompts with {{}} for the label, one a line; or a set that ships with edgeclip: {', '.join(template_sets())}."
    f" Default: {'; '.join(DEFAULT_TEMPLATES)}",
)
@click.option(
    "--precision", type=click.Choice(["fp16", "fp32"]), default="fp16", show_default=True, help="Of the stored embeddings."
)
@click.option("--runtime", metavar="R", help=f"One of {', '.join(RUNTIMES)}. Default: the first that runs the text tower here.")
@common_options
def command(
    bundle: Path,
    labels_file: Path,
    out: Path,
    templates_file: str | None,
    precision: str,
    runtime: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Encode labels with the text tower of BUNDLE, so that an app needs only the image tower.

    Each label is put into every template, and the mean of the embeddings, of length 1, is stored. `edgeclip app --labels` puts
    the file into an app, `edgeclip classify --label-bank` uses it here.
    """
    labels = read_labels(labels_file, "--labels")
    templates = read_templates(templates_file) if templates_file else DEFAULT_TEMPLATES
    for option, source in (("--labels", labels_file), ("--templates", Path(templates_file or labels_file))):
        if out.exists() and source.exists() and out.samefile(source):
            raise UsageError(f"--out {out}: is the file of {option}, which would be lost; give another name")
    if runtime is not None:
        RUNTIMES[runtime]  # a miss is an error before anything heavy is imported
    with working(verbose) as progress:
        from edgeclip.apps.labels import make_label_bank

        result = make_label_bank(bundle, labels, out, templates, precision, runtime, progress)
    count, dim = result.bank.embeddings.shape
    if as_json:
        print_json(
            {
                "path": str(out),
                "labels": count,
                "templates": len(templates),
                "dim": dim,
                "precision": precision,
                "space_id": result.bank.space_id,
                "size_bytes": result.size_bytes,
                "runtime": result.runtime,
            }
        )
        return
    click.echo(f"{out}: {count} labels x {dim} values, {len(templates)} templates, {result.size_bytes / 1e6:.2f} MB")
    click.echo(f"runtime: {result.runtime}")
