"""The inside of a process that loads and runs artifacts, which may die of them; `worker_process` is the outside.

Requests on stdin and answers on stdout are one code byte, a program's number, a length, and content. LOAD takes what names a
program, RUN an array in NumPy's format, FREE nothing, TELL what a runtime's own worker says; the answer to each is DONE with
its result (RUN: an array), or FAILED with the text of an error. This file needs nothing but Python.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from typing import IO, NamedTuple

LOAD, RUN, FREE, TELL, DONE, FAILED = range(6)
_HEAD = struct.Struct("<BIQ")
MAX_MESSAGE_BYTES = 1 << 30
MAX_ADDRESS_SPACE = 32 << 30  # bounds what a hostile file can make the process allocate


class Message(NamedTuple):
    """One request or answer."""

    code: int
    program: int
    content: bytes


def send(stream: IO[bytes], message: Message) -> None:
    """Write one message."""
    stream.write(_HEAD.pack(message.code, message.program, len(message.content)) + message.content)
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Read one message; None if the other side is gone or talks nonsense."""
    head = stream.read(_HEAD.size)
    if len(head) != _HEAD.size:
        return None
    code, program, length = _HEAD.unpack(head)
    if code > FAILED or length > MAX_MESSAGE_BYTES:
        return None
    content = stream.read(length)
    return Message(code, program, content) if len(content) == length else None


def serve(prepare: Callable[[], Callable[[Message], bytes]]) -> None:
    """Answer requests until stdin ends, by the function that `prepare` gives; what either prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native code prints where it likes; answers have a descriptor of their own
    _limit_memory()
    answer = prepare()
    while (request := receive(sys.stdin.buffer)) is not None:
        try:
            result = answer(request)
        except (RuntimeError, ValueError, TypeError, LookupError, MemoryError, OSError) as error:
            send(answers, Message(FAILED, request.program, str(error).encode()))
        else:
            send(answers, Message(DONE, request.program, result))


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(hard, MAX_ADDRESS_SPACE)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
