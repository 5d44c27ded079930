"""Fit the constants of devices to their published latencies: `python scripts/calibrate_devices.py [--check]`.

Writes `[calibrated]` into each device's file in `profiles/devices` that has a table in `profiles/devices/published`, and prints
every row with its error, left out of the fit that predicts it, and other forms of the same three parameters or fewer beside.
--check: write nothing, and fail if a file is not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from profiles.estimates.device_file import FOLDER
from profiles.estimates.published import PARAMETERS, Published, PublishedRow, calibrate, read_published

_MARK = "[calibrated]"
_OTHERS: dict[str, Callable[[PublishedRow, Sequence[float]], float]] = {
    "multiply-adds only": lambda row, at: row.gmacs * at[1],
    "dispatch + multiply-adds": lambda row, at: at[0] + row.gmacs * at[1],
    "dispatch + the longer of multiply-adds and weights": lambda row, at: at[0] + max(row.gmacs * at[1], row.weight_mb * at[2]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = parser.parse_args().check
    stale = []
    for path in sorted((FOLDER / "published").glob("*.json")):
        table = read_published(path)
        target = FOLDER / f"{table.device}.toml"
        before = target.read_text("utf-8")
        after = before.partition(_MARK)[0].rstrip() + "\n\n" + _section(path, table)
        _print(table)
        if after != before:
            stale.append(target)
            if not check:
                target.write_text(after, "utf-8")
    if stale:
        print(("out of date: " if check else "written: ") + ", ".join(str(path) for path in stale))
    return int(check and bool(stale))


def _section(path: Path, table: Published) -> str:
    found = calibrate(table.rows)
    source = f"{path.parent.name}/{path.name}, fitted by scripts/calibrate_devices.py"
    values = dict(zip(PARAMETERS, found.constants, strict=True))
    values |= {"error_mean_percent": found.mean_percent, "error_worst_percent": found.worst_percent}
    lines = [_MARK, f'table = "{path.parent.name}/{path.name}"', f"rows = {len(table.rows)}", f"parameters = {len(PARAMETERS)}"]
    for name, value in values.items():
        lines += ["", f"[calibrated.{name}]", f"value = {value:.5g}", f'source = "{source}"']
    return "\n".join(lines) + "\n"


def _print(table: Published) -> None:
    found = calibrate(table.rows)
    print(f"{table.device}: {len(table.rows)} rows, {len(PARAMETERS)} parameters (all errors are of rows left out of the fit)")
    for row, error in zip(table.rows, found.errors_percent, strict=True):
        estimated = row.latency_ms * (1 + error / 100)
        print(
            f"  {row.model:15} {row.tower:6} published {row.latency_ms:5.2f} ms, estimated {estimated:5.2f} ms, {error:+6.1f} %"
        )
    dispatch, per_gmac, per_mb = found.constants
    print(f"  all rows: dispatch {dispatch:.3f} ms; {2 / per_gmac:.2f} tera operations/s; {1 / per_mb:.1f} GB/s")
    print(f"  error: mean {found.mean_percent:.1f} %, worst {found.worst_percent:.1f} %")
    for name, form in _OTHERS.items():
        errors = _errors(table.rows, form)
        print(f"  instead {name}: mean {errors.mean():.1f} %, worst {errors.max():.1f} %")


def _errors(rows: Sequence[PublishedRow], form: Callable[[PublishedRow, Sequence[float]], float]) -> np.ndarray:
    """Absolute errors in percent; forms with a maximum are not linear, so they are fitted by search over their parameters."""
    errors = []
    for left_out, row in enumerate(rows):
        others = [*rows[:left_out], *rows[left_out + 1 :]]
        at = _search(others, form)
        errors.append(100 * abs(form(row, at) / row.latency_ms - 1))
    return np.array(errors)


def _search(rows: Sequence[PublishedRow], form: Callable[[PublishedRow, Sequence[float]], float]) -> list[float]:
    """Each parameter in turn by ever smaller factors, until none makes the relative errors smaller."""

    def squares(at: Sequence[float]) -> float:
        return sum((form(row, at) / row.latency_ms - 1) ** 2 for row in rows)

    at, step = [0.5, 0.4, 0.04], 2.0
    while step > 1.0005:
        tried = [[*at[:place], at[place] * factor, *at[place + 1 :]] for place in range(3) for factor in (step, 1 / step)]
        best = min(tried, key=squares)
        if squares(best) < squares(at):
            at = best
        else:
            step **= 0.5
    return at


if __name__ == "__main__":
    sys.exit(main())
