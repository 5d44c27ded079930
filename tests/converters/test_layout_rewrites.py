"""Each rewrite for the Neural Engine, alone, against the module it replaces.

In float64 the identity shows, in float32 what rounding adds.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from converters.layout.attention import from_packed, from_torch, mask_of
from converters.layout.end_token import EndToken
from converters.layout.kinds import RefusedError, rewritten
from converters.layout.layer_norm import ChannelNorm, channel_norm, norm_into
from converters.layout.normalisation import Normalisation, deviation_into
from converters.layout.patches import patch_embedding
from converters.layout.pointwise import pointwise_linear, projection
from converters.layout.unit_length import unit_length
from edgeclip.models.hybrid_text import Attention, RepMixerBlock, TransformerBlock
from edgeclip.models.torchvision_shim import declare_torchvision_ops
from edgeclip.models.towers import FINITE_MASK

PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])


def live(module, dtype, seed=0):
    """`module` in eval mode, every parameter drawn, so that none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.ndim < 2:
                parameter.copy_(0.3 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return module.to(dtype).eval().requires_grad_(False)


def values(*shape, dtype, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def to_map(x):
    """(N, L, C) -> (N, C, 1, L)."""
    return x.transpose(1, 2).unsqueeze(2)


def to_rows(x):
    """(N, C, 1, L) -> (N, L, C)."""
    return x.squeeze(2).transpose(1, 2)


def assert_close(got, wanted, tolerance):
    """Relative to the largest value: sums of values of size 3 are rounded three times as much."""
    assert got.shape == wanted.shape
    assert wanted.std() > 0.1, "this input proves nothing"
    assert (got - wanted).abs().max() <= tolerance * max(1.0, float(wanted.abs().max()))


@pytest.fixture
def transformer():
    declare_torchvision_ops()
    import open_clip.transformer

    return open_clip.transformer


@PRECISIONS
@pytest.mark.parametrize("bias", [True, False])
def test_linear_as_convolution(dtype, tolerance, bias):
    linear = live(nn.Linear(12, 20, bias=bias), dtype)
    x = values(2, 7, 12, dtype=dtype)
    assert_close(to_rows(pointwise_linear(linear)(to_map(x))), linear(x), tolerance)


def test_projections():
    x, matrix = values(2, 6, dtype=torch.float64), values(6, 5, dtype=torch.float64)
    linear = live(nn.Linear(6, 5), torch.float64)
    column = x[:, :, None, None]
    assert_close(projection(matrix)(column).flatten(1), x @ matrix, 1e-13)
    assert_close(projection(linear)(column).flatten(1), linear(x), 1e-13)
    assert torch.equal(projection(None)(column).flatten(1), x)


@PRECISIONS
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_norm_over_channels(dtype, tolerance, offset):
    norm = live(nn.LayerNorm(24, eps=1e-3), dtype)
    x = 3 * values(2, 7, 24, dtype=dtype) + offset
    wanted = norm.double()(x.double()).to(dtype)
    assert_close(to_rows(channel_norm(norm.to(dtype))(to_map(x))), wanted, tolerance if offset == 0 else 5 * tolerance)


@PRECISIONS
@pytest.mark.parametrize("variant", ["full", "zero scales", "no shift", "no affine", "layer without bias"])
def test_norm_into_the_layers_behind_it(dtype, tolerance, variant):
    norm = live(nn.LayerNorm(24, bias=variant != "no shift", elementwise_affine=variant != "no affine"), dtype)
    if variant == "zero scales":
        norm.weight[:5] = 0.0  # coremltools would divide by them
    layers = [live(nn.Linear(24, 10, bias=variant != "layer without bias"), dtype, seed) for seed in (1, 2)]
    x = 3 * values(2, 7, 24, dtype=dtype) + 1
    convs = [pointwise_linear(layer) for layer in layers]
    bare = norm_into(norm, *convs)
    assert isinstance(bare, ChannelNorm)
    assert bare.affine is None
    for layer, conv in zip(layers, convs, strict=True):
        assert_close(to_rows(conv(bare(to_map(x)))), layer(norm(x)), 2 * tolerance)


def test_norm_stays_whole_if_a_layer_cannot_take_it():
    norm = live(nn.LayerNorm(8), torch.float64)
    x = values(2, 5, 8, dtype=torch.float64)
    assert_close(to_rows(norm_into(norm, nn.Identity())(to_map(x))), norm(x), 1e-13)
    assert isinstance(norm_into(nn.Identity(), pointwise_linear(nn.Linear(8, 8))), nn.Identity)


def causal(length, dtype):
    return torch.full((length, length), FINITE_MASK, dtype=dtype).triu(1)


@PRECISIONS
@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_of_torch(dtype, tolerance, heads, masked):
    attention = live(nn.MultiheadAttention(24, heads, batch_first=True), dtype)
    x = 2 * values(3, 9, 24, dtype=dtype)
    mask = causal(9, dtype) if masked else None
    wanted, _ = attention(x, x, x, attn_mask=mask, need_weights=False)
    assert_close(to_rows(from_torch(attention)(to_map(x), mask_of(mask))), wanted, 2 * tolerance)


def test_a_mask_is_transposed_with_the_scores():
    """A mask that is not symmetric: who may look at whom."""
    attention = live(nn.MultiheadAttention(8, 2, batch_first=True), torch.float64)
    x = values(1, 4, 8, dtype=torch.float64)
    mask = values(4, 4, dtype=torch.float64)
    wanted, _ = attention(x, x, x, attn_mask=mask, need_weights=False)
    assert_close(to_rows(from_torch(attention)(to_map(x), mask_of(mask))), wanted, 1e-13)
    other, _ = attention(x, x, x, attn_mask=mask.T.contiguous(), need_weights=False)
    assert (other - wanted).abs().max() > 0.01


@PRECISIONS
def test_attention_of_the_hybrid_text_tower(dtype, tolerance):
    attention = live(Attention(24, 3), dtype)
    x = 2 * values(2, 7, 24, dtype=dtype)
    assert_close(to_rows(from_packed(attention, attention.heads)(to_map(x))), attention(x), 2 * tolerance)


@PRECISIONS
@pytest.mark.parametrize("qkv_bias", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (2, 5)])
def test_attention_of_fastvit(dtype, tolerance, qkv_bias, size, transformer):
    from timm.models.fastvit import Attention as FastVitAttention

    attention = live(FastVitAttention(64, head_dim=32, qkv_bias=qkv_bias), dtype)
    x = 2 * values(2, 64, *size, dtype=dtype)
    assert_close(rewritten(attention)(x), attention(x), 2 * tolerance)


@PRECISIONS
def test_head_of_fastvit(dtype, tolerance, transformer):
    from timm.layers import ClassifierHead

    head = live(ClassifierHead(16, 10), dtype)
    x = 3 * values(2, 16, 4, 5, dtype=dtype)
    wanted = head(x)
    assert_close(rewritten(head)(x).flatten(1), wanted, tolerance)


BLOCKS = {
    "open_clip": lambda t: t.ResidualAttentionBlock(24, 3),
    "open_clip layer scale": lambda t: t.ResidualAttentionBlock(24, 3, ls_init_value=0.4),
    "open_clip quick gelu": lambda t: t.ResidualAttentionBlock(24, 3, act_layer=t.QuickGELU),
    "hybrid": lambda _: TransformerBlock(24, 3, 4.0),
    "repmixer": lambda _: RepMixerBlock(24),
}


@PRECISIONS
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name, dtype, tolerance, transformer):
    block = live(BLOCKS[name](transformer), dtype)
    x = values(2, 15, 24, dtype=dtype)
    wanted = block(x)
    assert_close(to_rows(rewritten(copy.deepcopy(block))(to_map(x), None)), wanted, 3 * tolerance)


