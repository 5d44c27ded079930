"""Deliberately wrong converters: each changes one thing, as real conversion scripts have got it wrong.

A fault is a context in which `edgeclip.pipeline.convert` makes a wrong bundle without noticing.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from converters.layout import kinds
from edgeclip.data.clip_bpe import VOCAB_FILE
from edgeclip.manifest import MANIFEST_FILE, file_sha256
from edgeclip.models import towers
from edgeclip.spec import Tower
from tests.verify.stored_faults import (
    doubled_on_the_way_back,
    large_half_left_out,
    of_the_layer_before,
    one_more,
    one_row_down,
    other_axis,
    ranges,
    rolled,
    shuffled,
    stored,
    swapped_halves,
    tables,
)

Patch = pytest.MonkeyPatch
Change = Callable[[nn.Module], nn.Module | None]  # in place, or a new module


@dataclass(frozen=True)
class Fault:
    """`during` patches a conversion, `after` changes the bundle it wrote; `tower` is where it must show.

    both: whether the other tower is converted too, to see that it does not show there.
    """

    name: str
    tower: Tower | None
    scheme: str
    during: Callable[[Patch], None] | None = None
    after: Callable[[Path], None] | None = None
    model: str = "tinyclip-demo"
    both: bool = False
    min_os: str | None = None
    layout: str | None = None


@contextmanager
def committed(fault: Fault) -> Iterator[None]:
    """The conversion goes wrong within."""
    with pytest.MonkeyPatch.context() as patch:
        if fault.during:
            fault.during(patch)
        # The rewrites would refuse what is put in front of a tower.
        patch.setattr(kinds, "HOLDING", kinds.HOLDING | {f"{_Before.__module__}.{_Before.__qualname__}"})
        # The pipeline runs each artifact once and would notice some faults; here verify has to.
        patch.setattr("edgeclip.pipeline._run_once", lambda *args: None)
        yield


def _on_module(change: Change, tower: str, fused: bool = True) -> Callable[[Patch], None]:
    """Change the module that is exported: after everything right has been done to it, or before it is fused."""

    def during(patch: Patch) -> None:
        prepare = towers.prepare_for_export

        def wrong(module: nn.Module) -> nn.Module:
            if tower != ("image" if isinstance(module, towers.ImageTower) else "text"):
                return prepare(module)
            changed = prepare(module) if fused else copy.deepcopy(module)
            with torch.no_grad():
                changed = change(changed) or changed
            return changed if fused else prepare(changed)

        patch.setattr(towers, "prepare_for_export", wrong)

    return during


class _Before(nn.Module):
    """Something is done to the input first."""

    def __init__(self, inner: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.change(x))


class _Unnormalised(nn.Module):
    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.tower.encoder((image - self.tower.mean) / self.tower.std)


def _each(kind: type[nn.Module], change: Callable[[nn.Module], None]) -> Callable[[nn.Module], None]:
    def apply(module: nn.Module) -> None:
        found = [child for child in module.modules() if isinstance(child, kind)]
        assert found, kind
        for child in found:
            change(child)

    return apply


def _tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[nn.Module], None]:
    """Overwrite the parameter or buffer whose name ends so."""

    def apply(module: nn.Module) -> None:
        found = [t for n, t in (*module.named_parameters(), *module.named_buffers()) if n.endswith(name)]
        assert found, name
        found[0].copy_(change(found[0].clone()))

    return apply


def _set(attribute: str, value: object) -> Callable[[nn.Module], None]:
    return lambda module: setattr(module, attribute, value)


def _computing(forward: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[nn.Module], None]:
    return lambda module: setattr(module, "forward", forward)


def _tanh_gelu(x: torch.Tensor) -> torch.Tensor:
    # Written out: coremltools 9.0 ignores `approximate` when it converts an ExportedProgram.
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(1.702 * x)


def _bgr(image: torch.Tensor) -> torch.Tensor:
    return torch.cat([image[:, 2:], image[:, 1:2], image[:, :1]], dim=1)


def _through_half(ids: torch.Tensor) -> torch.Tensor:
    """Integers above 2048 lose bits, and the end token would become one more than there are."""
    return torch.minimum(ids.half().int(), torch.tensor(49407, dtype=torch.int32))


def _end_token_off_by_one(patch: Patch) -> None:
    argmax = torch.Tensor.argmax
    patch.setattr(torch.Tensor, "argmax", lambda self, *args, **kwargs: argmax(self, *args, **kwargs) - 1)


def _pixel_buffer(**wrong: str | float) -> Callable[[Patch], None]:
    """Core ML is told something else about the picture it gets."""

    def during(patch: Patch) -> None:
        import coremltools as ct

        image_type = ct.ImageType
        patch.setattr(ct, "ImageType", lambda **kwargs: image_type(**{**kwargs, **wrong}))

    return during


def _other_weights(tower: str) -> Callable[[Patch], None]:
    """Towers of two versions of a model in one bundle."""

    def during(patch: Patch) -> None:
        from edgeclip.models import MODELS
        from edgeclip.models.seeded import seeded_pair

        export = towers.export_tower

        def wrong(pair: nn.Module, spec: object, one: str, *rest: object) -> object:
            return export(seeded_pair(MODELS["tinyclip-demo"], 1) if one == tower else pair, spec, one, *rest)

        patch.setattr(towers, "export_tower", wrong)

    return during


def _manifest(section: str, **changes: object) -> Callable[[Path], None]:
    def after(bundle: Path) -> None:
        path = bundle / MANIFEST_FILE
        content = json.loads(path.read_text())
        content[section].update(changes)
        path.write_text(json.dumps(content))

    return after


def _vocabulary(bundle: Path) -> None:
    """Two common words have each other's ids."""
    path = bundle / "tokenizer" / VOCAB_FILE
    vocab = json.loads(path.read_text("utf-8"))
    vocab["photo</w>"], vocab["dog</w>"] = vocab["dog</w>"], vocab["photo</w>"]
    path.write_text(json.dumps(vocab), "utf-8")
    manifest = msgspec.json.decode((bundle / MANIFEST_FILE).read_bytes())
    for entry in manifest["files"]:
        if entry["path"] == f"tokenizer/{VOCAB_FILE}":
            entry["sha256"], entry["size_bytes"] = file_sha256(path), path.stat().st_size
    (bundle / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest))


