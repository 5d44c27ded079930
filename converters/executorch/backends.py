"""Delegates: which partitioners put a graph on a backend, one function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _xnnpack(scheme: str) -> list[Any]:
    """Dynamically quantized products first, each with the quantization of its input; then all that is left in float."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )

    if scheme == "w8":
        return [XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()]
    return [XnnpackPartitioner()]


_BACKENDS: dict[str, Callable[[str], list[Any]]] = {"xnnpack": _xnnpack}


def partitioners(backend: str, scheme: str) -> list[Any]:
    """The partitioners of a backend for a scheme, in the order in which they are applied."""
    return _BACKENDS[backend](scheme)
