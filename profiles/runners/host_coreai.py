"""Core AI in a worker. What is timed on Linux is the portable runtime that comes with the package: no device's speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from profiles.runners.host_engines import Engine, Infer, imports, sample

if TYPE_CHECKING:
    from profiles.runners.host_messages import Job


def _load(job: Job) -> Infer:
    """Loading compiles the program for this machine."""
    from edgeclip.reference.coreai_program import CoreAIProgram

    program, given = CoreAIProgram(Path(job.path)), sample(job)
    return lambda: program.run(given)


ENGINE = Engine(
    ("coreai",),
    imports("coreai.authoring", "edgeclip.reference.coreai_program", "numpy.random"),
    lambda job: None,
    _load,
    threaded=False,  # it takes what it likes
    reference=True,
)
