"""Random damage to packages, all of it drawn from one seeded generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

_INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    5,
    7,
    9,
    64,
    127,
    255,
    2**15,
    2**20,
    2**31 - 1,
    -(2**31),
    2**32,
    2**62,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
)
_FLOATS = (0.0, -1.0, 0.5, 1e30, -1e30, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    "x",
    "ids",
    "y",
    "relu",
    "const",
    "fp16",
    "int16",
    "custom",
    "same",
    "main",
    "../x",
    "@model_path/weights/weight.bin",
)

Slot = Callable[[random.Random], None]


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
    """Change up to three places anywhere in a protobuf message."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(list(_slots(message)))(rng)


def _slots(message: Any) -> Iterator[Slot]:
    for field, value in message.ListFields():
        yield lambda _, message=message, field=field: message.ClearField(field.name)
        if hasattr(value, "keys"):
            yield from _map_slots(value)
        elif hasattr(value, "extend"):
            yield from _list_slots(value, field)
        elif field.message_type is not None:
            yield from _slots(value)
        else:
            yield lambda rng, message=message, field=field, value=value: _put(
                lambda new: setattr(message, field.name, new), value, rng
            )


def _map_slots(value: Any) -> Iterator[Slot]:
    for key in list(value):
        yield lambda _, key=key: value.pop(key, None)
        if hasattr(value[key], "ListFields"):
            yield lambda rng, key=key: value[rng.choice(_TEXTS)].CopyFrom(value[key])
            yield from _slots(value[key])


def _list_slots(value: Any, field: Any) -> Iterator[Slot]:
    for k in range(len(value)):
        yield lambda _, k=k: value.pop(min(k, len(value) - 1)) if len(value) else None
        yield lambda _, k=k: value.extend(value[k : k + 1])
        if field.message_type is not None:
            yield from _slots(value[k])
        else:
            yield lambda rng, k=k: _put(lambda new: value.__setitem__(k, new), value[k], rng) if k < len(value) else None


def _put(assign: Callable[[Any], None], value: Any, rng: random.Random) -> None:
    """Another value of the same kind; protobuf itself refuses those that the field cannot hold."""
    if isinstance(value, bytes):
        new: Any = mutate_bytes(value, rng)
    elif isinstance(value, str):
        new = rng.choice(_TEXTS)
    elif isinstance(value, bool):
        new = not value
    elif isinstance(value, float):
        new = rng.choice(_FLOATS)
    else:
        new = rng.choice((value + 1, value - 1, value * 2, *_INTEGERS))
    try:
        assign(new)
    except (ValueError, TypeError):
        return
