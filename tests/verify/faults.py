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

import msgspec
import pytest
import torch
from torch import nn

from edgeclip.data.tokenizer import VOCAB_FILE
from edgeclip.manifest import MANIFEST_FILE, file_sha256
from edgeclip.models import towers

Patch = pytest.MonkeyPatch
Change = Callable[[nn.Module], nn.Module | None]  # in place, or a new module


@dataclass(frozen=True)
class Fault:
    """`during` patches a conversion, `after` changes the bundle it wrote; `tower` is where it must show."""

    name: str
    tower: str | None
    during: Callable[[Patch], None] | None = None
    after: Callable[[Path], None] | None = None
    model: str = "tinyclip-demo"


@contextmanager
def committed(fault: Fault) -> Iterator[None]:
    """The conversion goes wrong within."""
    with pytest.MonkeyPatch.context() as patch:
        if fault.during:
            fault.during(patch)
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


def _other_weights(patch: Patch) -> None:
    """Towers of two versions of a model in one bundle."""
    from edgeclip.models import MODELS
    from edgeclip.models.seeded import seeded_pair

    export = towers.export_tower

    def wrong(pair: nn.Module, spec: object, tower: str, *rest: object) -> object:
        return export(seeded_pair(MODELS["tinyclip-demo"], 1) if tower == "text" else pair, spec, tower, *rest)

    patch.setattr(towers, "export_tower", wrong)


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


def _mobile(name: str, tower: str | None, during: Callable[[Patch], None] | None = None, **rest: object) -> Fault:
    return Fault(name, tower, during, model="mobileclip-demo", **rest)


FAULTS = (
    Fault("BGR for RGB in the graph", "image", _on_module(lambda m: _Before(m, _bgr), "image")),
    Fault("BGR pixel buffer", "image", _pixel_buffer(color_layout="BGR")),
    Fault("pixels scaled by 1/256", "image", _pixel_buffer(scale=1 / 256)),
    Fault("std missing", "image", _on_module(_tensor("std", torch.ones_like), "image")),
    Fault("mean missing", "image", _on_module(_tensor("mean", torch.zeros_like), "image")),
    Fault("one mean for all channels", "image", _on_module(_tensor("mean", lambda m: m.mean().expand_as(m)), "image")),
    Fault("mean and std swapped", "image", _on_module(_tensor("std", lambda s: s.flip(1)), "image")),
    Fault("tanh GELU in the image tower", "image", _on_module(_each(nn.GELU, _computing(_tanh_gelu)), "image")),
    Fault("tanh GELU in the text tower", "text", _on_module(_each(nn.GELU, _computing(_tanh_gelu)), "text")),
    Fault("QuickGELU", "text", _on_module(_each(nn.GELU, _computing(_quick_gelu)), "text")),
    Fault("layer norm eps 1e-3", "image", _on_module(_each(nn.LayerNorm, _set("eps", 1e-3)), "image")),
    Fault("layer norm eps 1e-3 in the text tower", "text", _on_module(_each(nn.LayerNorm, _set("eps", 1e-3)), "text")),
    Fault("L2 norm missing", "image", _on_module(_Unnormalised, "image")),
    Fault("causal mask missing", "text", _on_module(_tensor("attn_mask", torch.zeros_like), "text")),
    Fault("end token pick one off", "text", _end_token_off_by_one),
    Fault("projection transposed", "image", _on_module(_tensor("proj", lambda p: p.T.reshape(p.shape)), "image")),
    Fault("attention output transposed", "text", _on_module(_tensor("0.attn.out_proj.weight", lambda w: w.T), "text")),
    Fault("positions shifted by one", "text", _on_module(_tensor("positional_embedding", lambda p: p.roll(1, 0)), "text")),
    Fault("patch positions transposed", "image", _on_module(_tensor("positional_embedding", lambda p: p.flip(0)), "image")),
    Fault("ids through float16", "text", _on_module(lambda m: _Before(m, _through_half), "text")),
    Fault("ids through float16, out of the table", "text", _on_module(lambda m: _Before(m, lambda i: i.half().int()), "text")),
    Fault("token table one row off", "text", _on_module(_tensor("token_embedding.weight", lambda t: t.roll(1, 0)), "text")),
    Fault("text tower of other weights", "text", _other_weights),
    Fault("resize squashed", "image", after=_manifest("image", resize="squash", crop="none")),
    Fault("bilinear for bicubic", "image", after=_manifest("image", interpolation="bilinear")),
    Fault("vocabulary off", "text", after=_vocabulary),
    Fault("logit scale left as its logarithm", None, after=_manifest("scoring", logit_scale=4.6052)),
    _mobile("batch norm eps 1e-3", "image", _on_module(_each(nn.BatchNorm2d, _set("eps", 1e-3)), "image", fused=False)),
    _mobile("RepMixer fused without its skip", "image", _on_module(_no_identity_branch, "image")),
    _mobile("text RepMixer fused without its skip", "text", _on_module(_no_identity_branch, "text")),
    _mobile("layer scale missing", "image", _on_module(_tensor("layer_scale.gamma", torch.ones_like), "image")),
    _mobile("squeeze-excite without its bias", "image", _on_module(_tensor("se.fc2.bias", torch.zeros_like), "image")),
    _mobile("padded with the end token", "text", after=_manifest("text", pad=49407)),
    _mobile("OpenAI mean and std assumed", "image", _on_module(lambda m: _Before(m, lambda x: (x - 0.45) / 0.27), "image")),
)  # fmt: skip
