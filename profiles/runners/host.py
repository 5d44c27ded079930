"""This machine: every row in a process of its own, which has loaded nothing before but the runtime's libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from edgeclip.errors import NotRunnableError, UsageError
from edgeclip.manifest import Bundle
from profiles import machine
from profiles.device import Request, nothing_of, takes
from profiles.results import Change, MeasuredRow, Profile, label
from profiles.runners.host_messages import Load, Loaded, Reload, Reloaded, Time, Timed
from profiles.runners.host_plan import Planned, plan
from profiles.runners.host_process import COPIES, Template, Worker
from profiles.runners.host_rounds import interleave, ratio
from profiles.runners.host_rows import device, row, tools
from profiles.stats import StopRule


@dataclass
class _Session:
    """What one run needs, and what it has found.

    templates: by runtime, where workers are copied from them. details: of the machine, before the run. uncached: every file
    was out of the system's cache when it was first loaded.
    """

    request: Request
    templates: dict[str, Template]
    not_run: dict[str, str]
    details: dict[str, Any] = field(default_factory=machine.described)
    uncached: bool = True

    def open(self, stack: ExitStack, planned: Planned) -> tuple[Worker, Loaded]:
        """A worker that has loaded the artifact and run it once."""
        job = planned.job()
        template = self.templates.get(planned.runtime)
        if template is None:
            template = Template(planned.runtime)
            stack.callback(template.close)
        worker = stack.enter_context(Worker(template, planned.name))
        loaded = worker.ask(Load(job), Loaded)
        self.uncached &= loaded.uncached or loaded.load_ms is None
        return worker, loaded

    def profile(self, rows: list[MeasuredRow], against: tuple[Change, ...] | None = None) -> Profile:
        """The result."""
        if not rows:
            raise nothing_of(self.request.bundle, "timed here", self.not_run)
        details = {**self.details, "load_average_after": machine.load()}
        return Profile(
            device=device(details, self.uncached),
            rows=tuple(rows),
            against=against,
            not_run=self.not_run,
            tools=tools(dict.fromkeys(row.runtime for row in rows)),
        )


class HostDevice:
    """Runs artifacts on this machine."""

    def profile(self, request: Request) -> Profile:
        """Cold load, first inference, timed inferences, later loads: in this order, of each artifact."""
        _no_argument(request)
        planned, not_run = plan(request.bundle, request.runtimes, request.threads)
        with _session(request, planned, not_run) as session:
            rows = []
            for one in planned:
                try:
                    rows.append(_timed(session, one))
                except NotRunnableError as error:
                    not_run[one.artifact.label] = str(error)
            return session.profile(rows)

    def compare(self, request: Request, other: Bundle) -> Profile:
        """Both artifacts of a pair in processes that are alive at the same time and take turns."""
        _no_argument(request)
        planned, not_run = plan(request.bundle, request.runtimes, request.threads)
        counterparts: dict[tuple[object, ...], Planned] = {}
        for one in plan(other, request.runtimes, request.threads)[0]:
            if (twin := counterparts.setdefault(one.key, one)) is not one:
                raise UsageError(f"--against {other.path}: {twin.label} or {one.label}? It has both")
        pairs = [(one, counterparts[one.key]) for one in planned if one.key in counterparts]
        if not pairs:
            raise UsageError(f"--against {other.path}: has no tower that runs like those of {request.bundle.path}")
        with _session(request, planned, not_run) as session:
            rows, changes = [], []
            for this, that in pairs:
                try:
                    found, change = _contest(session, this, that)
                except NotRunnableError as error:
                    not_run[this.artifact.label] = str(error)
                    continue
                rows.append(found)
                changes.append(change)
            for one in planned:
                if one.key not in counterparts:
                    not_run[one.artifact.label] = f"{other.path} has no counterpart"
            return session.profile(rows, tuple(changes))


DEVICE = HostDevice()


def _no_argument(request: Request) -> None:
    if request.argument:
        raise UsageError(f"--device host:{request.argument}: the host takes nothing after a colon")
    takes(request, "host", "threads", "runtimes", "most_s")


@contextmanager
def _session(request: Request, planned: list[Planned], not_run: dict[str, str]) -> Iterator[_Session]:
    """Start the runtimes, all at once, and wait for them: importing beside a measurement would disturb it."""
    with ExitStack() as stack:
        templates: dict[str, Template] = {}
        session = _Session(request, templates, not_run)
        with request.progress("starting the runtimes"):
            for runtime in dict.fromkeys(one.runtime for one in planned if COPIES):
                templates[runtime] = Template(runtime)
                stack.callback(templates[runtime].close)
            for template in templates.values():
                template.ready()
        yield session


def _timed(session: _Session, planned: Planned) -> MeasuredRow:
    rule = StopRule(session.request.most_s)
    with session.request.progress(f"timing {planned.label}"), ExitStack() as stack:
        worker, loaded = session.open(stack, planned)
        timed = worker.ask(Time(rule.most_s), Timed, rule.most_s)
        reloaded = worker.ask(Reload(), Reloaded)
    return row(planned, loaded, timed, reloaded, rule, session.details["load_average"][0])


def _contest(session: _Session, this: Planned, that: Planned) -> tuple[MeasuredRow, Change]:
    rule = StopRule(2 * session.request.most_s)
    with session.request.progress(f"timing {this.label} against {that.bundle.path}"), ExitStack() as stack:
        worker, loaded = session.open(stack, this)
        other, _ = session.open(stack, that)
        contest = interleave(worker, other, rule)
        reloaded = worker.ask(Reload(), Reloaded)
    found = row(this, loaded, contest.this, reloaded, rule, session.details["load_average"][0])
    middle, interval = ratio(contest.rounds)
    return found, Change(label=label(found), ratio=middle, interval=interval, p50_ms=contest.medians)