VISION = {
    "class token": {},
    "mean": {"pool_type": "avg"},
    "mean, then norm": {"pool_type": "avg", "final_ln_after_pool": True},
    "class token, then norm": {"final_ln_after_pool": True},
    "no norm in front": {"no_ln_pre": True},
    "layer scales": {"ls_init_value": 0.3},
    "fixed positions": {"pos_embed_type": "sin_cos_2d"},
    "wide patches": {"image_size": 48, "patch_size": 16},
}


@PRECISIONS
@pytest.mark.parametrize("name", VISION)
def test_vision_transformer(name, dtype, tolerance, transformer):
    common = {"image_size": 24, "patch_size": 8, "width": 24, "layers": 2, "heads": 3, "mlp_ratio": 2.0, "output_dim": 10}
    vit = live(transformer.VisionTransformer(**common | VISION[name]), dtype)
    x = values(2, 3, *vit.image_size, dtype=dtype)
    wanted = vit(x)
    got = rewritten(copy.deepcopy(vit))(x)
    assert got.shape == (2, 10, 1, 1)
    assert_close(got.flatten(1), wanted, 5 * tolerance)


TEXT = {
    "causal, highest id": {},
    "all see all": {"no_causal_mask": True},
    "named end token": {"pool_type": "eos", "eos_id": 31},
    "first": {"pool_type": "first", "no_causal_mask": True},
    "last": {"pool_type": "last"},
    "projection with bias": {"proj_bias": True},
    "no projection": {"proj_type": "none"},
}


