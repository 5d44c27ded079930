"""`edgeclip convert`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.cli.table import print_table
from edgeclip.errors import UsageError
from edgeclip.layers import read_layers
from edgeclip.models import DEFAULT_MODEL, MODELS
from edgeclip.plugins import TARGETS
from edgeclip.recipe import MIN_DELEGATED, SCHEMES, Goal, TargetOptions
from edgeclip.spec import TOWERS, Tower

if TYPE_CHECKING:
    from edgeclip.manifest import Artifact
    from edgeclip.pipeline import ConvertResult
    from edgeclip.target import Target


@click.command("convert")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--target", "targets", multiple=True, required=True, metavar="T", help=f"{' or '.join(TARGETS)}; repeatable.")
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    metavar="S",
    help=f"{', '.join(SCHEMES)}. Default: fp16, of executorch fp32. Several: a sweep.",
)
@click.option("--weights", metavar="SRC", help="A checkpoint file, hub, demo or seeded:N. Default: hub; demo for demo models.")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The model's spiece.model, where it is neither beside the weights nor on the hub.",
)
@click.option("--backend", metavar="B", help="Backend of executorch: xnnpack (default), vulkan, coreml or openvino.")
@click.option("--single-file", is_flag=True, help="executorch: one file with methods encode_image and encode_text.")
@click.option(
    "--min-delegated",
    type=float,
    metavar="P",
    help=f"executorch: least percentage of operations in delegates, views not counted. Default: {MIN_DELEGATED:g}.",
)
@click.option(
    "--min-os",
    metavar="OS",
    help="OS floor of coreml: iOS16, iOS17 or iOS18. Default: iOS17, or what S needs. coreai: iOS27.",
)
@click.option("--tower", "towers", multiple=True, type=click.Choice(TOWERS), help="Only this tower; repeatable. Default: both.")
@click.option("--token-table", metavar="F", help="How the token embedding table is stored: fp16, w8, pal4, ... Default: as S.")
@click.option("--layout", metavar="L", help="coreml, coreai: ane, rewritten for the Neural Engine (default), or plain.")
@click.option("--convention", metavar="C", help="Names that apps expect of coreml: apple (default) or queryable.")
@click.option("--min-cosine", type=click.FloatRange(0, 1), help="--scheme auto: smallest cosine to hold. Default: 0.995.")
@click.option("--max-mb", type=click.FloatRange(0, min_open=True), help="--scheme auto: the most that the packages may take.")
@click.option("--seed", type=click.IntRange(0), default=0, help="coreml auto: which samples it tries layers on. Default: 0.")
@click.option(
    "--layers", type=click.Path(path_type=Path), metavar="FILE", help="A form for each weight: JSON, or a bundle of auto's."
)
@click.option("--without-pass", "without_passes", multiple=True, metavar="P", help="executorch: leave a graph pass out.")
@click.option("--with-pass", "with_passes", multiple=True, metavar="P", help="executorch: a graph pass that is not exact.")
@click.option(
    "--calibration-images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pictures to fit w8a8, auto and executorch's integers to. Default: drawn.",
)
@click.option(
    "--calibration-texts",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Texts for the same, one a line. Default: our own.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Bundle folder. Default: artifacts/MODEL. Of a sweep: the folder of its bundles. Default: artifacts.",
)
@click.option("--force", is_flag=True, help="Replace what is in the way: the targets named, or a bundle of other weights.")
@click.option("--skip-resource-check", is_flag=True, help="Begin even if memory or disk look too small.")
@click.option("--all", "everything", is_flag=True, help="A sweep: every model that --weights can serve, or the MODELs named.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Sweep: processes that convert at a time. Default: 1.")
@click.option("--scheduler", metavar="ADDRESS", help='Sweep: on a dask cluster, as tcp://host:8786. Needs "edgeclip[cluster]".')
@common_options
def command(
    models: tuple[str, ...],
    targets: tuple[str, ...],
    schemes: tuple[str, ...],
    weights: str | None,
    tokenizer: Path | None,
    backend: str | None,
    single_file: bool,
    min_delegated: float | None,
    min_os: str | None,
    towers: tuple[Tower, ...],
    token_table: str | None,
    layout: str | None,
    convention: str | None,
    min_cosine: float | None,
    max_mb: float | None,
    seed: int,
    layers: Path | None,
    without_passes: tuple[str, ...],
    with_passes: tuple[str, ...],
    calibration_images: Path | None,
    calibration_texts: Path | None,
    out: Path | None,
    force: bool,
    skip_resource_check: bool,
    everything: bool,
    jobs: int | None,
    scheduler: str | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Convert MODEL (default: a demo model) to one or more targets and write a bundle.

    A bundle that is already there is extended by targets it lacks, if the weights agree. Nothing there changes before the new
    bundle is whole.

    With --all, several MODELs or several --scheme, it is a sweep: every model with every scheme for every target, into bundles
    DIR/MODEL-SCHEME (DIR/MODEL where no --scheme is given). What fails stops nothing else. The same command goes on
    where an earlier one ended: what is there, whole, of the same weights and options, is kept, and anything else made again.

    \b
      edgeclip convert --all --target coreml --target executorch --scheme fp16 --scheme w8
      edgeclip convert mobileclip-s0 tinyclip-vit-8m-16 --target executorch --out build
    """
    models = tuple(MODELS[name].name for name in models)  # a miss is an error before anything heavy is imported
    given = TargetOptions(
        "",
        backend=backend,
        single_file=single_file or None,
        min_delegated=min_delegated,
        min_os=min_os,
        layout=layout,
        token_table=token_table,
        convention=convention,
        goal=Goal(min_cosine, max_mb),
        seed=seed,
        passes=(*(f"-{name}" for name in without_passes), *(f"+{name}" for name in with_passes)) or None,
    )
    names, targets, schemes = (tuple(dict.fromkeys(several)) for several in (models, targets, schemes))
    if everything or len(names) > 1 or len(schemes) > 1:
        from edgeclip.cli.sweep import Request, convert_all

        if layers is not None:
            raise UsageError("--layers: it holds a form for each weight of one model; convert that one alone")
        if tokenizer is not None:
            raise UsageError("--tokenizer: a sweep takes the file from the folder of the weights; put it there")
        request = Request(
            models=names if names or everything else (DEFAULT_MODEL,),
            targets=targets,
            schemes=schemes,
            options=lambda target, scheme: _options_of_many(target, scheme, given, schemes, targets),
            out=Path("artifacts") if out is None else out,
            weights=weights,
            towers=towers or TOWERS,
            images=calibration_images,
            texts=calibration_texts,
            force=force,
            check_resources=not skip_resource_check,
            jobs=jobs,
            scheduler=scheduler,
        )
        return convert_all(request, as_json, verbose)
    for option, value in (("--jobs", jobs), ("--scheduler", scheduler)):
        if value is not None:
            raise UsageError(f"{option}: this is one conversion; it goes with --all, several MODELs or several --scheme")

    name = names[0] if names else DEFAULT_MODEL
    given = replace(given, scheme=schemes[0] if schemes else "auto" if layers else None)
    options = [_options(target, given, layers, targets) for target in targets]
    out = Path("artifacts") / name if out is None else out
    if not names:
        click.echo(f"no MODEL given: converting the demo model {name}", err=True)

    from edgeclip.calibration import Calibration
    from edgeclip.pipeline import convert

    calibration = Calibration(calibration_images, calibration_texts)
    with working(verbose) as progress:
        result = convert(
            name,
            options,
            out,
            weights,
            force,
            progress,
            towers=towers or TOWERS,
            calibration=calibration,
            tokenizer=tokenizer,
            check_resources=not skip_resource_check,
        )
    _print(result, as_json)
    return 0


