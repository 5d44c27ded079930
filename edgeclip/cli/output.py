"""Where things go: results to stdout, progress to stderr, libraries' chatter nowhere unless `-v`."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, Any, TypeVar

import click

from edgeclip.progress import Progress, Task

F = TypeVar("F", bound=Callable[..., Any])
_SECONDS_BETWEEN_LINES = 30.0


def common_options(function: F) -> F:
    """`--json` and `-v`, which every command takes."""
    function = click.option("-v", "--verbose", is_flag=True, help="Show libraries' messages and tracebacks.")(function)
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(function)


def print_json(value: Any, stream: IO[str] | None = None) -> None:
    """One JSON object on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False), file=stream or sys.stdout, flush=True)


@contextmanager
def working(verbose: bool) -> Iterator[Progress]:
    """Run library code: progress is shown on stderr, and what libraries and native code print is dropped unless `verbose`.

    File descriptors 1 and 2 are redirected, since native code writes to them directly.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as dropped, os.fdopen(os.dup(err), "w") as shown:
        sink = err if verbose else dropped.fileno()
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        quiet = _quiet_python() if not verbose else None
        try:
            yield functools.partial(_task, shown)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.close(out)
            os.close(err)
            if quiet:
                quiet()


def _quiet_python() -> Callable[[], None]:
    """Silence `warnings` and libraries' loggers; returns what undoes it."""
    import logging
    import warnings

    os.environ.setdefault("TQDM_DISABLE", "1")  # coremltools' bars
    caught = warnings.catch_warnings()
    caught.__enter__()
    warnings.simplefilter("ignore")
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)

    def undo() -> None:
        caught.__exit__(None, None, None)
        logging.disable(level)

    return undo


@contextmanager
def _task(stream: IO[str], what: str) -> Iterator[Task]:
    """Show one piece of work: a spinner or bar on a terminal, else one line when it is done."""
    started = time.perf_counter()
    if not stream.isatty():
        yield _LineTask(what, lambda line: print(line, file=stream, flush=True))
        print(f"{what}: {time.perf_counter() - started:.1f} s", file=stream, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    bar = (BarColumn(), TaskProgressColumn())
    with Progress(*columns, *bar, TimeElapsedColumn(), console=console, transient=True) as display:
        identifier = display.add_task(what, total=None)
        yield _TerminalTask(what, functools.partial(display.update, identifier))
    console.print(f"[green]✓[/green] {what} [dim]{time.perf_counter() - started:.1f} s[/dim]", highlight=False)


class _TerminalTask(Task):
    """Moves a bar; beside it, how fast it goes, where there is a unit."""

    def __init__(self, what: str, update: Callable[..., None]) -> None:
        self._what, self._update = what, update
        self._started = time.perf_counter()

    def advance(self, done: float, total: float, unit: str = "") -> None:
        fast = f", {pace(done, total, time.perf_counter() - self._started, unit)}" if unit else ""
        self._update(completed=done, total=total, description=self._what + fast)


class _LineTask(Task):
    """Where there is a unit, a line now and then, so that a log of long work shows that it goes on."""

    def __init__(self, what: str, say: Callable[[str], None]) -> None:
        self._what, self._say = what, say
        self._started = self._said = time.perf_counter()

    def advance(self, done: float, total: float, unit: str = "") -> None:
        now = time.perf_counter()
        if unit and done < total and now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            self._say(f"{self._what}: {done:.0f} of {total:.0f}, {pace(done, total, now - self._started, unit)}")


def pace(done: float, total: float, spent_s: float, unit: str) -> str:
    """How fast work goes, and how long the rest will take at that rate.

    >>> pace(50, 200, 10.0, "pictures")
    '5.0 pictures/s, 0:00:30 left'
    """
    if done <= 0 or spent_s <= 0:
        return f"no {unit} yet"
    return f"{done / spent_s:.1f} {unit}/s, {timedelta(seconds=round((total - done) * spent_s / done))} left"
