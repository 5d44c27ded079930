"""Files that are not the checkpoint they should be: each is refused by name, and none of them runs code."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import random
import re
import subprocess
import sys
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from edgeclip.errors import InputError
from edgeclip.models import MODELS
from edgeclip.models.checkpoints import load_checkpoint, read_tensors
from edgeclip.models.weights import load_model
from tests.support import independent

TINY = MODELS["tinyclip-demo"]
MOBILE = MODELS["mobileclip-demo"]

LAYOUTS = {
    "apple": (MOBILE, lambda: independent.apple(MOBILE).state_dict()),
    "flat": (TINY, lambda: independent.open_clip_flat(TINY).state_dict()),
    "custom": (TINY, lambda: independent.open_clip_custom(TINY).state_dict()),
    "tinyclip": (TINY, lambda: independent.tinyclip_names(independent.open_clip_flat(TINY).state_dict())),
    "huggingface": (TINY, lambda: independent.huggingface(TINY).state_dict()),
}
VICTIMS = [
    ("apple", "image_encoder.model.head.proj"),
    ("apple", "image_encoder.model.conv_exp.se.expand.weight"),
    ("apple", "image_encoder.model.network.2.0.token_mixer.mixer.rbr_scale.bn.running_var"),
    ("apple", "text_encoder.positional_embedding.pos_embed.pos_embed"),
    ("apple", "image_encoder.model.network.7.1.layer_scale_2"),
    ("apple", "text_encoder.transformer.5.token_mixer.layer_scale"),
    ("flat", "visual.proj"),
    ("flat", "transformer.resblocks.1.attn.in_proj_weight"),
    ("flat", "logit_scale"),
    ("custom", "text.positional_embedding"),
    ("tinyclip", "_image_encoder.visual.conv1.weight"),
    ("tinyclip", "_text_encoder.token_embedding.weight"),
    ("huggingface", "vision_model.encoder.layers.2.self_attn.k_proj.weight"),
    ("huggingface", "text_model.encoder.layers.0.self_attn.v_proj.bias"),
    ("huggingface", "vision_model.embeddings.class_embedding"),
    ("huggingface", "visual_projection.weight"),
]


def zeros(shape, dtype=torch.float32):
    """Zeros that take the space of one in memory and in a file."""
    return torch.zeros((), dtype=dtype).expand(shape)


@functools.cache
def skeleton(layout):
    """Names, shapes and types of a good checkpoint."""
    with torch.device("meta"):
        state = LAYOUTS[layout][1]()
    return {key: zeros(value.shape, value.dtype) for key, value in state.items()}


def refusal(path, spec=TINY):
    """The message with which `path` is refused: one line that names the file."""
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, spec)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def refusal_of(content, path, spec=TINY):
    """As `refusal`, for what is written to `path` first: bytes, or an object for `torch.save`."""
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    return refusal(path, spec)


# One tensor is wrong


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_skeletons_are_good(layout, tmp_path):
    """The premise of the tests below: but for the one tensor they spoil, the file loads."""
    torch.save(skeleton(layout), tmp_path / "good.pt")
    load_checkpoint(tmp_path / "good.pt", LAYOUTS[layout][0])


@pytest.mark.parametrize(("layout", "victim"), VICTIMS)
def test_missing_tensor(layout, victim, tmp_path):
    state = {key: value for key, value in skeleton(layout).items() if key != victim}
    message = refusal_of(state, tmp_path / "bad.pt", LAYOUTS[layout][0])
    assert message.count(f"tensor {victim!r} is missing") == 1
    assert "more" not in message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_extra_tensor(layout, tmp_path):
    first = next(iter(skeleton(layout)))
    for extra in (f"{first}_2", "surplus"):
        message = refusal_of({**skeleton(layout), extra: torch.ones(3)}, tmp_path / "bad.pt", LAYOUTS[layout][0])
        assert f"tensor {extra!r} is not one of the model's" in message


SHAPES = {
    "longer": lambda good: [*good[:-1], good[-1] + 1] if good else [1],
    "of higher rank": lambda good: [2, *good],
    "of lower rank": lambda good: good[1:] if good else [3, 3],
}


@pytest.mark.parametrize(
    ("layout", "victim", "change"),
    [*((*row, "longer") for row in VICTIMS), *((*row, change) for row in VICTIMS[::4] for change in SHAPES)],
)
def test_misshaped_tensor(layout, victim, change, tmp_path):
    """The message tells the shape that the file should have had, in the file's own terms."""
    good = list(skeleton(layout)[victim].shape)
    bad = SHAPES[change](good)
    message = refusal_of({**skeleton(layout), victim: zeros(bad)}, tmp_path / "bad.pt", LAYOUTS[layout][0])
    assert f"tensor {victim!r} is {bad}, expected {good}" in message


