"""Fusing: the towers as they are exported compute what the checkpoint's modules compute, with nothing left to fuse."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edgeclip.models import MODELS
from edgeclip.models.fusion import fuse
from edgeclip.models.hybrid_text import HybridTextTower, RepMixer
from edgeclip.models.towers import build_tower, prepare_for_export
from edgeclip.spec import TOWERS
from tests.support.live import between_input_cosines, pictures, token_ids
from tests.support.reduced import REDUCED, SMALL, spec_of

TOLERANCE = 5e-6  # float32 rounding: half of what scheme fp32 allows a whole artifact
# Structures of other families are in test_structures.
CASES = [(name, tower) for name in (*SMALL, *REDUCED) for tower in TOWERS]
# What timm's and our reparameterisable blocks hold only as long as they are not fused.
BRANCHES = ("conv_kxk", "conv_scale", "identity", "large_conv", "small_conv", "mixer", "norm_branch", "pos_enc")


def slow_if_full_size(cases):
    return [
        pytest.param(
            *case,
            marks=() if case[0] in REDUCED or case[0].endswith("-demo") else pytest.mark.slow,
            id="-".join(map(str, case)),
        )
        for case in cases
    ]


def inputs(spec, tower):
    return pictures(spec, seed=1) if tower == "image" else token_ids(spec)


@torch.no_grad()
def run(module, value):
    return module(value)


def test_repmixer_fused_equals_unfused(seeded):
    mixer = seeded("mobileclip-demo").text.transformer.resblocks[0].token_mixer
    fused = copy.deepcopy(mixer)
    fused.reparameterize()
    x = torch.randn(2, 96, 1, 77, generator=torch.Generator().manual_seed(0))
    assert (run(fused, x) - run(mixer, x)).abs().max() < 1e-5 * run(mixer, x).abs().max()
    assert isinstance(mixer.mixer, nn.Module)
    assert not hasattr(fused, "mixer")


def test_repmixer_fused_twice_is_fused_once():
    mixer = RepMixer(4, 11).eval()
    mixer.reparameterize()
    conv = mixer.reparam_conv
    mixer.reparameterize()
    assert mixer.reparam_conv is conv


@pytest.mark.parametrize("length", [1, 5, 77])
def test_repmixer_at_the_borders(length):
    """Padding must be zeros after, not before, the normalisation that fusing moves into the kernel."""
    torch.manual_seed(0)
    mixer = RepMixer(8, 11).eval()
    for module in mixer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.weight)
    nn.init.constant_(mixer.layer_scale.gamma, 0.7)
    x = torch.randn(2, 8, 1, length)
    wanted = run(mixer, x)
    mixer.reparameterize()
    torch.testing.assert_close(run(mixer, x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "tower"), slow_if_full_size(CASES))
def test_prepare_for_export_computes_the_same(name, tower, seeded):
    spec = spec_of(name)
    original = build_tower(seeded(name), spec, tower)
    before = {key: value.clone() for key, value in original.state_dict().items()}
    value = inputs(spec, tower)
    wanted = run(original, value)
    prepared = prepare_for_export(original)
    assert between_input_cosines(wanted).mean() < 0.7, "these inputs prove nothing"
    assert (run(prepared, value) - wanted).abs().max() < TOLERANCE
    assert (wanted.norm(dim=-1) - 1).abs().max() < TOLERANCE

    after = original.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert torch.equal(run(original, value), wanted)


@pytest.mark.parametrize(("name", "tower"), slow_if_full_size(CASES))
def test_nothing_is_left_to_fuse(name, tower):
    """No branch, and no BatchNorm."""
    spec = spec_of(name)
    unfused = build_tower(spec.build(spec), spec, tower)
    prepared = prepare_for_export(unfused)
    names = {part for key, _ in prepared.named_parameters() for part in key.split(".")}
    assert not names & set(BRANCHES)
    assert not [path for path, module in prepared.named_modules() if list(getattr(module, "conv_kxk", None) or [])]
    assert not [path for path, module in prepared.named_modules() if getattr(module, "reparam_conv", ...) is None]
    assert not [path for path, module in prepared.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    branched = [part for part in unfused.modules() if type(part).__name__ in ("FastVit", "HybridTextTower")]
    if branched:
        unfused_names = {part for key, _ in unfused.named_parameters() for part in key.split(".")}
        assert unfused_names & set(BRANCHES), "the names of branches have changed"


@pytest.mark.parametrize(("name", "tower"), slow_if_full_size(CASES))
def test_constants_are_finite(name, tower):
    """A causal mask of -inf turns into NaN when constants are compressed."""
    spec = spec_of(name)
    prepared = prepare_for_export(build_tower(spec.build(spec), spec, tower))
    for key, value in (*prepared.named_buffers(), *prepared.named_parameters()):
        assert torch.isfinite(value).all(), key


@pytest.mark.parametrize("tower", TOWERS)
def test_no_weight_asks_for_a_gradient(tower):
    spec = MODELS["mobileclip-demo"]
    prepared = prepare_for_export(build_tower(spec.build(spec), spec, tower))
    assert not [name for name, parameter in prepared.named_parameters() if parameter.requires_grad]


def test_fuse_reaches_a_tower_that_is_itself_a_block():
    mixer = nn.Sequential(RepMixer(4, 11)).eval()
    fuse(mixer)
    assert mixer[0].reparam_conv is not None
    alone = RepMixer(4, 11).eval()
    fuse(alone)
    assert alone.reparam_conv is not None


def test_the_end_token_is_found_wherever_it_stands(seeded):
    """The embedding is that of the position of the highest id, and later padding changes nothing before attention sees it."""
    text = seeded("mobileclip-demo").text
    ids = torch.zeros(2, 77, dtype=torch.int32)
    ids[:, 0] = 49406
    ids[0, 1] = ids[1, 76] = 49407
    assert between_input_cosines(run(text, ids)).max() < 0.999
    assert torch.equal(run(text, ids), run(text, ids.long()))


def test_the_text_tower_is_not_causal(seeded):
    """Words after the end token still count: S0's tower has no causal mask."""
    text = seeded("mobileclip-demo").text
    ids = token_ids(MODELS["mobileclip-demo"])[:1]
    changed = ids.clone()
    changed[0, -1] = 320
    assert (run(text, changed) - run(text, ids)).abs().max() > 1e-4


def test_the_tinyclip_text_tower_is_causal(seeded):
    text = seeded("tinyclip-demo").text
    ids = token_ids(MODELS["tinyclip-demo"])[:1]
    changed = ids.clone()
    changed[0, -1] = 320
    assert (run(text, changed) - run(text, ids)).abs().max() < 1e-6


def test_any_width():
    tower = HybridTextTower(vocab_size=50, context_length=9, width=16, heads=2, layers=1, embed_dim=8).eval()
    ids = torch.tensor([[48, 3, 4, 49, 0, 0, 0, 0, 0]])
    assert run(tower, ids).shape == (1, 8)
    wanted = run(tower, ids)
    fuse(tower)
    torch.testing.assert_close(run(tower, ids), wanted)
