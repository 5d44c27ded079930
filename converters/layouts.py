"""`--layout` of targets that may run on the Neural Engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


class NeuralEngineLayouts:
    """What such a target offers."""

    layouts = ("ane", "plain")

    def rewrite(self, layout: str | None) -> Callable[[nn.Module], nn.Module] | None:
        """How a prepared tower is rewritten before it is exported; None for as it is."""
        if layout != "ane":
            return None
        from converters.layout import for_neural_engine

        return for_neural_engine
