"""For tests of Core AI: where it exists, and a small asset."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeclip.manifest import Artifact
from edgeclip.plugins import RUNTIMES
from edgeclip.spec import TensorSpec

MISSING = RUNTIMES["coreai"].missing()
needs_coreai = pytest.mark.skipif(MISSING is not None, reason=f"Core AI: {MISSING}")


def small_asset(path: Path) -> nn.Module:
    """Write an asset that normalises a linear map of its input -> the module it was made from. Needs Core AI."""
    from coreai_torch import TorchConverter, get_decomp_table

    from converters.coreai.asset import write_asset

    torch.manual_seed(0)
    module = Small().eval()
    program = torch.export.export(module, (torch.zeros(1, 3, 4, 4),), strict=False).run_decompositions(get_decomp_table())
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converted = converter.add_exported_program(program, input_names=["image"], output_names=["final_emb_1"]).to_coreai()
    write_asset(converted, {}, path)
    return module


class Small(nn.Module):
    """(N, 3, 4, 4) -> (N, 6), unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(48, 6)

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.encoder(image.flatten(1)), dim=-1)


def artifact_of(shape: tuple[int, ...] = (1, 3, 4, 4), name: str = "image", dim: int = 6) -> Artifact:
    """What a manifest would state of such an asset."""
    return Artifact(
        tower="image",
        target="coreai",
        backend=None,
        scheme="fp32",
        path="coreai/small.aimodel",
        sha256="0" * 64,
        size_bytes=0,
        inputs=(TensorSpec(name=name, shape=shape, dtype="float32"),),
        outputs=(TensorSpec(name="final_emb_1", shape=(1, dim), dtype="float32"),),
        min_os="iOS27",
    )
