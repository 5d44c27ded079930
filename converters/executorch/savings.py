"""Work that ExecuTorch and torch do again and again while lowering, with one result: done once, or not where it finds nothing.

The `.pte` has the same bytes with and without; `tests/converters/test_executorch_savings.py` holds it to that. All of it was
measured with executorch 1.4 and torch 2.13, and can go when they do without.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.traceback import NodeSource

from converters.executorch.watching import plain_name


@contextmanager
def _rarer_collections() -> Iterator[None]:
    """Let Python look for cycles less often: graphs make millions of objects, and keep most of them."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _shared_provenance() -> Iterator[None]:
    """Let nodes share the record of where they come from, instead of copying it.

    Each of ExecuTorch's passes makes every node again, with a record that holds the records of all passes before (
    `torch.fx.traceback.NodeSource`), and copies that deeply: time that grows with the square of the number of passes. The
    records do not change once they are made.
    """
    assert "__deepcopy__" not in vars(NodeSource)
    NodeSource.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del NodeSource.__deepcopy__  # type: ignore[attr-defined]


@contextmanager
def _operators_listed_once() -> Iterator[None]:
    """Each of the fifteen decompositions of a lowering asks of every operator there is whether it is a composite one."""
    from torch._export import utils
    from torch.export import decomp_utils, exported_program

    places = [place for place in (utils, decomp_utils, exported_program) if hasattr(place, "_collect_all_valid_cia_ops")]
    found = utils._collect_all_valid_cia_ops
    operators = found()
    with _replaced(places, "_collect_all_valid_cia_ops", lambda: set(operators)):
        yield


@contextmanager
def _decompositions_with_work() -> Iterator[None]:
    """Leave out decompositions of operations that are not there: each traces the whole graph once more.

    The first of a lowering, of nothing, is needed: it makes a program functional.
    """
    decompose = ExportedProgram.run_decompositions

    def needed(self: ExportedProgram, decomp_table: Any = None, *args: Any, **kwargs: Any) -> ExportedProgram:
        present = {node.target for node in self.graph.nodes if node.op == "call_function"}
        if not decomp_table or any(known in decomp_table for known in present):
            return decompose(self, decomp_table, *args, **kwargs)
        return self

    with _replaced([ExportedProgram], "run_decompositions", needed):
        yield


# Operations that a pass of the XNNPACK delegate looks for (backends/xnnpack/_passes). Where there are none, it would only trace
# the graph once more; the first also lowers four models with interpolation in them, to know their pattern.
_LOOKS_FOR = {
    "ConvertToUpsampleBilinear2d": {"upsample_bilinear2d", "index", "_unsafe_index"},
    "FuseBatchNormPass": {"native_batch_norm", "_native_batch_norm_legit_no_training"},
    "DecomposeBatchNorm": {"native_batch_norm", "_native_batch_norm_legit_no_training"},
    "PReLUReshapePass": {"prelu", "_prelu_kernel"},
    "DecomposeConcatenate": {"cat"},
    "InsertPadQDQPass": {"constant_pad_nd"},
    "DimOrderOpsRevertPass": {"_to_dim_order_copy", "_clone_dim_order", "_empty_dim_order"},
    "FuseActivationPass": {"relu", "hardtanh"},
    "RemoveGetItemPass": {"max_pool2d_with_indices", "max"},
    "Conv1dUnsqueezePass": {"convolution"},
    "PropagateCustomMetaPass": {"quantize_per_tensor", "dequantize_per_tensor", "dequantize_per_channel"},
}


@contextmanager
def _passes_with_work() -> Iterator[None]:
    """Leave out passes of the XNNPACK delegate that look for operations which are not there."""
    from executorch.backends.xnnpack import xnnpack_preprocess

    make: Any = xnnpack_preprocess.XNNPACKPassManager

    def needed(exported_program: Any, passes: list[Any] | None = None) -> Any:
        manager = make(exported_program, passes)
        present = {plain_name(node.target) for node in exported_program.graph.nodes if node.op == "call_function"}
        manager.passes = [one for one in manager.passes if _LOOKS_FOR.get(one.__name__, present) & present]
        return manager

    with _replaced([xnnpack_preprocess], "XNNPACKPassManager", needed):
        yield


@contextmanager
def _code_on_demand() -> Iterator[None]:
    """Write a graph's Python code when the graph is called: each pass asks for it, and nearly all graphs are only read.

    As `torch.fx._lazy_graph_module` does for graphs that are made as such.
    """
    write = GraphModule.recompile

    def first_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        write(self)
        return self(*args, **kwargs)

    def on_demand(self: Any) -> None:
        specs = getattr(self.graph._codegen, "pytree_info", None)
        if specs is not None:
            self._in_spec, self._out_spec = specs.in_spec, specs.out_spec
        type(self).forward = first_call

    with _replaced([GraphModule], "recompile", on_demand), _replaced([GraphModule], "__str__", GraphModule.__repr__):
        yield  # a text of each partition's graph is made for a log that nobody reads


@contextmanager
def _replaced(places: list[Any], name: str, value: Any) -> Iterator[None]:
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, old in zip(places, before, strict=True):
            setattr(place, name, old)


_ALL = (
    _rarer_collections,
    _shared_provenance,
    _operators_listed_once,
    _decompositions_with_work,
    _passes_with_work,
    _code_on_demand,
)


@contextmanager
def savings() -> Iterator[None]:
    """All of them, while a graph is lowered."""
    with contextlib.ExitStack() as stack:
        for saving in _ALL:
            stack.enter_context(saving())
        yield