def _no_identity_branch(module: nn.Module) -> None:
    """RepMixer fused without its skip connection."""
    for name, child in module.named_modules():
        if name.endswith("token_mixer") and getattr(child, "reparam_conv", None) is not None:
            weight = child.reparam_conv.weight
            weight[..., weight.shape[-2] // 2, weight.shape[-1] // 2] -= 1.0
            return
    raise AssertionError("no fused RepMixer")


def _mobile(name: str, tower: Tower | None, scheme: str, during: Callable[[Patch], None] | None = None, **rest: Any) -> Fault:
    return Fault(name, tower, scheme, during, model="mobileclip-demo", **rest)


_AFFINE, _BLOCKWISE = "constexpr_affine_dequantize", "constexpr_blockwise_shift_scale"
_MASKED = "constexpr_sparse_to_dense"

FAULTS = (
    Fault("BGR for RGB in the graph", "image", "w8", _on_module(lambda m: _Before(m, _bgr), "image")),
    Fault("BGR pixel buffer", "image", "pal4", _pixel_buffer(color_layout="BGR")),
    Fault("pixels scaled by 1/256", "image", "w4", _pixel_buffer(scale=1 / 256)),
    Fault("std missing", "image", "pal6", _on_module(_tensor("std", torch.ones_like), "image")),
    Fault("mean missing", "image", "prune50", _on_module(_tensor("mean", torch.zeros_like), "image")),
    Fault("one mean for all channels", "image", "w8a8", _on_module(_tensor("mean", lambda m: m.mean().expand_as(m)), "image")),
    Fault("mean and std swapped", "image", "fp16", _on_module(_tensor("std", lambda s: s.flip(1)), "image")),
    Fault("tanh GELU in the image tower", "image", "pal4", _on_module(_each(nn.GELU, _computing(_tanh_gelu)), "image")),
    Fault("tanh GELU in the text tower", "text", "fp32", _on_module(_each(nn.GELU, _computing(_tanh_gelu)), "text")),
    Fault("QuickGELU", "text", "prune50-w8", _on_module(_each(nn.GELU, _computing(_quick_gelu)), "text")),
    Fault("layer norm eps 1e-3", "image", "w8", _on_module(_each(nn.LayerNorm, _set("eps", 1e-3)), "image")),
    Fault("layer norm eps 1e-3 in the text tower", "text", "w4", _on_module(_each(nn.LayerNorm, _set("eps", 1e-3)), "text")),
    Fault("L2 norm missing", "image", "pal4-lut8", _on_module(_Unnormalised, "image"), layout="plain"),
    Fault("causal mask missing", "text", "prune50", _on_module(_tensor("attn_mask", torch.zeros_like), "text")),
    Fault("end token pick one off", "text", "pal6", _end_token_off_by_one, layout="plain"),
    Fault("projection transposed", "image", "pal4", _on_module(_tensor("proj", lambda p: p.T.reshape(p.shape)), "image")),
    Fault("attention output transposed", "text", "w8a8", _on_module(_tensor("0.attn.out_proj.weight", lambda w: w.T), "text")),
    Fault("positions shifted by one", "text", "fp16",
        _on_module(_tensor("positional_embedding", lambda p: p.roll(1, 0)), "text")),
    Fault("patch positions transposed", "image", "pal4-lut8",
        _on_module(_tensor("positional_embedding", lambda p: p.flip(0)), "image")),
    Fault("ids through float16", "text", "w8", _on_module(lambda m: _Before(m, _through_half), "text")),
    Fault("ids through float16, out of the table", "text", "fp32",
        _on_module(lambda m: _Before(m, lambda i: i.half().int()), "text")),
    Fault("token table one row off", "text", "w8",
        _on_module(_tensor("token_embedding.weight", lambda t: t.roll(1, 0)), "text"), both=True),
    Fault("text tower of other weights", "text", "pal4", _other_weights("text"), both=True),
    Fault("image tower of other weights", "image", "prune50-w8", _other_weights("image")),
    Fault("resize squashed", "image", "fp32", after=_manifest("image", resize="squash", crop="none"), both=True),
    Fault("bilinear for bicubic", "image", "fp32", after=_manifest("image", interpolation="bilinear")),
    Fault("vocabulary off", "text", "fp16", after=_vocabulary, both=True),
    Fault("logit scale left as its logarithm", None, "fp16", after=_manifest("scoring", logit_scale=4.6052)),
    _mobile("batch norm eps 1e-3", "image", "fp32", _on_module(_each(nn.BatchNorm2d, _set("eps", 1e-3)), "image", fused=False)),
    _mobile("RepMixer fused without its skip", "image", "w4", _on_module(_no_identity_branch, "image")),
    _mobile("text RepMixer fused without its skip", "text", "pal4", _on_module(_no_identity_branch, "text")),
    _mobile("layer scale missing", "image", "prune50",
        _on_module(_tensor("layer_scale.gamma", torch.ones_like), "image"), layout="plain"),
    _mobile("squeeze-excite without its bias", "image", "w8a8", _on_module(_tensor("se.fc2.bias", torch.zeros_like), "image")),
    _mobile("padded with the end token", "text", "fp32", after=_manifest("text", pad=49407)),
    _mobile("OpenAI mean and std assumed", "image", "pal6",
        _on_module(lambda m: _Before(m, lambda x: (x - 0.45) / 0.27), "image")),
    # of compression itself
    Fault("table shuffled", "image", "pal6", tables(shuffled)),
    Fault("table of the layer before", "text", "pal4", tables(of_the_layer_before()), min_os="iOS18"),
    Fault("table of 8 bits, of the layer before", "image", "pal4-lut8", tables(of_the_layer_before())),
    Fault("token table palettized one row off", "text", "pal6", tables(one_row_down(49408))),
    Fault("halves of a byte swapped", "image", "w4", stored(_BLOCKWISE, "data", swapped_halves, "u1")),
    Fault("scales of blocks along the other axis", "text", "w4", stored(_BLOCKWISE, "scale", other_axis, "<f2")),
    Fault("scales of the channel before", "image", "w8", stored(_AFFINE, "scale", rolled, "<f2")),
    Fault("zero point one off", "text", "w8", stored(_AFFINE, "zero_point", one_more, "i1")),
    Fault("large half left out", "image", "prune50", large_half_left_out),
    Fault("kept weights one place off", "text", "prune50", stored(_MASKED, "nonzero_data", rolled, "<f2")),
    Fault("kept integers one place off", "text", "prune50-w8",
        stored("constexpr_sparse_blockwise_shift_scale", "nonzero_data", rolled, "i1")),
    Fault("activations' ranges a quarter", "image", "w8a8", ranges(1 / 4)),
    Fault("activations' ranges forty times as wide", "text", "w8a8", ranges(40)),
    Fault("activations doubled on the way back", "text", "w8a8", doubled_on_the_way_back),
)  # fmt: skip
