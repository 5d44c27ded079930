"""How `edgeclip inspect --ane` prints where the operations of a Core ML artifact run."""

from __future__ import annotations

from typing import Any

import click

from edgeclip.cli.table import print_table
from edgeclip.reference.mil.messages import printable

_KINDS_SHOWN = 4
_SEGMENTS_SHOWN = 6
_DIFFERING_SHOWN = 3
_UNITS = {"ne": "Neural Engine", "cpu": "CPU", "gpu": "GPU"}
_VERDICTS = {
    "whole": "by rule, all of it runs on the Neural Engine",
    "lookup": "by rule, all but the token lookup runs on the Neural Engine",
    "split": "by rule, the work is split between the Neural Engine and the CPU",
    "none": "by rule, nothing of weight runs on the Neural Engine",
}


def print_placement(found: dict[str, Any], all_ops: bool) -> None:
    """The verdict, findings by rule, what removes them; with `all_ops` every operation."""
    summary = found["summary"]
    click.echo(f"  neural engine: {_VERDICTS[summary['verdict']]}")
    click.echo(f"    {summary['ops_eligible']} of {summary['ops']} ops{_work(summary)}, {_places(summary['segments'])}")
    if summary["padding_factor"] is not None:
        click.echo(f"    activations take {summary['padding_factor']:.2f} x their size, padded to 64 bytes")
    for group in summary["findings"]:
        kinds = [printable(kind) for kind in group["ops"]]
        rest = ", ..." if len(kinds) > _KINDS_SHOWN else ""
        what = f"{group['count']} x {', '.join(kinds[:_KINDS_SHOWN])}{rest}"
        click.echo(f"    {group['severity']:7} {what}: {group['says']} ({group['rule']}; {group['source']['short']})")
    for option, rules in _by_option(summary["remedies"]).items():
        click.echo(f"    `{option}` rewrites: {', '.join(f'{name} ({count})' for name, count in rules.items())}")
    if "plan" in summary:
        _print_plan(summary["plan"])
    if all_ops:
        _print_ops(found["ops"])


def print_notes(contents: list[dict[str, Any]]) -> None:
    """What holds for all artifacts, once: what is missing here, and the documents that findings name."""
    summaries = [entry["neural_engine"]["summary"] for entry in contents if "neural_engine" in entry]
    for note in dict.fromkeys(summary["note"] for summary in summaries if "note" in summary):
        click.echo(f"\n{note}")
    sources = {group["source"]["short"]: group["source"] for summary in summaries for group in summary["findings"]}
    if sources:
        click.echo("\nsources")
    for short, source in sources.items():
        click.echo(f"  {short}: {source['title']}, {source['url']}")


def _work(summary: dict[str, Any]) -> str:
    share = summary["macs_eligible_percent"]
    return "" if share is None else f", {share:.4g} % of {summary['macs'] / 1e6:,.1f} M multiply-adds"


def _places(segments: list[str]) -> str:
    if len(segments) < 2:
        return "no switch"
    count = len(segments) - 1
    order = ", ".join(_UNITS[unit] for unit in segments[:_SEGMENTS_SHOWN]) + (", ..." if count >= _SEGMENTS_SHOWN else "")
    return f"{count} {'switch' if count == 1 else 'switches'} ({order})"


def _by_option(remedies: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for remedy in remedies:
        found.setdefault(remedy["option"], {}).update(remedy["rules"])
    return found


def _print_plan(plan: dict[str, Any]) -> None:
    """What Core ML on this Mac says."""
    ops = ", ".join(f"{count} ops on the {_UNITS.get(unit, unit)}" for unit, count in plan["ops"].items())
    cost = ", ".join(f"{100 * share:.3g} % {_UNITS.get(unit, unit)}" for unit, share in plan["cost"].items())
    click.echo(f"    compute plan of this Mac: {ops}; estimated cost: {cost}")
    if plan["differing"]:
        names = ", ".join(map(printable, plan["differing"][:_DIFFERING_SHOWN])) + (
            ", ..." if len(plan["differing"]) > _DIFFERING_SHOWN else ""
        )
        click.echo(f"    the rules and this plan differ on {len(plan['differing'])} ops: {names}")


def _print_ops(ops: list[dict[str, Any]]) -> None:
    planned = any("plan" in entry for entry in ops)
    header = ("op", "name", "result", "multiply-adds", "unit", "rules", *(("plan", "cost") if planned else ()))
    print_table(header, [_row(entry, planned) for entry in ops], right=(3,))


def _row(entry: dict[str, Any], planned: bool) -> tuple[str, ...]:
    shape = "x".join("?" if size is None else str(size) for size in entry["shape"])
    rules = " ".join(filter(None, (entry["rule"], *entry["also"]))) or "ok"
    macs = "?" if entry["macs"] is None else f"{entry['macs']:,}"
    row = (printable(entry["op"]), printable(entry["name"]), f"{entry['dtype']} {shape}", macs, entry["unit"], rules)
    if not planned:
        return row
    plan = entry["plan"]
    cost = "-" if plan is None or plan["cost"] is None else f"{100 * plan['cost']:.3g} %"
    return (*row, "-" if plan is None else plan["preferred"], cost)
