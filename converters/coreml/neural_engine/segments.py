"""How often the data change place between the Neural Engine and the CPU."""

from __future__ import annotations

from collections.abc import Mapping

from converters.coreml.neural_engine.graph import Graph
from edgeclip.errors import BundleError

Unit = str  # "ne" or "cpu"


def segments(graph: Graph, units: Mapping[int, Unit]) -> tuple[Unit, ...]:
    """The units in the order in which they take over, e.g. ("cpu", "ne", "cpu", "ne").

    The order of a file is one of many: branches that do not depend on each other are written as they come. This is the least
    number of segments that the dependencies allow: each unit does all it can before the other takes over; of the two units
    to begin with, the one that ends sooner.

    units: the unit of each operation, by its index.
    """
    plans = [_from(graph, units, first) for first in ("ne", "cpu")]
    return min(plans, key=len)


def _from(graph: Graph, units: Mapping[int, Unit], first: Unit) -> tuple[Unit, ...]:
    needs = {
        operation.index: {graph.makers[name].index for name in graph.runtime(operation) if name in graph.makers}
        for operation in graph.operations
    }
    waiting = [operation.index for operation in graph.operations]
    done: set[int] = set()
    plan: list[Unit] = []
    unit, idle = first, 0
    while waiting:
        left: list[int] = []
        for index in waiting:  # operations are listed after what they need, so one pass finds all that this unit can do
            if units[index] == unit and needs[index] <= done:
                done.add(index)
            else:
                left.append(index)
        idle = idle + 1 if len(left) == len(waiting) else 0
        if not idle:
            plan.append(unit)
        elif idle > 1:  # neither unit has anything to do
            raise BundleError(f"{graph.path}: operations that need their own results")
        waiting, unit = left, "cpu" if unit == "ne" else "ne"
    return tuple(plan)
