"""Calling a function in a fresh process: its memory is given back, and what kills it kills nothing else.

Not `concurrent.futures.ProcessPoolExecutor`: one killed process breaks that pool with all that waits in it, fresh processes
for each call take Python 3.11 there, and the workers of a dask cluster are daemons, which multiprocessing allows no children.

The process lives as long as its standard input is open: whoever started it, however it ends, does not leave it behind, nor its
temporary files.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from typing import IO, Any, NoReturn

from edgeclip.errors import EdgeclipError

_GRACE_S = 10.0  # to end by itself after its input was closed: native code is not interrupted
_POLL_S = 0.1
_LENGTH = struct.Struct("<Q")  # of the pickled call, which follows it


class ApartError(EdgeclipError):
    """What a function that ran apart raised, or what became of its process."""


class WithdrawnError(EdgeclipError):
    """The call was no longer wanted, and was ended before it was done."""


def call_apart(where: str, argument: Any, wanted: Callable[[], bool] = lambda: True, verbose: bool = False) -> Any:
    """`package.module:function` of `argument`, in a process of its own; both argument and result are pickled.

    What libraries print there is dropped unless `verbose`. Raises ApartError with one line that says what went wrong, and
    WithdrawnError once `wanted` turns false.
    """
    with (
        tempfile.TemporaryDirectory(prefix="edgeclip-", ignore_cleanup_errors=True) as scratch,
        contextlib.ExitStack() as files,
    ):
        answer = files.enter_context(tempfile.TemporaryFile())
        chatter = files.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=None if verbose else chatter,
            env={**os.environ, "TMPDIR": scratch},  # what it leaves there goes, however it ends
            start_new_session=True,  # Ctrl-C reaches us, and we tell it
        )
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it ended early: its status says how
                call = pickle.dumps((sys.path, scratch, where, argument))
                process.stdin.write(_LENGTH.pack(len(call)) + call)
                process.stdin.flush()
            while not _ended(process):
                if not wanted():
                    raise WithdrawnError("withdrawn")
        finally:
            _end(process)
        return _result(process.returncode, answer, chatter)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close its input, and kill it if that does not end it."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_GRACE_S + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _result(status: int, answer: IO[bytes], chatter: IO[bytes]) -> Any:
    answer.seek(0)
    try:
        done, content = pickle.load(answer)
    except (EOFError, pickle.UnpicklingError):
        chatter.seek(0)
        raise ApartError(_death(status, chatter.read().decode("utf-8", "replace"))) from None
    if not done:
        raise ApartError(content)
    return content


def _death(status: int, chatter: str) -> str:
    """What to say of a process that ended without an answer."""
    if status < 0:
        hint = ": most often the system, which ran out of memory" if -status == signal.SIGKILL else ""
        return f"its process was killed by {signal.Signals(-status).name}{hint}"
    last = next((line.strip() for line in reversed(chatter.splitlines()) if line.strip()), "")
    return f"its process ended with status {status}" + (f": {last[:200]}" if last else "")


def _main() -> None:
    """The other process: reads the call from its input, writes (True, result) or (False, message) to its output."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what is printed is no answer
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it
    sys.path[:], scratch, where, argument = pickle.loads(_exactly(*_LENGTH.unpack(_exactly(_LENGTH.size))))
    threading.Thread(target=_end_with_input, args=(scratch,), daemon=True).start()
    module, _, name = where.partition(":")
    try:
        outcome = (True, getattr(importlib.import_module(module), name)(argument))
    except EdgeclipError as error:
        outcome = (False, " ".join(str(error).split()))
    except KeyboardInterrupt:
        _give_up(scratch)
    except MemoryError:
        outcome = (False, "out of memory")
    except Exception as error:  # noqa: BLE001 (the last net, as in `edgeclip.cli.main`)
        traceback.print_exc()
        outcome = (False, f"internal error: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    with os.fdopen(answer, "wb") as file:
        pickle.dump(outcome, file)
    sys.stderr.flush()
    os._exit(0)  # nothing is left to do, and unloading what torch brings takes a second


def _exactly(count: int) -> bytes:
    """So many bytes of the input, and not one more: what follows is its end."""
    content = b""
    while len(content) < count:
        if not (more := os.read(0, count - len(content))):
            os._exit(130)  # ended before it began
        content += more
    return content


def _end_with_input(scratch: str) -> None:
    """Interrupt the main thread when the input is closed; end at once where that does not help."""
    import _thread

    while os.read(0, 1):
        pass
    _thread.interrupt_main()
    time.sleep(_GRACE_S)
    _give_up(scratch)


def _give_up(scratch: str) -> NoReturn:
    """End, and take the temporary files along: who was to remove them may have been killed."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(130)


if __name__ == "__main__":
    _main()
