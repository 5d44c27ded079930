"""Weight compression of ML Programs: one handler per scheme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Operations whose constant operands are weight matrices; masks and position tables (operands of `add`) stay as they are.
_WEIGHTED = ("linear", "conv", "matmul", "gather")
_SMALLEST = 2048  # elements; below, scales and alignment eat the gain


def _linear_int8(model: Any) -> Any:
    """int8, symmetric, one scale per output channel (per row for the token table)."""
    import coremltools.optimize.coreml as cto

    weights = cto.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=_SMALLEST
    )
    config = cto.OptimizationConfig(op_type_configs=dict.fromkeys(_WEIGHTED, weights))
    return cto.linear_quantize_weights(model, config)


_HANDLERS: dict[str, Callable[[Any], Any]] = {"w8": _linear_int8}


def compress(model: Any, scheme: str) -> Any:
    """Apply a scheme's compression; float schemes have none."""
    handler = _HANDLERS.get(scheme)
    return model if handler is None else handler(model)
