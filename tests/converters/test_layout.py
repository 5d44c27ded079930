"""Whole towers in the Neural Engine's layout: equal to the towers they come from, or refused by name."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from converters.layout import for_neural_engine
from converters.layout.kinds import FITTING, HOLDING, REWRITES
from edgeclip.errors import ConversionError
from edgeclip.models import MODELS
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import ImageTower, TextTower, build_tower, prepare_for_export
from edgeclip.spec import TOWERS
from tests.support.live import between_input_cosines, pictures, token_ids

DEMOS = ("tinyclip-demo", "mobileclip-demo")
CASES = [(name, tower) for name in DEMOS for tower in TOWERS]


@functools.cache
def tower_of(name, tower):
    """A prepared tower with live weights. Read-only."""
    return prepare_for_export(build_tower(_pair(name), MODELS[name], tower))


@functools.cache
def _pair(name):
    return seeded_pair(MODELS[name], 0)


def inputs(name, tower):
    return pictures(MODELS[name]) if tower == "image" else token_ids(MODELS[name])


@torch.no_grad()
def run(module, value):
    return module(value)


@pytest.mark.parametrize(("name", "tower"), CASES)
def test_computes_the_same(name, tower):
    module, value = tower_of(name, tower), inputs(name, tower)
    wanted = run(module, value)
    assert between_input_cosines(wanted).mean() < 0.7, "these inputs prove nothing"
    assert (run(for_neural_engine(module), value) - wanted).abs().max() <= 1e-6


@pytest.mark.parametrize(("name", "tower"), CASES)
def test_the_given_tower_stays_as_it_is(name, tower):
    module, value = tower_of(name, tower), inputs(name, tower)
    before = {key: weights.clone() for key, weights in module.state_dict().items()}
    kinds = [(path, type(part)) for path, part in module.named_modules()]
    wanted = run(module, value)
    rewritten = for_neural_engine(module)
    assert [(path, type(part)) for path, part in module.named_modules()] == kinds
    assert all(torch.equal(weights, before[key]) for key, weights in module.state_dict().items())
    assert torch.equal(run(module, value), wanted)
    assert not rewritten.training
    assert not any(parameter.requires_grad for parameter in rewritten.parameters())


@pytest.mark.parametrize(("name", "tower"), CASES)
def test_layers_keep_their_paths(name, tower):
    """What verify names, when two programs part, is found in the checkpoint."""
    module = tower_of(name, tower)
    old = {path for path, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    new = {path: type(part) for path, part in for_neural_engine(module).named_modules()}
    assert nn.Linear not in new.values()
    lost = {path for path in old if new.get(path) is not nn.Conv2d}
    assert {path.rpartition(".token_mixer.")[2] for path in lost} <= {"qkv", "proj"}  # now q_proj, k_proj, v_proj, out_proj


@pytest.mark.parametrize("name", DEMOS)
@pytest.mark.parametrize("place", [1, 40, 76])
def test_wherever_the_end_token_stands(name, place):
    ids = torch.full((2, 77), 320, dtype=torch.int32)
    ids[:, 0] = 49406
    ids[0, place] = 49407
    ids[1, place:] = 49407  # padded with end tokens: the first counts
    module = tower_of(name, "text")
    assert (run(for_neural_engine(module), ids) - run(module, ids)).abs().max() <= 1e-6


class Doubled(nn.Module):
    """Weights of its own, in a kind that nobody knows."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x):
        return 2 * x * self.factor


class Halves(nn.Sequential):
    """No weights of its own, but an axis."""

    def forward(self, x):
        return super().forward(x).chunk(2, dim=-1)[0]


def image_tower(encoder):
    return ImageTower(encoder, MODELS["tinyclip-demo"].preprocess).eval()


def refusal(tower):
    with pytest.raises(ConversionError) as caught:
        for_neural_engine(tower)
    message = str(caught.value)
    assert "--layout plain" in message
    assert "\n" not in message
    assert caught.value.__cause__ is not None
    return message


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.Linear(3, 3), "Linear"),
        (nn.LayerNorm(3), "LayerNorm"),
        (nn.MultiheadAttention(4, 2), "MultiheadAttention"),
        (nn.TransformerEncoderLayer(4, 2, batch_first=True), "TransformerEncoderLayer"),
        (nn.LSTM(3, 3), "LSTM"),
        (Doubled(), "Doubled"),
        (nn.LayerNorm(3, elementwise_affine=False), "LayerNorm"),
        (nn.Softmax(-1), "Softmax"),
        (nn.Flatten(), "Flatten"),
        (nn.AdaptiveAvgPool1d(1), "AdaptiveAvgPool1d"),
        (Halves(nn.Conv2d(3, 3, 1)), "Halves"),
    ],
)
def test_an_unknown_kind_is_refused_by_name(module, kind):
    encoder = nn.Sequential()
    encoder.add_module("stem", nn.Conv2d(3, 3, 3))
    encoder.add_module("trunk", nn.Sequential(nn.GELU(), module))
    message = refusal(image_tower(encoder))
    assert message.startswith("encoder.trunk.1")
    assert f"({kind} in " in message


def test_an_unknown_tower_is_refused():
    assert "Linear" in refusal(nn.Linear(3, 3))


@pytest.fixture
def transformer():
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    import open_clip.transformer

    return open_clip.transformer


VISION = {
    "attentional pooling": {"attentional_pool": True, "attn_pooler_heads": 3},
    "patch dropout": {"patch_dropout": 0.5},
    "pool_type 'none'": {"pool_type": "none"},
    "output_tokens": {"output_tokens": True},
    "CustomResidualAttentionBlock": {"qk_norm": True},
}
TEXT = {
    "a class token": {"embed_cls": True},
    "a padding mask": {"use_pad_mask": True, "no_causal_mask": True},
    "pool_type 'none'": {"pool_type": "none"},
    "output_tokens": {"output_tokens": True},
    "CustomResidualAttentionBlock": {"scale_heads": True},
}


@pytest.mark.parametrize("reason", VISION)
def test_variants_of_vision_transformers_that_are_refused(reason, transformer):
    size = {"image_size": 16, "patch_size": 8, "width": 24, "layers": 1, "heads": 3, "mlp_ratio": 2.0, "output_dim": 9}
    vit = transformer.VisionTransformer(**size, **VISION[reason])
    message = refusal(image_tower(vit))
    assert reason in message
    assert message.startswith("encoder")


@pytest.mark.parametrize("reason", TEXT)
def test_variants_of_text_transformers_that_are_refused(reason, transformer):
    size = {"context_length": 9, "vocab_size": 40, "width": 24, "layers": 1, "heads": 3, "output_dim": 10}
    text = transformer.TextTransformer(**size, **TEXT[reason])
    message = refusal(TextTower(text).eval())
    assert reason in message
    assert message.startswith("encoder")


def test_other_vision_transformers_are_refused_by_name():
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    import timm

    trunk = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=8, global_pool="avg")
    message = refusal(image_tower(nn.Sequential(trunk)))
    assert "VisionTransformer" in message
    assert message.startswith("encoder.0")


def test_every_row_names_a_class():
    """A library that moves a class would silently lose its rewrite."""
    import importlib

    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    for kind in (*REWRITES, *FITTING, *HOLDING):
        module, _, name = kind.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), name), nn.Module)
