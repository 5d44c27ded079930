"""Multiply-adds from declared shapes against PyTorch's counter, which sees the operations run: half its figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from converters.coreml.neural_engine.lint import lint_package
from converters.coreml.target import TARGET
from edgeclip.models import MODELS
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import build_tower, export_tower, prepare_for_export
from edgeclip.recipe import Recipe
from edgeclip.spec import TOWERS, Tower
from tests.reference.packages import Body, builder, edited, main_function, save

pytestmark = pytest.mark.usefixtures("quick_collections")


def mb() -> Any:
    return builder()


def half(*shape: int) -> np.ndarray:
    return np.full(shape, 0.5, np.float16)


def _ones(*shape: int) -> torch.Tensor:
    return torch.full(shape, 0.5)


def _counted(run: Callable[[], Any]) -> int:
    """Multiply-adds that PyTorch counts, attention as its two products."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.inference_mode(), FlopCounterMode(display=False) as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    operations = counter.get_total_flops()
    assert operations % 2 == 0
    return operations // 2


X = (1, 8, 6, 10)
# name -> (inputs, the program, the same in PyTorch)
CASES: dict[str, tuple[dict[str, tuple[int, ...]], Body, Callable[[], Any]]] = {
    "conv": (
        {"x": X},
        lambda v: mb().conv(x=v["x"], weight=half(12, 8, 3, 5), strides=[2, 1], pad_type="custom", pad=[1, 1, 2, 2]),
        lambda: F.conv2d(_ones(*X), _ones(12, 8, 3, 5), stride=(2, 1), padding=(1, 2)),
    ),
    "grouped and dilated conv": (
        {"x": X},
        lambda v: mb().conv(x=v["x"], weight=half(16, 2, 3, 3), groups=4, dilations=[2, 2], pad_type="valid"),
        lambda: F.conv2d(_ones(*X), _ones(16, 2, 3, 3), groups=4, dilation=2),
    ),
    "conv of one axis": (
        {"x": (1, 8, 10)},
        lambda v: mb().conv(x=v["x"], weight=half(4, 8, 3), pad_type="valid"),
        lambda: F.conv1d(_ones(1, 8, 10), _ones(4, 8, 3)),
    ),
    "conv_transpose": (
        {"x": X},
        lambda v: mb().conv_transpose(x=v["x"], weight=half(8, 5, 2, 2), strides=[2, 2], pad_type="valid"),
        lambda: F.conv_transpose2d(_ones(*X), _ones(8, 5, 2, 2), stride=2),
    ),
    "linear": (
        {"x": (1, 7, 10)},
        lambda v: mb().linear(x=v["x"], weight=half(12, 10), bias=half(12)),
        lambda: F.linear(_ones(1, 7, 10), _ones(12, 10), _ones(12)),
    ),
    "matmul": (
        {"x": (2, 3, 7, 10), "y": (2, 3, 10, 4)},
        lambda v: mb().matmul(x=v["x"], y=v["y"]),
        lambda: torch.bmm(_ones(6, 7, 10), _ones(6, 10, 4)),
    ),
    "matmul of transposed operands": (
        {"x": (6, 10, 7), "y": (6, 4, 10)},
        lambda v: mb().matmul(x=v["x"], y=v["y"], transpose_x=True, transpose_y=True),
        lambda: torch.bmm(_ones(6, 10, 7).transpose(1, 2), _ones(6, 4, 10).transpose(1, 2)),
    ),
    "attention": (
        {"q": (1, 3, 7, 16), "k": (1, 3, 9, 16), "v": (1, 3, 9, 20)},
        lambda v: mb().scaled_dot_product_attention(query=v["q"], key=v["k"], value=v["v"]),
        lambda: F.scaled_dot_product_attention(_ones(1, 3, 7, 16), _ones(1, 3, 9, 16), _ones(1, 3, 9, 20)),
    ),
    "einsum": (
        {"k": (1, 9, 2, 16), "q": (1, 16, 2, 7)},
        lambda v: mb().einsum(values=[v["k"], v["q"]], equation="nchw,nwhu->nchu"),
        lambda: torch.einsum("nchw,nwhu->nchu", _ones(1, 9, 2, 16), _ones(1, 16, 2, 7)),
    ),
    "no product": ({"x": X}, lambda v: mb().softmax(x=mb().add(x=v["x"], y=np.float16(1)), axis=1), lambda: _ones(*X).exp()),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_has_as_many_multiply_adds_as_pytorch_counts(name: str, tmp_path: Path) -> None:
    inputs, body, run = CASES[name]
    path = tmp_path / "p.mlpackage"
    save(path, {key: (shape, "fp16") for key, shape in inputs.items()}, body, opset="iOS18")
    counted = _counted(run)
    assert lint_package(path).macs == counted
    assert counted > 0 or name == "no product"


def test_flexible_shapes_leave_the_number_open(tmp_path: Path) -> None:
    path = tmp_path / "p.mlpackage"
    save(path, {"x": ((1, 7, 10), "fp16")}, lambda v: mb().linear(x=v["x"], weight=half(12, 10)))
    with edited(path) as model:
        function = main_function(model)
        out = function.block_specializations[function.opset].operations[-1].outputs[0]
        out.type.tensorType.dimensions[1].unknown.variadic = False
    lint = lint_package(path)
    assert (lint.macs, lint.macs_eligible, lint.macs_share) == (None, 0, None)  # a range of shapes runs on the CPU
    assert lint.as_json()["ops"][-1]["macs"] is None


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "min_os"), [("plain", "iOS17"), ("plain", "iOS18"), ("ane", "iOS17")])
@pytest.mark.parametrize("model", ["tinyclip-demo", "mobileclip-demo"])
@pytest.mark.parametrize("tower", TOWERS)
def test_a_tower_has_as_many_multiply_adds_as_pytorch_counts(
    model: str, tower: Tower, layout: str, min_os: str, tmp_path: Path
) -> None:
    """With iOS 18, attention is one operation; in the Neural Engine's layout, products of each head."""
    spec, pair, path = MODELS[model], seeded_pair(MODELS[model], 0), tmp_path / "p.mlpackage"
    rewrite = TARGET.rewrite(layout)
    recipe = Recipe(model, "seeded:0", "coreml", None, "fp16", min_os, layout)
    TARGET.lower(export_tower(pair, spec, tower, rewrite), recipe, {}, path)
    module = prepare_for_export(build_tower(pair, spec, tower))
    rewritten = module if rewrite is None else rewrite(module)
    shape = spec.input_shape(tower)
    given = torch.rand(shape) if tower == "image" else torch.full(shape, 5, dtype=torch.int32)
    lint = lint_package(path)
    assert lint.macs == _counted(lambda: rewritten(given))
    assert lint.macs_eligible == lint.macs
    assert lint.verdict == {"image": "whole", "text": "lookup" if layout == "ane" else "split"}[tower]
