"""Pruned checkpoints: masks are folded exactly, shapes are read from the file, and a file goes to the row it belongs to."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from edgeclip.errors import InputError
from edgeclip.models import MODELS
from edgeclip.models.checkpoints import load_checkpoint
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import build_tower
from edgeclip.spec import TOWERS
from tests.support.independent import embeddings, tinyclip_names
from tests.support.live import pictures, token_ids
from tests.support.masked_tinyclip import MaskedTinyCLIP, drawn_state, mask
from tests.support.reduced import pruned, reduced

AUTO = [name for name in MODELS if name.startswith("tinyclip-auto")]
ROW = "tinyclip-auto-vit-22m-32"


def flat(pair):
    """A model's tensors in TinyCLIP's names."""
    return tinyclip_names({key.removeprefix("text."): value for key, value in pair.state_dict().items()})


def zeros_of(name):
    """The tensors of a row of the table, without memory."""
    with torch.device("meta"):
        pair = MODELS[name].build(MODELS[name])
    return {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in flat(pair).items()}


@pytest.fixture(scope="module")
def full():
    """The row before pruning: 3 layers of 6 heads of 16, and 2 layers of 4."""
    vision = {"patch_size": 16, "width": 96, "head_width": 16, "heads": (6,) * 3, "mlp_widths": (200,) * 3}
    spec = reduced(ROW, vision, {"width": 64, "head_width": 16, "heads": (4,) * 2, "mlp_widths": (150,) * 2})
    return replace(spec, text_params=spec.text_params * 2 // 3)  # as a row says what is left, most of it the token table


@pytest.fixture(scope="module")
def masked(full):
    state = drawn_state(flat(full.build(full)), (96, 3, 6, 200), (64, 2, 4, 150))
    state["_image_encoder.l0_module.heads_loga"][1] = -10.0  # nothing left but a bias
    state["_text_encoder.l0_module.intermediate_loga"][0] = -10.0
    return state


def assert_same(path, spec, wanted, tolerance=1e-5):
    pair = load_checkpoint(path, spec)
    images, ids = pictures(spec), token_ids(spec)
    for tower, inputs, rows in zip(TOWERS, (images, ids), wanted(images, ids), strict=True):
        assert rows.std(0).mean() > 1000 * tolerance, f"{tower}: these inputs prove nothing"
        with torch.no_grad():
            assert (build_tower(pair, spec, tower)(inputs) - rows).abs().max() < tolerance, tower
    return pair


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_masks_are_folded(wrapper, full, masked, tmp_path):
    state = {re.sub(r"^(_\w+\.)", rf"\1{wrapper}", key): value for key, value in masked.items()}
    torch.save({"state_dict": state}, tmp_path / "stage.pt")
    original = MaskedTinyCLIP(masked, 16)
    pair = assert_same(tmp_path / "stage.pt", full, lambda images, ids: embeddings(original, full, images, ids))
    left = int((mask(masked["_image_encoder.l0_module.hidden_loga"]) != 0).sum())
    assert 20 < left < 80
    assert pair.visual.conv1.weight.shape[0] == pair.visual.ln_post.weight.numel() == left
    heads = [int((mask(loga) != 0).sum()) for loga in masked["_image_encoder.l0_module.heads_loga"]]
    assert [block.attn.heads for block in pair.visual.transformer.resblocks] == heads
    assert heads[1] == 0
    assert pair.score_scale == pytest.approx(37.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_pruned_files_load_in_their_own_shape(dtype, full, tmp_path):
    """As published: layers of different shapes, parts gone, some tensors under the name of a property too, float16."""
    spec = pruned()
    pair = seeded_pair(spec, 0).to(dtype)
    state = flat(pair)
    twins = {key.replace("_image_encoder.", "image_encoder_without_ddp."): value for key, value in state.items()}
    state = {**state, **twins, "_image_encoder.visual.transformer.resblocks.2.mlp.c_fc.weight": torch.zeros(0, 90, dtype=dtype)}
    torch.save({"state_dict": state}, tmp_path / "pruned.pt")
    pair = pair.float()
    other_shape = MODELS[ROW].fitted(spec, lambda name: None)
    assert_same(tmp_path / "pruned.pt", other_shape, lambda images, ids: embeddings(pair, spec, images, ids))


def test_a_tensor_with_two_contents_is_refused(tmp_path):
    state = {"_image_encoder.visual.proj": torch.ones(3, 3), "image_encoder_without_ddp.visual.proj": torch.zeros(3, 3)}
    torch.save(state, tmp_path / "two.pt")
    with pytest.raises(InputError, match=r"'_image_encoder.visual.proj' is there twice"):
        load_checkpoint(tmp_path / "two.pt", MODELS[ROW])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("_text_encoder.l0_module.heads_loga"), "_text_encoder.l0_module lacks one of"),
        (lambda state: state.update({"_text_encoder.l0_module.hidden_loga": torch.zeros(63)}), "its gates are 63 on axis"),
        (lambda state: state.update({"_text_encoder.l0_module.heads_loga": torch.zeros(8)}), "gates of 1, 1 and 2 axes"),
        (lambda state: state.update({"_text_encoder.l0_module.mha_loga": torch.zeros(2)}), "l0_module.mha_loga' is not one of"),
        (
            lambda state: state.update({"_image_encoder.visual.proj": torch.zeros(90, 64)}),
            "'_image_encoder.visual.proj' is [90, 64]",
        ),
    ],
)
def test_gates_that_do_not_fit_are_refused(change, said, full, masked, tmp_path):
    state = dict(masked)
    change(state)
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        load_checkpoint(tmp_path / "bad.pt", full)
    assert str(tmp_path / "bad.pt") in str(caught.value)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("tinyclip-auto-vit-22m-32", "tinyclip-auto-vit-45m-32"),
        ("tinyclip-auto-vit-45m-32", "tinyclip-auto-vit-63m-32"),
        ("tinyclip-auto-vit-63m-32", "tinyclip-vit-61m-32"),
        ("tinyclip-vit-61m-32", "tinyclip-auto-vit-63m-32"),
        ("clip-vit-b-32", "clip-vit-b-16"),
        ("tinyclip-vit-40m-32", "tinyclip-vit-61m-32"),
        ("tinyclip-resnet-19m", "tinyclip-resnet-30m"),
    ],
)
def test_another_models_file_is_named(found, wanted, tmp_path):
    state = zeros_of(found)
    if "tinyclip" not in MODELS[found].layouts:
        state = {re.sub(r"^_\w+\.", "", key): value for key, value in state.items()}
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(InputError, match=rf"not a checkpoint of {wanted}: .*; it fits {found}$"):
        load_checkpoint(tmp_path / "other.pt", MODELS[wanted])


@pytest.mark.parametrize("name", AUTO)
def test_only_the_size_tells_pruned_models_apart(name, tmp_path):
    """A row takes files of any shape of its size, and the message says by how much another is off."""
    wrong = AUTO[AUTO.index(name) - 1]
    torch.save(zeros_of(wrong), tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"the image tower has \d+\.\d M parameters, expected \d+\.\d M"):
        load_checkpoint(tmp_path / "other.pt", MODELS[name])


def test_a_shape_that_no_memory_holds_is_refused(tmp_path):
    state = {**zeros_of(ROW), "_image_encoder.visual.conv1.weight": torch.zeros(()).expand(2**40, 3, 32, 32)}
    torch.save(state, tmp_path / "huge.pt")
    with pytest.raises(InputError, match="not a checkpoint of"):
        load_checkpoint(tmp_path / "huge.pt", MODELS[ROW])
