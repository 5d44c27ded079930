"""What the host runner and its workers tell each other: JSON with a length in front, decoded strictly.

A worker runs native code on files from anywhere, so that its answers are not trusted to be what was asked for: no pickles, and
every figure is a finite number within its bounds or an error.
"""

from __future__ import annotations

import socket
import struct
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from edgeclip.errors import EdgeclipError
from edgeclip.spec import TensorSpec, Tower
from profiles.machine import Others

_HEAD = struct.Struct("<I")
_MAX_BYTES = 4 << 20

Milliseconds = Annotated[float, Meta(gt=0, le=1e9)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1e6)]

T = TypeVar("T")


class Job(Struct, frozen=True, kw_only=True):
    """One artifact for one worker. path: of the artifact, its hash checked; bundle: for runtimes that open it by themselves.

    index: of the artifact in the manifest.
    """

    runtime: str
    bundle: str
    path: str
    method: str
    index: int
    tower: Tower
    given: TensorSpec
    ids: tuple[int, ...]
    threads: int | None
    delegates: tuple[str, ...]


class Load(Struct, frozen=True, tag=True):
    """Load the artifact for the first time, and run it once."""

    job: Job


class Time(Struct, frozen=True, tag=True):
    """Warm up, then run until the stop rule is content."""

    most_s: float


class Turn(Struct, frozen=True, tag=True):
    """Run once without timing, then `runs` times."""

    runs: int


class Reload(Struct, frozen=True, tag=True):
    """Load it again, several times."""


Request = Load | Time | Turn | Reload


class Loaded(Struct, frozen=True, tag=True, forbid_unknown_fields=True, kw_only=True):
    """load_ms: None where there is no file to load. uncached: whether the file was out of the system's cache.

    weight_bytes: of the original's tower, which has no file.
    """

    load_ms: Milliseconds | None
    uncached: bool
    first_ms: Milliseconds
    memory_before_mb: Milliseconds | None
    weight_bytes: Count | None = None


class Timed(Struct, frozen=True, tag=True, forbid_unknown_fields=True, kw_only=True):
    """times_ms: in order. preempted: of them, those during which the system took a core away. busy_threads: cores at work.

    paces_ms: of a loop that only counts, run now and then between them. elsewhere: cores that others had meanwhile, None where
    the system does not say.
    """

    times_ms: Annotated[list[Milliseconds], Meta(min_length=1)]
    paces_ms: Annotated[list[Milliseconds], Meta(min_length=1)]
    preempted: Count
    busy_threads: Share
    elsewhere: Others | None
    peak_memory_mb: Milliseconds | None


class Reloaded(Struct, frozen=True, tag=True, forbid_unknown_fields=True, kw_only=True):
    """Of later loads."""

    times_ms: list[Milliseconds]


class Failed(Struct, frozen=True, tag=True, forbid_unknown_fields=True, kw_only=True):
    """Why there is no answer. lacking: this machine has no runtime for it, and the artifact may be whole."""

    why: str
    lacking: bool = False


class GarbledError(EdgeclipError):
    """The other side does not speak this language, or speaks no more."""


def send(channel: socket.socket, message: Struct) -> None:
    """Write one message."""
    content = msgspec.json.encode(message)
    channel.sendall(_HEAD.pack(len(content)) + content)


def receive(channel: socket.socket) -> bytes | None:
    """Read one message; None if the other side is gone. Raises TimeoutError as the socket is set."""
    head = _exactly(channel, _HEAD.size)
    if head is None:
        return None
    (length,) = _HEAD.unpack(head)
    if length > _MAX_BYTES:
        raise GarbledError(f"a message of {length} bytes")
    return _exactly(channel, length)


def decoded(content: bytes, kind: type[T]) -> T:
    """A message of this kind; anything else is a GarbledError."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledError(f"{error}") from error


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    parts, left = [], count
    while left:
        part = channel.recv(min(left, 1 << 16))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
