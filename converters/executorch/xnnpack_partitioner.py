"""ExecuTorch's partitioner for XNNPACK, with int8 GELU.

XNNPACK computes any function of an int8 tensor by a table of 256 results, and ExecuTorch's serializer and runtime hand the
types through; its partitioner lists GELU for float32 alone, which would put a conversion before and behind each one. It can
go when ExecuTorch lists STATIC_QUANT in `GeluConfig`.
"""

from __future__ import annotations

from typing import Any


def xnnpack_partitioner() -> Any:
    """A partitioner for all that ExecuTorch gives to XNNPACK, and for GELU between int8 tensors."""
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
    from executorch.backends.xnnpack.partition.config.generic_node_configs import GeluConfig
    from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    class Int8GeluConfig(GeluConfig):  # type: ignore[misc]
        def supported_precision_types(self) -> list[Any]:
            return [ConfigPrecisionType.FP32, ConfigPrecisionType.STATIC_QUANT]

    return XnnpackPartitioner(
        configs=[Int8GeluConfig if config is GeluConfig else config for config in ALL_PARTITIONER_CONFIGS]
    )