def _print(result: ConvertResult, as_json: bool) -> None:
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
    from edgeclip.data.licences import licence_summary

    print_table(
        ("target", "scheme", "tower", "MB", "file"),
        [(a.target, a.scheme, a.tower, f"{a.size_bytes / 1e6:.1f}", a.path) for a in result.artifacts],
        right=(3,),
    )
    for artifact in result.artifacts:
        if artifact.delegated_percent is not None:
            click.echo(_delegated(artifact))
        if artifact.checked == "lowered":
            click.echo(f"{artifact.label}: lowered, not run: nothing here runs {', '.join(artifact.delegates)}")
        if artifact.kept_fp32:
            click.echo(f"{artifact.label}: kept in float32, as smaller types ruin them: {', '.join(artifact.kept_fp32)}")
    click.echo(f"\nbundle: {result.bundle}  ({result.wall_s:.0f} s, peak memory {result.peak_rss_mb / 1024:.1f} GB)")
    click.echo(f"licence of the weights: {licence_summary(result.manifest.weights.licence)}")
    click.echo(f"next: edgeclip verify {result.bundle}")


def _delegated(artifact: Artifact) -> str:
    """How much of an artifact runs in delegates, and what does not."""
    delegates = ", ".join(f"{count} x {name}" for name, count in artifact.delegates.items()) or "none"
    shares = f"{artifact.delegated_percent:.1f} % of the operations, {artifact.delegated_macs_percent:.1f} % of the MACs"
    left = "; ".join(f"{rest.count} x {rest.op} ({rest.why})" for rest in artifact.left) or "nothing"
    return f"{artifact.label}: delegates {delegates}, with {shares}; left: {left}"


