"""SigLIP's two published layouts, from open_clip's and Hugging Face's own models, at a reduced size."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeclip.data.sentence_piece import SentencePiece
from edgeclip.errors import InputError
from edgeclip.models import MODELS
from edgeclip.models.checkpoints import load_checkpoint
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import build_tower
from edgeclip.models.weights import load_model
from edgeclip.spec import TOWERS
from tests.support.live import between_input_cosines, make_live, normalised, pictures, silent_parameters
from tests.support.live import token_ids as stand_in_ids
from tests.support.siglip import TINY_SIGLIP, huggingface_siglip, open_clip_siglip

TOLERANCE = 1e-5


def token_ids(spec, rows=5):
    """Ids over the whole table, (rows, L), each row ending as a text does."""
    drawn = torch.randint(3, spec.tokenizer.vocab_size, (rows, spec.tokenizer.context_length), dtype=torch.int32)
    for row, ids in enumerate(drawn):
        ids[3 * row + 2 :] = spec.tokenizer.eot
    return drawn


@pytest.fixture(scope="module")
def ids():
    torch.manual_seed(0)
    return token_ids(TINY_SIGLIP)


def encoders(model):
    """(image, text) of either library's model, not normalised."""
    if hasattr(model, "vision_model"):
        return (
            lambda images: model.get_image_features(pixel_values=images).pooler_output,
            lambda ids: model.get_text_features(input_ids=ids.long()).pooler_output,
        )
    return model.encode_image, model.encode_text


def live(make, spec, ids):
    image, text = encoders(model := make(spec))
    images = normalised(spec, pictures(spec))
    model = make_live(model, lambda: (image(images), text(ids)))
    model.logit_scale.data.fill_(math.log(117.33))
    model.logit_bias.data.fill_(-12.93)
    return model


def assert_same_function(path, spec, model, ids):
    pair = load_checkpoint(path, spec)
    images = pictures(spec)
    inputs, given = (images, ids), (normalised(spec, images), ids)
    for tower, encode, own, theirs in zip(TOWERS, encoders(model), inputs, given, strict=True):
        with torch.no_grad():
            wanted = nn.functional.normalize(encode(theirs), dim=-1)
            got = build_tower(pair, spec, tower)(own)
        assert between_input_cosines(wanted).max() < 0.95, f"{tower}: these inputs prove nothing"
        assert (got - wanted).abs().max() < TOLERANCE, tower
    assert pair.score_scale == pytest.approx(117.33, rel=1e-5), "SigLIP's scale is not clamped"
    assert pair.score_bias == pytest.approx(-12.93, rel=1e-5)


@pytest.mark.parametrize("make", [open_clip_siglip, huggingface_siglip])
def test_either_layout(make, ids, tmp_path):
    model = live(make, TINY_SIGLIP, ids)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, tmp_path / "model.safetensors")
    assert_same_function(tmp_path / "model.safetensors", TINY_SIGLIP, model, ids)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.bin")
    assert_same_function(tmp_path / "model.bin", TINY_SIGLIP, model, ids)


@pytest.mark.parametrize("make", [open_clip_siglip, huggingface_siglip])
def test_every_parameter_shows(make, ids):
    """The premise of this file: if a tensor were mapped wrongly, the outputs would differ."""
    image, text = encoders(model := live(make, TINY_SIGLIP, ids))
    images = normalised(TINY_SIGLIP, pictures(TINY_SIGLIP))
    silent = silent_parameters(model, lambda: (image(images), text(ids)))
    assert [name for name in silent if not name.endswith("k_proj.bias")] == []  # a shift of all keys changes no softmax


def test_the_exact_gelu_of_open_clip_is_another_function(ids, tmp_path):
    """Which of the two the weights were trained with is not to be guessed: this is what a wrong guess costs."""
    model = live(open_clip_siglip, TINY_SIGLIP, ids)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    exact = open_clip_siglip(TINY_SIGLIP, act="gelu").eval()
    exact.load_state_dict(model.state_dict())
    with pytest.raises(AssertionError, match="image"):
        assert_same_function(tmp_path / "model.pt", TINY_SIGLIP, exact, ids)


