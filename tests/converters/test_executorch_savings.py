"""What is left out while lowering changes no byte of the file."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converters.executorch import lowering, savings
from converters.executorch.backends import BACKENDS


class Everything(nn.Module):
    """Something for each pass of the XNNPACK delegate that may be left out."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.norm, self.slope = nn.BatchNorm2d(6), nn.PReLU(6)

    def forward(self, x):
        x = F.pad(self.norm(self.first(x)), (1, 1, 1, 1))
        x = F.interpolate(self.slope(x), scale_factor=2, mode="bilinear", align_corners=False)
        return torch.cat([x, x, x, x, x, F.relu(self.second(F.pad(x, (1, 1, 1, 1))))], dim=1)


class Little(nn.Module):
    """Nothing for any of them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

    def forward(self, x):
        return F.gelu(self.last(self.first(x).mean((2, 3))))


@pytest.mark.slow
@pytest.mark.parametrize("module", [Everything, Little])
def test_the_file_is_the_same(module, monkeypatch):
    torch.manual_seed(0)
    program = torch.export.export(module().eval(), (torch.zeros(1, 3, 8, 8),))

    def content() -> bytes:
        return lowering.lower({"forward": (program, BACKENDS["xnnpack"].partitioners("fp32"))}).content

    saved = content()
    monkeypatch.setattr(lowering, "savings", contextlib.nullcontext)
    assert content() == saved


@pytest.mark.slow
def test_what_was_replaced_is_put_back_when_lowering_fails():
    from executorch.backends.xnnpack import xnnpack_preprocess
    from torch._export import utils
    from torch.fx.traceback import NodeSource

    before = xnnpack_preprocess.XNNPACKPassManager, utils._collect_all_valid_cia_ops
    with pytest.raises(KeyError), savings.savings():
        raise KeyError
    assert (xnnpack_preprocess.XNNPACKPassManager, utils._collect_all_valid_cia_ops) == before
    assert "__deepcopy__" not in vars(NodeSource)
