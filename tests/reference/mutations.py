"""Random damage to packages, all of it drawn from one seeded generator."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

_INTEGERS = (0, 1, -1, 2, 3, 5, 7, 9, 64, 127, 255, 2**15, 2**20, 2**32, 2**62, 2**64 - 1)
_LIMITS = (2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 0.5, 1e30, -1e30, float("inf"), float("-inf"), float("nan"))
_NAMES = ("", "x", "ids", "y", "flat", "relu", "const", "main", "../x", "@model_path/weights/weight.bin")
_VALUES = ("fp16", "int16", "custom", "same", "EXACT")
_STOP = 0.12  # how often the walk ends at a message or list, and changes that as a whole


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut off, double, drop or insert."""
    if not data:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(64)))
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randrange(1, 64))
    kind = rng.choice(("flip", "flip", "flip", "cut", "double", "drop", "insert", "zero"))
    if kind == "flip":
        out = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        return bytes(out)
    middle = {
        "cut": b"",
        "double": data[start:stop] * 2,
        "drop": b"",
        "insert": bytes(rng.randrange(256) for _ in range(rng.randrange(1, 16))) + data[start:stop],
        "zero": bytes(stop - start),
    }[kind]
    return data[:start] + middle + (b"" if kind == "cut" else data[stop:])


def mutate_message(message: Any, rng: random.Random) -> None:
    """Change up to three places in a protobuf message, each found by a random walk from its root."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        _walk(message, rng)


def _walk(message: Any, rng: random.Random) -> None:
    fields = message.ListFields()
    if not fields:
        return
    field, value = rng.choice(fields)
    stop = rng.random() < _STOP
    if hasattr(value, "keys"):
        _in_map(value, stop, rng)
    elif hasattr(value, "extend"):
        _in_list(value, stop, rng)
    elif field.message_type is not None and not stop:
        _walk(value, rng)
    elif field.message_type is not None or stop:
        message.ClearField(field.name)
    else:
        _put(lambda new: setattr(message, field.name, new), value, rng)


def _in_map(value: Any, stop: bool, rng: random.Random) -> None:
    key = rng.choice(sorted(value))
    is_message = hasattr(value[key], "ListFields")
    if not stop and is_message:
        _walk(value[key], rng)
    elif is_message and rng.random() < 0.5:
        value[rng.choice(_NAMES)].CopyFrom(value[key])
    else:
        value.pop(key)


def _in_list(value: Any, stop: bool, rng: random.Random) -> None:
    k = rng.randrange(len(value))
    if stop:
        kept = list(value)
        changed = {
            "drop": kept[:k] + kept[k + 1 :],
            "double": [*kept[:k], kept[k], *kept[k:]],
            "move": [kept[k], *kept[:k], *kept[k + 1 :]],
            "cut": kept[:k],
        }[rng.choice(("drop", "double", "move", "cut"))]
        del value[:]
        value.extend(changed)
    elif hasattr(value[k], "ListFields"):
        _walk(value[k], rng)
    else:
        _put(lambda new: value.__setitem__(k, new), value[k], rng)


def _put(assign: Callable[[Any], None], value: Any, rng: random.Random) -> None:
    """Another value of the same kind; protobuf itself refuses those that the field cannot hold."""
    if isinstance(value, bytes):
        new: Any = mutate_bytes(value, rng)
    elif isinstance(value, str):
        new = rng.choice(_NAMES + _VALUES)
    elif isinstance(value, bool):
        new = not value
    elif isinstance(value, float):
        new = rng.choice(_FLOATS)
    else:
        new = rng.choice((value + 1, value - 1, value * 2, *_INTEGERS, *_LIMITS))
    with contextlib.suppress(ValueError, TypeError):
        assign(new)
