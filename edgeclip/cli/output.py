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
from typing import IO, Any, TypeVar

import click

from edgeclip.progress import Progress, Task

F = TypeVar("F", bound=Callable[..., Any])


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
        yield Task()
        print(f"{what}: {time.perf_counter() - started:.1f} s", file=stream, flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    bar = (BarColumn(), TaskProgressColumn())
    with Progress(*columns, *bar, TimeElapsedColumn(), console=console, transient=True) as display:
        identifier = display.add_task(what, total=None)
        task = _TerminalTask(lambda done, total: display.update(identifier, completed=done, total=total))
        yield task
    console.print(f"[green]✓[/green] {what} [dim]{time.perf_counter() - started:.1f} s[/dim]", highlight=False)


class _TerminalTask(Task):
    def __init__(self, update: Callable[[float, float], None]) -> None:
        self._update = update

    def advance(self, done: float, total: float) -> None:
        self._update(done, total)
