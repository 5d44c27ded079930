"""All contenders, in the order of the tables."""

from __future__ import annotations

from collections.abc import Iterable

from edgeclip.registry import Registry
from latency.contender import Contender
from peers import (
    edgeclip_program,
    litert_model,
    mnn_model,
    ncnn_model,
    onnx_runtime,
    openvino_model,
    straight_export,
    torch_eager,
)

_PEERS = (straight_export, onnx_runtime, openvino_model, mnn_model, ncnn_model, litert_model, torch_eager)


def contenders(schemes: Iterable[str] | None = None) -> Registry[Contender]:
    """edgeclip in each of `schemes` (None: all that the target has), then the peers."""
    table: Registry[Contender] = Registry("contender")
    for ours in edgeclip_program.contenders(schemes):
        table.add(ours.name, ours)
    for module in _PEERS:
        for peer in module.CONTENDERS:
            table.add(peer.name, peer)
    return table