# What only some targets can choose, and where a target says so.
_CHOICES = {
    "backend": "backends",
    "min_delegated": "backends",
    "single_file": "join",
    "min_os": "os_floors",
    "layout": "layouts",
    "token_table": "token_tables",
    "convention": "conventions",
    "passes": "passes",
}


def _options(target: str, given: TargetOptions, layers: Path | None, targets: tuple[str, ...]) -> TargetOptions:
    """Options of one target. An option that only one target knows is not held against the others of the same command."""
    count = len(targets)
    plugin = TARGETS[target].load() if count > 1 or layers else None
    if plugin is None:
        return replace(given, target=target)
    scheme = given.scheme
    schemes = plugin.schemes_with(given.backend if given.backend in plugin.backends else None)
    if count > 1 and scheme is not None and scheme in SCHEMES and scheme not in schemes:
        known = ", ".join(schemes)
        raise UsageError(f"--scheme {scheme}: {target} can do {known}; give each target a command of its own")
    if layers is not None:
        if scheme != "auto":
            raise UsageError(f"--layers goes with --scheme auto, not {scheme}")
        given = replace(given, layers=read_layers(layers, target))
    return _known(given, target, targets)


def _known(given: TargetOptions, target: str, targets: tuple[str, ...]) -> TargetOptions:
    """What of the options a target knows, where other `targets` are there to know the rest."""
    own: Target = TARGETS[target].load()
    others: list[Target] = [TARGETS[name].load() for name in targets if name != target]
    unknown = [
        name
        for name, known in _CHOICES.items()
        if others and (not getattr(own, known, None) or any(_only(given, name, other, own) for other in others))
    ]
    return replace(given, target=target, **dict.fromkeys(unknown))  # type: ignore[arg-type]


def _only(given: TargetOptions, name: str, other: Target, own: Target) -> bool:
    """Whether what was given for an option is in another target's list and not in our own."""
    value, known = getattr(given, name), _CHOICES[name]
    return isinstance(value, str) and value in getattr(other, known) and value not in getattr(own, known)


def _options_of_many(
    target: str, scheme: str | None, given: TargetOptions, schemes: tuple[str, ...], targets: tuple[str, ...]
) -> TargetOptions:
    """Options of one target and scheme of a sweep. What only another scheme of it knows is not held against this one."""
    if scheme != "auto" and "auto" in schemes:
        given = replace(given, goal=Goal(), seed=0)
    given = replace(given, target=target, scheme=scheme)
    return _known(given, target, targets) if len(targets) > 1 else given