def test_siglip_is_not_taken_for_clip(ids, tmp_path):
    """Both Hugging Face models have `vision_model.` and `text_model.`."""
    save_file(huggingface_siglip(TINY_SIGLIP).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"SiglipModel layout, which tinyclip-demo is not published in"):
        load_checkpoint(tmp_path / "model.safetensors", MODELS["tinyclip-demo"])


def test_clip_is_not_taken_for_siglip(tmp_path):
    from tests.support.independent import huggingface

    save_file(huggingface(MODELS["tinyclip-demo"]).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"CLIPModel layout, which siglip-base-patch16-256 is not published in"):
        load_checkpoint(tmp_path / "model.safetensors", MODELS["siglip-base-patch16-256"])


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("siglip-")])
def test_the_published_configurations(name):
    """Our rows build what open_clip's configuration of that name builds, and Hugging Face's of that size, but for the GELU."""
    import open_clip

    spec = MODELS[name]
    published = next(other for other in spec.other_names if "/" not in other)
    with torch.device("meta"):
        ours = spec.build(spec).state_dict()
        configuration = open_clip.get_model_config(published)
        assert configuration.pop("custom_text")
        theirs = open_clip.CustomTextCLIP(**configuration).state_dict()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.slow
def test_every_tensor_of_the_full_size_is_mapped(tmp_path):
    """Names and shapes of the base model as Hugging Face builds it, without its memory."""
    from edgeclip.models.checkpoints import _problems
    from edgeclip.models.layouts import LAYOUTS

    spec = MODELS["siglip-base-patch16-256"]
    with torch.device("meta"):
        pair, model = spec.build(spec), huggingface_siglip(spec)
    named = {key: torch.empty(value.shape, device="cpu", dtype=value.dtype) for key, value in model.state_dict().items()}
    assert _problems(named, LAYOUTS["huggingface-siglip"], pair.state_dict()) == []


# The vocabulary


def test_weights_in_a_file_need_their_vocabulary(ids, tmp_path):
    torch.save(open_clip_siglip(TINY_SIGLIP).state_dict(), tmp_path / "model.pt")
    spec = dataclasses.replace(TINY_SIGLIP, hub=MODELS["siglip-base-patch16-256"].hub)
    with pytest.raises(InputError, match=r"needs its vocabulary too: pass --tokenizer spiece\.model, which is at https?://"):
        load_model(spec, str(tmp_path / "model.pt"))
    stand_in = SentencePiece.stand_in(spec.tokenizer)
    (tmp_path / "elsewhere").mkdir()
    (given,) = stand_in.save(tmp_path / "elsewhere")
    loaded = load_model(spec, str(tmp_path / "model.pt"), tokenizer=given)
    assert loaded.tokenizer.spec.vocabulary == "file:spiece.model"
    stand_in.save(tmp_path)  # beside the weights, as in a folder cloned from the hub
    loaded = load_model(spec, str(tmp_path / "model.pt"))
    assert loaded.tokenizer.spec.vocabulary == "hub:google/siglip-base-patch16-256/spiece.model"


def test_seeded_weights_say_that_their_vocabulary_is_a_stand_in():
    loaded = load_model(TINY_SIGLIP, "seeded:0")
    assert loaded.tokenizer.spec.vocabulary == "stand-in"
    assert load_model(MODELS["tinyclip-demo"], "seeded:0").tokenizer.spec.vocabulary is None


def test_seeded_weights_are_live():
    """As `test_seeded` asks of the models of the table."""
    pair = seeded_pair(TINY_SIGLIP, 0)
    ids = stand_in_ids(TINY_SIGLIP)
    for tower, inputs in zip(TOWERS, (pictures(TINY_SIGLIP, 16, 3), ids), strict=True):
        with torch.no_grad():
            embeddings = build_tower(pair, TINY_SIGLIP, tower)(inputs)
        assert between_input_cosines(embeddings).mean() < 0.7, tower
    images = normalised(TINY_SIGLIP, pictures(TINY_SIGLIP))
    silent = silent_parameters(pair, lambda: (pair.encode_image(images), pair.encode_text(ids)))
    assert silent == []