@PRECISIONS
@pytest.mark.parametrize("name", TEXT)
def test_text_transformer(name, dtype, tolerance, transformer):
    common = {"context_length": 9, "vocab_size": 40, "width": 24, "heads": 3, "layers": 2, "output_dim": 10}
    text = live(transformer.TextTransformer(**common, **TEXT[name]), dtype)
    if text.attn_mask is not None:
        text.attn_mask = causal(9, dtype)
    ids = torch.tensor([[38, 3, 4, 39, 31, 0, 0, 0, 0], [38, 39, 31, 7, 39, 31, 2, 2, 2], [38, 1, 2, 3, 4, 5, 31, 7, 39]])
    wanted = text(ids)
    got = rewritten(copy.deepcopy(text)).to(dtype)(ids.int())
    assert_close(got.flatten(1), wanted, 5 * tolerance)


def first_of_highest(ids):
    """What the original does, as an indicator."""
    return F.one_hot(ids.argmax(-1), ids.shape[1]).float()


@given(st.lists(st.integers(0, 99), min_size=12, max_size=12), st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_end_token_is_the_first_of_the_highest(ids, places):
    ids = torch.tensor([ids], dtype=torch.int32)
    ids[0, places] = 99
    assert torch.equal(EndToken(100, 99, 12).first(ids).flatten(1), first_of_highest(ids))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("place", [0, 1, 40, 76])
def test_end_token_is_exact_in_float16(dtype, place):
    """The end token may fill the rest of the context, as it does where texts are padded with it."""
    ids = torch.full((1, 77), 49406, dtype=torch.int32)
    ids[0, place:] = 49407
    pick = EndToken(49408, 49407, 77).to(dtype)
    x = values(1, 8, 1, 77, dtype=dtype) * 100
    assert torch.equal(pick(x, ids), x[..., place : place + 1])


@pytest.mark.parametrize("error", [-1e-2, 1e-2])
def test_end_token_survives_rounded_constants(error):
    """What weight compression does to its two constants."""
    pick = EndToken(100, 99, 6)
    pick.table.mul_(1 + error)
    with torch.no_grad():
        pick.earlier.weight.mul_(1 + error)
    ids = torch.tensor([[98, 4, 99, 5, 99, 99]])
    assert torch.equal(pick.first(ids).flatten(1), first_of_highest(ids))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0, 3e4])
def test_unit_length(scale):
    x = scale * values(4, 64, dtype=torch.float32).clamp(-2, 2)[:, :, None, None]
    torch.testing.assert_close(unit_length(x), F.normalize(x, dim=1), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 300.0, 3e4])
def test_unit_length_in_float16(scale):
    """Where the plain formula overflows or loses its digits."""
    x = (scale * values(4, 64, dtype=torch.float32).clamp(-2, 2)[:, :, None, None]).half()
    assert (unit_length(x).float() - F.normalize(x.double(), dim=1)).abs().max() < 1e-3


def test_unit_length_of_nothing_is_nothing():
    for dtype in (torch.float16, torch.float32):
        assert torch.equal(unit_length(torch.zeros(1, 8, 1, 1, dtype=dtype)), torch.zeros(1, 8, 1, 1, dtype=dtype))


MEAN, STD = np.array([0.48, 0.46, 0.41]), np.array([0.27, 0.26, 0.28])


@PRECISIONS
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_deviation_into_the_first_convolution(dtype, tolerance, padding, bias):
    conv = live(nn.Conv2d(3, 8, 4, stride=2, padding=padding, bias=bias), dtype)
    mean, std = (torch.tensor(v, dtype=dtype).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    image = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    wanted = conv((image - mean) / std)
    assert_close(conv(Normalisation(mean, std)(image)), wanted, tolerance)
    deviation_into(conv, std)
    assert_close(conv(Normalisation(mean, None)(image)), wanted, 2 * tolerance)


@PRECISIONS
@pytest.mark.parametrize(("size", "steps"), [(13, 1), (14, 2), (16, 2), (32, 4), (26, 2), (49, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_patch_embedding(dtype, tolerance, size, steps, bias):
    conv = live(nn.Conv2d(3, 8, size, stride=size, bias=bias), dtype)
    mean, std = (torch.tensor(v, dtype=dtype).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    image = values(2, 3, 2 * size, 3 * size, dtype=dtype)
    wanted = conv((image - mean) / std)
    sorting, narrow = patch_embedding(conv)
    assert max(narrow.kernel_size) <= 13
    assert narrow.kernel_size == (size // steps, size // steps)
    if steps > 1:
        assert torch.equal(sorting(image), F.pixel_unshuffle(image, steps))
    assert_close(narrow(sorting((image - mean) / std)), wanted, 3 * tolerance)
    deviation_into(narrow, std)
    assert_close(narrow(sorting(image - mean)), wanted, 3 * tolerance)


@pytest.mark.parametrize(
    "conv", [nn.Conv2d(3, 8, 16, stride=8), nn.Conv2d(3, 8, 16, stride=16, padding=1), nn.Conv2d(3, 8, 17, stride=17)]
)
def test_wide_kernels_that_are_refused(conv):
    with pytest.raises(RefusedError, match=r"kernel of 1[67]"):
        patch_embedding(conv)
