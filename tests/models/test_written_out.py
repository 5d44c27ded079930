"""GELU by tanh, which converters take for the exact one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.layers import GELUTanh
from torch import nn

from edgeclip.models.written_out import TanhGelu, check_written_out, write_out

X = torch.linspace(-12, 12, 4001)


def test_the_formula():
    got = TanhGelu()(X)
    assert (got - F.gelu(X, approximate="tanh")).abs().max() < 1e-6
    assert (got - F.gelu(X)).abs().max() > 3e-4


def test_every_spelling_is_replaced_and_the_exact_one_stays():
    module = nn.Sequential(nn.GELU(approximate="tanh"), nn.Sequential(GELUTanh(), nn.GELU()))
    write_out(module)
    assert [type(part) for part in (module[0], *module[1])] == [TanhGelu, TanhGelu, nn.GELU]


def test_one_that_was_overlooked_is_noticed():
    class Calls(nn.Module):
        def forward(self, x):
            return F.gelu(x, approximate="tanh")

    with pytest.raises(AssertionError, match="GELU by tanh"):
        check_written_out(torch.export.export(Calls(), (X,)))
