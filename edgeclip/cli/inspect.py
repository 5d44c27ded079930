"""`edgeclip inspect`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from edgeclip.cli.neural_engine import print_notes, print_placement
from edgeclip.cli.output import common_options, print_json, working
from edgeclip.errors import UsageError

_OPS_SHOWN = 12


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--ane", is_flag=True, help="Add where the ops of Core ML artifacts run: on the Neural Engine or not, and why.")
@click.option(
    "--strict", is_flag=True, help="With --ane: exit 1 if an op but the token lookup cannot run on the Neural Engine."
)
@click.option("--all-ops", is_flag=True, help="With --ane: list every op.")
@common_options
def command(bundle: Path, ane: bool, strict: bool, all_ops: bool, as_json: bool, verbose: bool) -> int:
    """Show what is in BUNDLE: inputs and outputs, sizes, ops and weights by type, delegates, tools. Checks all hashes."""
    for name, given in (("--strict", strict), ("--all-ops", all_ops)):
        if given and not ane:
            raise UsageError(f"{name} goes with --ane")
    with working(verbose) as progress:
        from edgeclip.inspection import inspect

        result = inspect(bundle, progress, neural_engine=ane)
    if as_json:
        print_json(result)
    else:
        _print(result, all_ops)
    return 1 if strict and any(_avoidable(entry) for entry in result["contents"]) else 0


def _avoidable(entry: dict[str, Any]) -> int:
    found = entry.get("neural_engine")
    return found["summary"]["avoidable_errors"] if found else 0


def _print(result: dict[str, Any], all_ops: bool) -> None:
    manifest = result["manifest"]
    weights, image, text = manifest["weights"], manifest["image"], manifest["text"]
    use = "commercial use allowed" if weights["licence"]["commercial_use"] else "no commercial use"
    crop = "" if image["crop"] == "none" else f", {image['crop']} crop"
    scoring = manifest["scoring"]
    bias = "" if scoring["logit_bias"] is None else f", bias {scoring['logit_bias']:.4g}"
    click.echo(f"model      {manifest['model']}")
    click.echo(f"weights    {weights['source']}  sha256 {weights['sha256'][:16]}...")
    click.echo(f"licence    {weights['licence']['name']} ({use})")
    click.echo(f"image      {image['size']} px, {_RESIZE[image['resize']]}{crop}, {image['interpolation']}, {image['color']}")
    click.echo(f"           mean {_numbers(image['mean'])}  std {_numbers(image['std'])} (inside the graph)")
    start = "" if text["sot"] is None else f", start {text['sot']}"
    click.echo(f"text       {text['tokenizer']}, {text['context_length']} tokens{start}, end {text['eot']}")
    if text["vocabulary"] is not None:
        click.echo(f"           vocabulary {text['vocabulary']}")
    click.echo(f"embedding  {manifest['embedding']['dim']} values, unit length, space {manifest['embedding']['space_id']}")
    click.echo(f"scoring    {scoring['kind']}, scale {scoring['logit_scale']:.4g}{bias}")
    click.echo(f"tools      {', '.join(f'{name} {version}' for name, version in manifest['tools'].items())}")
    for artifact, content in zip(manifest["artifacts"], result["contents"], strict=True):
        click.echo("")
        _print_artifact(artifact, content)
        if "neural_engine" in content:
            print_placement(content["neural_engine"], all_ops)
    print_notes(result["contents"])


_RESIZE = {"shortest": "shortest side", "squash": "both sides"}


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _how(artifact: dict[str, Any]) -> str:
    """What else was chosen for an artifact."""
    chosen = []
    if artifact["layout"]:
        chosen.append(f"layout {artifact['layout']}")
    if artifact["token_table"]:
        chosen.append(f"token table {artifact['token_table']}")
    if artifact["min_cosine"] is not None:
        chosen.append(f"cosine at least {artifact['min_cosine']:.4g}")
    return "".join(f", {part}" for part in chosen)


def _print_artifact(artifact: dict[str, Any], content: dict[str, Any]) -> None:
    where = artifact["target"] + (f"/{artifact['backend']}" if artifact["backend"] else "")
    floor = f", {artifact['min_os']} and later" if artifact["min_os"] else ""
    method = "" if artifact["method"] == "forward" else f" {artifact['method']}"
    click.echo(f"{artifact['path']}{method}  {artifact['size_bytes'] / 1e6:.2f} MB")
    click.echo(f"  {where} {artifact['scheme']}{floor}{_how(artifact)}")
    if artifact["layers"]:
        forms = Counter(artifact["layers"].values()).most_common()
        click.echo(f"  forms: {', '.join(f'{count} weights as {form}' for form, count in forms)}")
    if artifact["kept_fp32"]:
        click.echo(f"  kept in float32: {', '.join(artifact['kept_fp32'])}")
    for direction in ("inputs", "outputs"):
        for tensor in artifact[direction]:
            kind = "pixel buffer" if tensor["kind"] == "image" else tensor["dtype"]
            click.echo(f"  {direction[:-1]:7} {tensor['name']}: {kind} {tensor['shape']}")
    if artifact["checked"] == "lowered":
        click.echo("  lowered, not run: nothing could run it where it was converted")
    if content.get("delegates"):
        share = content["delegated_percent"] if artifact["delegated_percent"] is None else artifact["delegated_percent"]
        shares = ", ".join(f"{count} x {name}" for name, count in content["delegates"].items())
        click.echo(f"  delegates: {shares}" + ("" if share is None else f", {share:.0f} % of the ops"))
    if "unread" in content:
        click.echo(f"  not looked into: {content['unread']}")
        return
    ops = list(content["ops"].items())
    rest = f", and {len(ops) - _OPS_SHOWN} more kinds" if len(ops) > _OPS_SHOWN else ""
    click.echo(f"  ops: {', '.join(f'{count} {name}' for name, count in ops[:_OPS_SHOWN])}{rest}")
    stored = [f"{w['values']:,} {name} ({w['bytes'] / 1e6:.2f} MB)" for name, w in content["weights"].items()]
    bits = content.get("bits_per_weight")
    click.echo(f"  weights: {', '.join(stored)}{'' if bits is None else f'; {bits:.4g} bits a weight'}")
