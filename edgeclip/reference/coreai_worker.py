"""The process that loads and runs one `.aimodel`; `coreai_runtime` starts it.

LOAD takes a `Wanted` as JSON; TELL takes a path and gives a `coreai_graph.Graph` as JSON, of a file that need not run.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeclip.reference.worker import FREE, LOAD, TELL, Message, serve
from edgeclip.spec import TensorSpec


class Wanted(msgspec.Struct, frozen=True):
    """What to load, and what its manifest states of it."""

    path: str
    input: TensorSpec
    output: TensorSpec


def main() -> None:
    """Serve until stdin ends."""
    serve(_prepare)


def _prepare() -> Callable[[Message], bytes]:
    import numpy as np

    from edgeclip.reference.coreai_program import CoreAIProgram, check_interface

    programs: dict[int, CoreAIProgram] = {}

    def answer(request: Message) -> bytes:
        if request.code == LOAD:
            wanted = msgspec.json.decode(request.content, type=Wanted)
            program = CoreAIProgram(Path(wanted.path))
            check_interface(program, wanted.input, wanted.output)
            programs[request.program] = program
            return b""
        if request.code == TELL:
            from edgeclip.reference.coreai_graph import read_graph

            return msgspec.json.encode(read_graph(Path(request.content.decode())))
        if request.code == FREE:
            programs.pop(request.program).close()
            return b""
        given = np.load(io.BytesIO(request.content), allow_pickle=False)
        content = io.BytesIO()
        np.save(content, programs[request.program].run(given), allow_pickle=False)
        return content.getvalue()

    return answer
