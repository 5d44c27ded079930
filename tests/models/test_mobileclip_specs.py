"""The rows of MobileCLIP and MobileCLIP2 against open_clip's tables and published figures."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edgeclip.models import MODELS
from edgeclip.models.fusion import fuse
from edgeclip.models.torchvision_shim import declare_torchvision_ops

declare_torchvision_ops()
from open_clip.pretrained import get_pretrained_cfg  # noqa: E402

PUBLISHED = [name for name, spec in MODELS.items() if spec.family.startswith("mobileclip") and spec.published]

# Our name -> open_clip's name and tag.
OPEN_CLIP = {
    "mobileclip-s1": ("MobileCLIP-S1", "datacompdr"),
    "mobileclip-s2": ("MobileCLIP-S2", "datacompdr"),
    "mobileclip-b": ("MobileCLIP-B", "datacompdr"),
    "mobileclip-b-lt": ("MobileCLIP-B", "datacompdr_lt"),
    **{f"mobileclip2-{size.lower()}": (f"MobileCLIP2-{size}", "dfndr2b") for size in ("S0", "S2", "B", "S3", "S4", "L-14")},
}
# GMACs of towers that are equal, or differ by a stem, in open_clip's docs/model_profile.csv, whose FLOPs are twice that.
# They have the products of layers and of attention, and no others.
PROFILED = {
    ("mobileclip-s1", "text"): 5.96 / 2,  # of ViT-B-32
    ("mobileclip-b", "image"): 35.13 / 2,  # of ViT-B-16
    ("mobileclip2-s3", "text"): 13.3 / 2,  # of ViT-L-14
    ("mobileclip2-l-14", "image"): 162.03 / 2,  # of ViT-L-14
}


def built(name):
    with torch.device("meta"):
        return MODELS[name].build(MODELS[name]).eval()


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_preprocessing_is_open_clips(name):
    published = get_pretrained_cfg(*OPEN_CLIP[name])
    preprocess = MODELS[name].preprocess
    assert preprocess.mean == tuple(published["mean"])
    assert preprocess.std == tuple(published["std"])
    assert preprocess.interpolation == published["interpolation"]
    assert preprocess.resize == published["resize_mode"]


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_names_of_open_clip_and_its_repositories(name):
    published = get_pretrained_cfg(*OPEN_CLIP[name])
    assert MODELS[published["hf_hub"].strip("/")].name == name
    if name != "mobileclip-b-lt":
        assert MODELS[OPEN_CLIP[name][0]].name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters(name):
    published, pair = MODELS[name].published, built(name)
    for tower, wanted in ((pair.visual, published.image_millions), (pair.text, published.text_millions)):
        assert sum(parameter.numel() for parameter in tower.parameters()) / 1e6 == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(("name", "tower"), PROFILED)
def test_multiply_adds(name, tower):
    """Of the fused tower, as it is exported."""
    spec, pair = MODELS[name], built(name)
    encoder = pair.visual if tower == "image" else pair.text
    if tower == "image":
        encoder = encoder.to_empty(device="cpu")  # folding batch norms looks at numbers
        fuse(encoder)
        encoder = encoder.to("meta")
    kind = torch.float32 if tower == "image" else torch.int32
    given = torch.zeros(spec.input_shape(tower), dtype=kind, device="meta")
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder(given)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert counter.get_total_flops() / 2e9 == pytest.approx(PROFILED[name, tower], rel=0.03)


def test_b_and_its_longer_trained_twin_are_one_architecture():
    first, second = MODELS["mobileclip-b"], MODELS["mobileclip-b-lt"]
    assert first.architecture is second.architecture
    assert first.build is second.build
    assert first.hub.sha256 != second.hub.sha256
    assert second.file_stem == "mobileclip_blt"  # as Apple's sample app calls it