@pytest.mark.parametrize(
    ("layout", "victim", "dtype"),
    [
        *((*row, torch.int64) for row in VICTIMS),
        *(("flat", "visual.proj", dtype) for dtype in (torch.bool, torch.uint8, torch.complex64)),
    ],
    ids=str,
)
def test_wrong_dtype(layout, victim, dtype, tmp_path):
    state = {**skeleton(layout), victim: zeros(skeleton(layout)[victim].shape, dtype)}
    message = refusal_of(state, tmp_path / "bad.pt", LAYOUTS[layout][0])
    assert f"tensor {victim!r} is {dtype}, expected torch.float32" in message


@pytest.mark.parametrize(
    ("layout", "victim", "value"),
    [
        *((*row, float("nan")) for row in VICTIMS),
        *(("flat", "visual.proj", value) for value in (float("inf"), -float("inf"))),
    ],
)
def test_values_that_are_not_finite(layout, victim, value, tmp_path):
    spoilt = torch.zeros(skeleton(layout)[victim].shape)
    spoilt.view(-1)[-1] = value
    message = refusal_of({**skeleton(layout), victim: spoilt}, tmp_path / "bad.pt", LAYOUTS[layout][0])
    assert f"tensor {victim!r} has values that are not finite in float32" in message


UNUSUAL = {
    "sparse": lambda shape: torch.zeros(shape).to_sparse(),
    "compressed": lambda shape: torch.zeros(shape).to_sparse_csr(),
    "meta": lambda shape: torch.zeros(shape, device="meta"),
    "nested": lambda shape: torch.nested.nested_tensor(list(torch.zeros(shape))),
    "quantized": lambda shape: torch.quantize_per_tensor(torch.zeros(shape), 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_tensors_that_hold_no_plain_numbers(kind, tmp_path):
    state = skeleton("flat")
    message = refusal_of({**state, "visual.proj": UNUSUAL[kind](state["visual.proj"].shape)}, tmp_path / "bad.pt")
    assert "'visual.proj'" in message


def test_a_tensor_given_twice(tmp_path):
    """Dropping `module.` must not make one tensor hide another."""
    state = {**skeleton("flat"), "module.visual.proj": zeros(skeleton("flat")["visual.proj"].shape)}
    assert "visual.proj'" in refusal_of(state, tmp_path / "bad.pt")


def test_many_problems_are_counted(tmp_path):
    state = {key: value for key, value in skeleton("flat").items() if not key.endswith("bias")}
    message = refusal_of(state, tmp_path / "bad.pt")
    biases = sum(key.endswith("bias") for key in skeleton("flat"))
    assert message.count("is missing") == 3
    assert f"and {biases - 3} more" in message


# Another model's checkpoint


def state_of(name):
    """A checkpoint of a model of the table, in OpenCLIP names."""
    with torch.device("meta"):
        state = MODELS[name].build(MODELS[name]).state_dict()
    return {key: zeros(value.shape, value.dtype) for key, value in state.items()}


@pytest.mark.parametrize(
    ("found", "wanted"), [(found, demo.name) for found in MODELS for demo in (MOBILE, TINY) if found != demo.name]
)
def test_checkpoint_of_another_model(found, wanted, tmp_path):
    message = refusal_of(state_of(found), tmp_path / "other.pt", MODELS[wanted])
    assert f"not a checkpoint of {wanted}" in message
    assert found in message.rpartition("; it fits ")[2].split(" or ")


@pytest.mark.parametrize(
    ("found", "wanted", "fitting"),
    [
        ("mobileclip-s1", "mobileclip-s2", "mobileclip-s1"),
        ("mobileclip-s2", "mobileclip2-s3", "mobileclip-s2 or mobileclip2-s2"),
        ("mobileclip2-s0", "mobileclip-s0", "mobileclip2-s0"),
        ("mobileclip2-b", "mobileclip2-l-14", "mobileclip-b or mobileclip-b-lt or mobileclip2-b"),
        ("mobileclip2-s4", "mobileclip2-s3", "mobileclip2-s4"),
    ],
)
def test_models_of_the_same_shapes_are_all_named(found, wanted, fitting, tmp_path):
    assert refusal_of(state_of(found), tmp_path / "other.pt", MODELS[wanted]).endswith(f"; it fits {fitting}")


def test_a_published_file_is_known_by_its_hash(tmp_path, monkeypatch):
    """Shapes cannot tell MobileCLIP-B from its longer trained twin."""
    path = tmp_path / "mobileclip_blt.pt"
    path.write_bytes(b"weights")
    monkeypatch.setattr("edgeclip.manifest.file_sha256", lambda _: MODELS["mobileclip-b-lt"].hub.sha256)
    with pytest.raises(InputError) as caught:
        load_model(MODELS["mobileclip-b"], str(path))
    assert str(caught.value) == (
        f"{path}: is mobileclip_blt.pt of apple/MobileCLIP-B-LT, the weights of mobileclip-b-lt, not mobileclip-b"
    )


@pytest.mark.parametrize("layout", ["apple", "flat", "tinyclip", "huggingface"])
def test_layout_that_the_model_is_not_published_in(layout, tmp_path):
    right = LAYOUTS[layout][0]
    wrong = MOBILE if right is TINY else TINY
    message = refusal_of(skeleton(layout), tmp_path / "other.pt", wrong)
    assert f"layout, which {wrong.name} is not published in" in message
    assert message.endswith(f"; it fits {right.name}")


def test_unknown_layout(tmp_path):
    message = refusal_of({"backbone.weight": torch.ones(3)}, tmp_path / "resnet.pt")
    assert "'backbone.weight'" in message
    assert "OpenCLIP" in message
    assert "it fits" not in message


# No checkpoint at all


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


NO_CHECKPOINTS = {
    "text": b"Download the weights from the releases page.\n",
    "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 215894016\n",
    "web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "json": b'{"error": "Repository not found"}',
    "png": png(),
    "empty": b"",
    "one byte": b"\x80",
    "zip": zipped(readme="hello"),
    "random": random.Random(0).randbytes(5000),
    "more random": random.Random(1).randbytes(5000),
    "zeros": bytes(5000),
    "plain pickle": pickle.dumps({"weights": [1.0, 2.0]}, protocol=2),
}


@pytest.mark.parametrize("kind", NO_CHECKPOINTS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_no_checkpoint(kind, suffix, tmp_path):
    """Whatever it is called, it is told for what it is: nothing in it wants to run code."""
    message = refusal_of(NO_CHECKPOINTS[kind], tmp_path / f"weights{suffix}")
    assert "not a checkpoint" in message or "truncated" in message
    assert "run code" not in message


@pytest.mark.parametrize(
    "content", [None, {}, {"epoch": 3}, [torch.ones(2)], torch.ones(2), {"state_dict": {"lr": 0.1}}], ids=str
)
def test_no_tensors(content, tmp_path):
    assert "holds no tensors" in refusal_of(content, tmp_path / "weights.pt")


def test_folder(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_missing_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "weights.pt")


def test_torchscript(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "scripted.pt")
    assert "TorchScript" in refusal(tmp_path / "scripted.pt")


@pytest.mark.slow
def test_a_checkpoint_inside_itself(tmp_path):
    """A dict that is its own `state_dict` must not be unwrapped for ever."""
    endless = {}
    endless["state_dict"] = endless
    torch.save(endless, tmp_path / "endless.pt")
    code = "import sys, pathlib; from edgeclip.models.checkpoints import read_tensors; read_tensors(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "endless.pt"], capture_output=True, text=True, timeout=30)
    assert "InputError" in done.stderr


# Truncated and damaged files

TENSORS = {
    "visual.proj": torch.arange(600.0).reshape(20, 30),
    "logit_scale": torch.tensor(4.6),
    "half": torch.ones(33).half(),
    "count": torch.tensor(7),
}


def saved(**options):
    buffer = io.BytesIO()
    torch.save({"state_dict": TENSORS, "epoch": 3}, buffer, **options)
    return buffer.getvalue()


def safetensors(header, data=b""):
    content = json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content + data


GOOD = {
    "weights.pt": saved(),
    "legacy.pt": saved(_use_new_zipfile_serialization=False),
    "weights.safetensors": save(TENSORS),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_files_read_back(name, tmp_path):
    (tmp_path / name).write_bytes(GOOD[name])
    read = read_tensors(tmp_path / name)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[key], value) and read[key].dtype == value.dtype for key, value in TENSORS.items())


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("name", GOOD)
def test_truncated(name, share, tmp_path):
    kept = min(int(len(GOOD[name]) * share), len(GOOD[name]) - 1)
    assert "truncated" in refusal_of(GOOD[name][:kept], tmp_path / name)


F32 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
DAMAGED_SAFETENSORS = {
    "header of 2**60 bytes": (2**60).to_bytes(8, "little") + b'{"a":1}',
    "header of 2**64 - 1 bytes": b"\xff" * 8 + b"{}",
    "header that is no object": (2).to_bytes(8, "little") + b"[]",
    "header that is no JSON": (8).to_bytes(8, "little") + b"{{{{{{{{",
    "header that is no UTF-8": (4).to_bytes(8, "little") + b'{"\xff"',
    "brace damaged": save(TENSORS)[:8] + b"\x00" + save(TENSORS)[9:],
    "trailing bytes": save(TENSORS) + b"\x00",
    "unknown type": safetensors({"a": {**F32, "dtype": "F31"}}, bytes(16)),
    "type torch has not": safetensors({"a": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}, bytes(3)),
    "offsets past the end": safetensors({"a": {**F32, "data_offsets": [0, 2**40]}}, bytes(16)),
    "offsets that overlap": safetensors({"a": F32, "b": F32}, bytes(16)),
    "shape past its bytes": safetensors({"a": {**F32, "shape": [5]}}, bytes(16)),
    "shape that overflows": safetensors({"a": {**F32, "shape": [2**40, 2**40]}}, bytes(16)),
    "negative shape": safetensors({"a": {**F32, "shape": [-4]}}, bytes(16)),
}


@pytest.mark.parametrize("kind", DAMAGED_SAFETENSORS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_safetensors(kind, suffix, tmp_path):
    message = refusal_of(DAMAGED_SAFETENSORS[kind], tmp_path / f"weights{suffix}")
    assert "safetensors" in message.removeprefix(str(tmp_path)) or "not a checkpoint" in message


def with_storage_key_changed(legacy):
    """The list of storages at the end of a legacy file names one that no tensor has."""
    *_, last = re.finditer(rb"\d{8,}", legacy)
    return legacy[: last.start()] + b"1" * len(last[0]) + legacy[last.end() :]


def with_disk_count_changed(archive):
    """A zip archive that claims to be one of several volumes: the last field of the zip64 locator."""
    locator = archive.rindex(b"PK\x06\x07")
    return archive[: locator + 16] + (2).to_bytes(4, "little") + archive[locator + 20 :]


DAMAGED_PICKLES = {
    "string length cut": b"\x80\x02}q\x00X\x05",
    "storage that does not exist": with_storage_key_changed(GOOD["legacy.pt"]),
    "archive of many volumes": with_disk_count_changed(GOOD["weights.pt"]),
    "archive without a pickle": zipped(**{"archive/version": "3\n", "archive/data/0": "x"}),
}


@pytest.mark.parametrize("kind", DAMAGED_PICKLES)
def test_damaged_pickle(kind, tmp_path):
    assert "not a checkpoint" in refusal_of(DAMAGED_PICKLES[kind], tmp_path / "weights.pt")


@st.composite
def mutations(draw, content):
    """`content` with a few bytes changed, perhaps some inserted, perhaps cut."""
    data = bytearray(content)
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data[at:at] = draw(st.binary(min_size=1, max_size=9))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD)
def test_any_damage_is_tensors_or_a_refusal(name, tmp_path):
    path = tmp_path / name

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(mutations(GOOD[name]))
    def check(content):
        path.write_bytes(content)
        try:
            tensors = read_tensors(path)
        except InputError:
            return
        assert tensors
        assert all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in tensors.items())

    check()


# Pickles that want to run code


class Evil:
    """Unpickling one of these calls a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}], ids=["zip", "legacy", "protocol 4"]
)
@pytest.mark.parametrize("place", ["alone", "beside the weights", "as a tensor"])
def test_code_is_refused(place, options, tmp_path):
    marker = tmp_path / "ran"
    evil = Evil(os.system, f"touch '{marker}'")
    content = {"alone": evil, "beside the weights": {**TENSORS, "args": evil}, "as a tensor": {**TENSORS, "logit_scale": evil}}
    torch.save(content[place], tmp_path / "evil.pt", **options)
    message = refusal(tmp_path / "evil.pt")
    assert not marker.exists()
    if "pickle_protocol" not in options:  # torch reads protocol 2 only, and stops at the first unknown instruction
        assert "run code" in message
        assert f"{os.system.__module__}.system" in message


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bare_pickle_does_not_run(protocol, tmp_path):
    marker = tmp_path / "ran"
    refusal_of(pickle.dumps(Evil(exec, f"open({str(marker)!r}, 'w')"), protocol), tmp_path / "evil.bin")
    assert not marker.exists()


def test_a_whole_module_is_refused_by_its_class(tmp_path):
    assert "Linear" in refusal_of(torch.nn.Linear(2, 2), tmp_path / "module.pt")
