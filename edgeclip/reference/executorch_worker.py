"""The process that loads and runs a `.pte`: `python -m edgeclip.reference.executorch_worker FILE`.

Messages on stdin and stdout are a status byte, a length, and the content: an array in NumPy's format, or the text of an error. The
first answer says whether loading worked; then each array is answered by the output of the program's `forward`.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from typing import IO

OK, FAILED = 0, 1
_HEAD = struct.Struct("<BQ")
MAX_MESSAGE_BYTES = 1 << 30
MAX_ADDRESS_SPACE = 32 << 30  # bounds what a hostile file can make the process allocate


def send(stream: IO[bytes], status: int, content: bytes) -> None:
    """Write one message."""
    stream.write(_HEAD.pack(status, len(content)) + content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[int, bytes] | None:
    """Read one message; None if the other side is gone or talks nonsense."""
    head = stream.read(_HEAD.size)
    if len(head) != _HEAD.size:
        return None
    status, length = _HEAD.unpack(head)
    if length > MAX_MESSAGE_BYTES:
        return None
    content = stream.read(length)
    return (status, content) if len(content) == length else None


def main(path: str) -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native code prints where it likes; answers have a descriptor of their own
    _limit_memory()
    import numpy as np
    import torch
    from executorch.runtime import Runtime, Verification

    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
        method = program.load_method("forward")
        if method is None:
            raise RuntimeError("it has no method 'forward'")
    except (RuntimeError, ValueError, MemoryError) as error:
        send(answers, FAILED, str(error).encode())
        return
    send(answers, OK, b"")
    while (message := receive(sys.stdin.buffer)) is not None:
        given = np.load(io.BytesIO(message[1]), allow_pickle=False)
        try:
            (result,) = method.execute([torch.from_numpy(given)])
        except (RuntimeError, ValueError, MemoryError) as error:
            send(answers, FAILED, str(error).encode())
            return
        content = io.BytesIO()
        np.save(content, result.numpy(), allow_pickle=False)
        send(answers, OK, content.getvalue())


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(hard, MAX_ADDRESS_SPACE)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main(sys.argv[1])
