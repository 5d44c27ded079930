"""What a rule is, and what can be done about a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from converters.coreml.neural_engine.graph import Graph, Operation
from converters.coreml.neural_engine.sources import Source

Severity = Literal["error", "warning"]
Applies = Callable[[Operation, Graph], bool]


@dataclass(frozen=True)
class Remedy:
    """A way to convert again: the option, and what it changes."""

    option: str
    change: str


@dataclass(frozen=True)
class Rule:
    """One idea. error: the operation cannot run on the Neural Engine; warning: it can, and a better form is known.

    source: a document that says so. applies: whether an operation is such a case. remedy: what removes it.
    """

    name: str
    severity: Severity
    says: str
    source: Source
    applies: Applies
    remedy: Remedy | None = None


# One option each; `converters.layout` has the rewrites.
CONVOLUTIONS = Remedy("--layout ane", "projections become 1x1 convolutions in channels-first layout")
HEADS = Remedy("--layout ane", "attention is split per head, with softmax over axis 1")
END_TOKEN = Remedy("--layout ane", "the end token is picked by a product with a one-hot row")
HALF = Remedy("--scheme fp16", "compute in float16")
FINITE = Remedy("edgeclip convert", "masks are written as -1e4, whose exponential is 0 as well")
