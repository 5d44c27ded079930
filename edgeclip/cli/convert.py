"""`edgeclip convert`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.cli.table import print_table
from edgeclip.errors import UsageError
from edgeclip.models import DEFAULT_MODEL, MODELS
from edgeclip.plugins import TARGETS
from edgeclip.recipe import SCHEMES, TargetOptions


@click.command("convert")
@click.argument("model", required=False)
@click.option("--target", "targets", multiple=True, required=True, metavar="T", help=f"{' or '.join(TARGETS)}; repeatable.")
@click.option("--scheme", metavar="S", help=f"{', '.join(SCHEMES)}. Default: coreml fp16, executorch fp32.")
@click.option("--weights", metavar="SRC", help="A checkpoint file, hub, demo or seeded:N. Default: hub; demo for demo models.")
@click.option("--backend", metavar="B", help="Backend of executorch. Default: xnnpack.")
@click.option("--min-os", metavar="OS", help="OS floor of coreml: iOS16, iOS17 or iOS18. Default: iOS17.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Bundle folder. Default: artifacts/MODEL.")
@click.option("--force", is_flag=True, help="Replace what is in the way: the targets named, or a bundle of other weights.")
@common_options
def command(
    model: str | None,
    targets: tuple[str, ...],
    scheme: str | None,
    weights: str | None,
    backend: str | None,
    min_os: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Convert MODEL (default: a demo model) to one or more targets and write a bundle.

    A bundle that is already there is extended by targets it lacks, if the weights agree. Nothing there changes before the new
    bundle is whole.
    """
    name = DEFAULT_MODEL if model is None else model
    MODELS[name]  # a miss is an error before anything heavy is imported
    options = [_options(target, scheme, backend, min_os, len(targets)) for target in dict.fromkeys(targets)]
    out = Path("artifacts") / name if out is None else out
    if model is None:
        click.echo(f"no MODEL given: converting the demo model {name}", err=True)

    from edgeclip.data.licences import licence_summary
    from edgeclip.pipeline import convert

    with working(verbose) as progress:
        result = convert(name, options, out, weights=weights, force=force, progress=progress)
    if as_json:
        import msgspec

        print_json(
            {
                "bundle": str(result.bundle),
                "artifacts": [msgspec.to_builtins(artifact) for artifact in result.artifacts],
                "wall_s": round(result.wall_s, 2),
                "peak_rss_mb": result.peak_rss_mb,
            }
        )
        return
    print_table(
        ("target", "scheme", "tower", "MB", "file"),
        [(a.target, a.scheme, a.tower, f"{a.size_bytes / 1e6:.1f}", a.path) for a in result.artifacts],
        right=(3,),
    )
    click.echo(f"\nbundle: {result.bundle}  ({result.wall_s:.0f} s, peak memory {result.peak_rss_mb / 1024:.1f} GB)")
    click.echo(f"licence of the weights: {licence_summary(result.manifest.weights.licence)}")
    click.echo(f"next: edgeclip verify {result.bundle}")


def _options(target: str, scheme: str | None, backend: str | None, min_os: str | None, count: int) -> TargetOptions:
    """Options of one target. An option that only one target knows is not held against the others of the same command."""
    plugin = TARGETS[target]
    lowered = plugin.load() if count > 1 else None
    if lowered is not None and scheme is not None and scheme in SCHEMES and scheme not in lowered.schemes:
        known = ", ".join(lowered.schemes)
        raise UsageError(f"--scheme {scheme}: {target} can do {known}; give each target a command of its own")
    return TargetOptions(
        target,
        scheme=scheme,
        backend=backend if lowered is None or lowered.backends else None,
        min_os=min_os if lowered is None or lowered.os_floors else None,
    )
