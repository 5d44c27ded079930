"""`edgeclip verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeclip.cli.output import common_options, print_json, working
from edgeclip.cli.table import print_table
from edgeclip.errors import InputError
from edgeclip.plugins import RUNTIMES

if TYPE_CHECKING:
    from edgeclip.verify.compare import Row, VerifyResult


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), metavar="DIR", help="Your pictures in place of the built-in ones.")
@click.option(
    "--texts", type=click.Path(path_type=Path), metavar="FILE", help="Your texts, one a line, in place of the built-in."
)
@click.option("--weights", metavar="SRC", help="Where the original's weights are, if not where the bundle says.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="Where its spiece.model is, likewise, if it has one."
)
@click.option(
    "--runtime",
    metavar="R",
    help=f"Only this runtime: {', '.join(RUNTIMES)}. Default: all that exist here, but for qemu-arm64.",
)
@click.option(
    "--mode",
    metavar="M",
    help="Only this mode: fp32, fp16 or ane of mil; all, cpu or ne of coreml; cortex-a76, cortex-a53 or armv9 of qemu-arm64."
    " Default: the first, of mil by scheme.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write every value of every Core ML artifact into tables in DIR, beside torch's; with matplotlib also plots.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    bundle: Path,
    images: Path | None,
    texts: Path | None,
    weights: str | None,
    tokenizer: Path | None,
    runtime: str | None,
    mode: str | None,
    trace: Path | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Feed the same pictures and texts to the torch original and to every artifact of BUNDLE, and compare.

    Exit status 1 if an artifact differs by more than its scheme allows, or the manifest states what is not so; 2 if nothing
    failed, but nothing here can run an artifact, such as one for a GPU that is not here. The result
    is also written to BUNDLE/verify.json, unless --runtime or --mode leave artifacts out. Of the first Core ML artifact that
    fails, the operation and the torch layer are named where it begins to differ.
    """
    if runtime is not None:
        RUNTIMES[runtime]  # a miss is an error before anything heavy is imported
    with working(verbose) as progress:
        from edgeclip.verify.compare import verify

        result = verify(bundle, images, texts, weights, runtime, mode, trace, progress, tokenizer)
    _record(bundle, result)
    if as_json:
        print_json(result.as_json())
    else:
        _print(result)
    return 0 if result.passed else 1 if result.failed else 2


def _record(bundle: Path, result: VerifyResult) -> None:
    """Keep a full result in the bundle; a place that cannot be written takes nothing from the result."""
    from edgeclip.verify.compare import record

    if result.skipped:
        return
    try:
        record(bundle, result)
    except InputError as error:
        click.echo(f"warning: {error}", err=True)


def _print(result: VerifyResult) -> None:
    print_table(
        ("artifact", "runtime", "samples", "cosine min", "mean", "max error", "rank", "between", "result"),
        [_cells(row) for row in result.rows],
        right=(2, 3, 4, 5, 6, 7),
    )
    for row in result.rows:
        for failure in row.failures:
            click.echo(f"FAILED {_label(row)}: {_explain(row, failure)}")
        if row.passed is None:
            click.echo(f"NOT RUN {_label(row)}: {row.error}")
    if result.first_divergence:
        for line in _where(result.first_divergence):
            click.echo(line)
    for difference in result.contract:
        click.echo(f"FAILED manifest: {difference}")
    for artifact in result.unchecked:
        click.echo(f"operations not checked one by one: {artifact}")
    for path in result.traces:
        click.echo(f"wrote {path}")
    if result.skipped:
        click.echo(f"not run: {', '.join(result.skipped)}")
    click.echo(f"\n{len(result.images)} pictures, {result.texts} texts: {_verdict(result)}")


def _verdict(result: VerifyResult) -> str:
    if result.failed:
        return "FAILED"
    count = len(result.not_run)
    return f"{count} of {len(result.rows)} not run, so not verified" if count else "passed"


def _where(found: dict[str, Any]) -> Iterator[str]:
    """A first divergence in up to three lines."""
    label = f"{found['target']} {found['scheme']} {found['tower']} ({found['mode']})"
    sample = f"sample {' '.join(found['sample'].split())!r:.50}"
    if found["op"] is None:
        yield f"{label}, {sample}: {found['says']}"
        return
    layer = found["layer"] or "the tower itself"
    yield f"first divergence in {label}: {found['op_type']} {found['op']}, torch layer {layer} ({found['torch_op']})"
    sides = (f"{name}: {_statistics(found[side])}" for name, side in (("torch", "original"), ("package", "converted")))
    yield f"  {'; '.join(sides)}; {_errors(found)}, {sample}"
    yield f"  {found['says']}"


def _statistics(tensor: dict[str, Any]) -> str:
    names = ("min", "max", "mean", "std", "rms")
    numbers = ", ".join(f"{name} {tensor[name]:.4g}" for name in names if tensor[name] is not None)
    return ", ".join(filter(None, (numbers, f"{tensor['not_finite']} not finite" if tensor["not_finite"] else "")))


def _errors(found: dict[str, Any]) -> str:
    error, before, cosine = found["relative_error"], found["input_relative_error"], found["cosine"]
    after = "not finite" if error is None else f"{error:.2g}"
    earlier = "not finite" if before is None else f"{before:.2g}"
    return f"relative error {after} after {earlier}" + ("" if cosine is None else f", cosine {cosine:.6f}")


def _label(row: Row) -> str:
    return f"{row.target} {row.scheme} {row.tower}"


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        _label(row),
        row.runtime if row.mode == "native" else f"{row.runtime} {row.mode}",
        str(row.samples),
        number(row.cosine_min, ".7f"),
        number(row.cosine_mean, ".7f"),
        number(row.max_abs_error, ".1e"),
        number(row.rank_agreement, ".4f"),
        number(row.between_input_cosine, ".3f"),
        {True: "ok", False: "FAILED", None: "not run"}[row.passed],
    )


def _explain(row: Row, failure: str) -> str:
    if failure == "error":
        return row.error or "did not run"
    if failure == "operation":
        return "within the scheme's limits, but an operation computes something else than torch's"
    value, limit = getattr(row, failure), row.threshold[failure]
    if failure == "between_input_cosine":
        return f"the original itself maps all inputs to one embedding (cosine {value:.4f}), so nothing is proven"
    order = "above" if failure.endswith("_error") else "below"
    return f"{failure} {value:.7g} is {order} {limit}"
