"""What is inside an `.aimodel`: operations by type, weights by stored data type."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from converters.coreai.metadata import ours
from converters.coreai.program import Program
from edgeclip.errors import MissingPackageError
from edgeclip.reference.coreai_runtime import graph_of

_NAMES = {"f32": "float32", "f16": "float16", "si8": "int8", "si4": "int4", "ui8": "uint8", "ui4": "uint4"}


def inspect_asset(path: Path) -> dict[str, Any]:
    """Functions that are called are counted where they are. Without Core AI, what only its reader tells is left out."""
    content: dict[str, Any] = {"ops": {}, "weights": {}, "metadata": dict(sorted(ours(path).items()))}
    try:
        program = Program(graph_of(path))
    except MissingPackageError as error:
        return {**content, "unread": str(error)}
    counted = Counter(step.name for step in program.steps())
    weights: dict[str, dict[str, int]] = {}
    for value, size in program.stored():
        entry = weights.setdefault(_NAMES.get(value.dtype, value.dtype), {"values": 0, "bytes": 0})
        entry["values"] += value.elements
        entry["bytes"] += size
    return {**content, "ops": dict(counted.most_common()), "weights": dict(sorted(weights.items()))}
