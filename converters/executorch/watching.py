"""What partitioners say, while they run, about the operations that they leave behind.

None of them returns a reason; some log one. XNNPACK logs `WhyNoPartition` objects, Vulkan and Core ML lines of text. An
operation of which nothing is said is one that the partitioner has no rule for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch._ops import OpOverload

_LOGGERS = ("executorch.backends", "")  # XNNPACK's and Core ML's are children of the first, Vulkan logs to the root
_LINES = (
    re.compile(r"\[Vulkan Partitioner\] Due to \[(?P<why>.*?)\], skipping .*? = (?P<op>[\w.:]+)\(", re.DOTALL),
    re.compile(r"Skipping op for CoreML delegation because (?:it is )?(?P<why>.*): (?P<op>[\w.:]+)$"),
)
NO_RULE = "the partitioner has no rule for it"


class Reasons(logging.Handler):
    """Reasons by node and operation, where the partitioner names the node, and by operation. The last that was given counts."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._by_node: dict[tuple[str, str], str] = {}
        self._by_op: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        said = record.msg
        node, why = getattr(said, "node", None), getattr(said, "reason", None)
        if node is not None and why:
            self._by_node[str(node), plain_name(node.target)] = str(why).strip().rstrip(".")
            return
        for line in _LINES:
            if found := line.search(record.getMessage()):
                self._by_op[plain_name(found["op"])] = found["why"]

    def why(self, node: str, op: str) -> str:
        """Why a node, of this plain name of operation, was left behind."""
        return self._by_node.get((node, op)) or self._by_op.get(op) or NO_RULE


@contextmanager
def listening() -> Iterator[Reasons]:
    """Collect what is said inside, and show none of it."""
    loggers, disabled = [logging.getLogger(name) for name in _LOGGERS], logging.root.manager.disable
    before = [(logger.level, logger.propagate, logger.handlers) for logger in loggers]
    reasons = Reasons()
    logging.disable(logging.NOTSET)
    for logger, level in zip(loggers, (logging.DEBUG, logging.INFO), strict=True):
        logger.setLevel(level)
        logger.propagate = False
        logger.handlers = [reasons]
    try:
        yield reasons
    finally:
        for logger, (level, logger.propagate, logger.handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
        logging.disable(disabled)


def plain_name(op: object) -> str:
    """The name of an operation without dialect and overload: `aten.argmax.default` -> `argmax`."""
    name = str(op) if isinstance(op, (str, OpOverload)) else getattr(op, "__name__", str(op))
    parts = name.replace("::", ".").split(".")
    return parts[1] if len(parts) > 1 else parts[0]
