"""The process that loads and runs `.pte` programs; `executorch_runtime` starts it.

Requests on stdin and answers on stdout are one code byte, a program's number, a length, and content. LOAD takes a method's
name, a line break and a path, RUN an array in NumPy's format, FREE and DELEGATES nothing; the answer to each is DONE with its
result (RUN: an array; DELEGATES: the names of those that can run here, one a line), or FAILED with the text of an error.
"""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import sys
from collections.abc import Callable
from typing import IO, Any, NamedTuple

LOAD, RUN, FREE, DELEGATES, DONE, FAILED = range(6)
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
        except (RuntimeError, ValueError, TypeError, MemoryError, OSError) as error:
            send(answers, Message(FAILED, request.program, str(error).encode()))
        else:
            send(answers, Message(DONE, request.program, result))


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Serve until stdin ends."""
    methods: dict[int, Any] = {}

    def prepare() -> Callable[[Message], bytes]:
        import torch

        torch.set_num_threads(processors())
        return lambda request: _serve(request, methods)

    serve(prepare)


def _serve(request: Message, methods: dict[int, Any]) -> bytes:
    import numpy as np
    import torch

    if request.code == LOAD:
        library = _library()
        name, _, path = request.content.decode().partition("\n")
        program = library._load_program(path, program_verification=library.Verification.InternalConsistency)
        method = program.load_method(name)
        if method is None:
            raise RuntimeError(f"it has no method {name!r}")
        methods[request.program] = method
        return b""
    if request.code == DELEGATES:
        library = _library()
        return "\n".join(name for name in library._get_registered_backend_names() if library._is_available(name)).encode()
    if request.code == FREE:
        methods.pop(request.program, None)
        return b""
    given = np.load(io.BytesIO(request.content), allow_pickle=False)
    outputs = methods[request.program]([torch.from_numpy(given)])
    if len(outputs) != 1:
        raise RuntimeError(f"it has {len(outputs)} outputs, not 1")
    content = io.BytesIO()
    np.save(content, outputs[0].numpy(), allow_pickle=False)
    return content.getvalue()


def _library() -> Any:
    from edgeclip.reference.executorch_library import load_library

    return load_library(["OpenvinoBackend"] if importlib.util.find_spec("openvino") else [])


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(hard, MAX_ADDRESS_SPACE)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
