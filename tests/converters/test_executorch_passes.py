"""Each graph pass against the module it rewrites, alone and together, on small live modules and on whole towers."""

from __future__ import annotations

import copy
from collections import Counter
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converters.executorch.passes import PASSES, apply_passes, chosen
from converters.executorch.passes.editor import Editor, aten
from converters.executorch.passes.gelu import LARGEST_ERROR
from edgeclip.errors import UsageError
from edgeclip.models import MODELS
from edgeclip.models.pair import EncoderPair
from edgeclip.models.torchvision_shim import declare_torchvision_ops
from edgeclip.models.towers import build_tower, example_input, prepare_for_export
from edgeclip.models.weights import load_model
from edgeclip.models.written_out import TanhGelu
from edgeclip.recipe import TargetOptions
from edgeclip.target import resolved
from tests.support.live import pictures, token_ids

PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])


class Norms(nn.Module):
    """Pre-norm perceptrons on a residual stream, behind a norm of its own: the skeleton of a transformer."""

    def __init__(self, width=24, blocks=3):
        super().__init__()
        self.first = nn.LayerNorm(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(blocks))
        self.last = nn.LayerNorm(width)
        self.head = nn.Linear(width, 7)

    def forward(self, x):
        x = self.first(x)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            x = x + down(F.gelu(up(norm(x))))
        return self.head(self.last(x)[:, 0])


class Attends(nn.Module):
    """Self-attention as torch, timm and open_clip write it."""

    def __init__(self, spelling, mask=False, width=24, heads=4):
        super().__init__()
        self.spelling, self.heads, self.width = spelling, heads, width
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.register_buffer("mask", torch.full((9, 9), -1e4).triu(1) if mask else None)

    def forward(self, x):
        batch, length, width = x.shape
        size = width // self.heads
        if self.spelling == "packed, unbound":
            q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, size).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.spelling == "packed, chunked":
            q, k, v = (p.reshape(batch, length, self.heads, size).transpose(1, 2) for p in self.qkv(x).chunk(3, dim=-1))
        elif self.spelling == "packed, sequence first":
            parts = self.qkv(x.transpose(0, 1)).unflatten(-1, (3, width)).unsqueeze(0).transpose(0, -2).squeeze(-2)
            q, k, v = (p.view(length, self.heads, size).transpose(0, 1)[None] for p in parts.contiguous())
        elif self.spelling == "interleaved":  # the parts of a head side by side
            q, k, v = self.qkv(x).reshape(batch, length, self.heads, 3, size).permute(3, 0, 2, 1, 4).unbind(0)
        elif self.spelling == "separate":
            q, k, v = (p(x).view(batch, length, self.heads, size).transpose(1, 2) for p in (self.q, self.k, self.v))
        else:  # no layer in front
            q = k = v = x.view(batch, length, self.heads, size).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        return self.proj(out.transpose(1, 2).reshape(batch, length, width))


class EndToken(nn.Module):
    """A text tower of one block, whose embedding is that of the end token."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 24)
        self.attends, self.norm = Attends("separate", mask=True), nn.LayerNorm(24)
        self.up, self.down, self.head = nn.Linear(24, 48), nn.Linear(48, 24), nn.Linear(24, 5)

    def forward(self, ids):
        x = self.table(ids)
        x = x + self.attends(self.norm(x))
        x = x + self.down(F.gelu(self.up(x)))
        return self.head(x[torch.arange(1), ids.argmax(-1)])


class Multiplied(nn.Module):
    """FastViT's stride: depthwise with two outputs a channel, squeeze-and-excite, GELU, another depthwise, dense."""

    def __init__(self):
        super().__init__()
        self.first, self.squeeze = nn.Conv2d(6, 12, 3, 2, 1, groups=6), nn.Conv2d(12, 4, 1)
        self.excite, self.second = nn.Conv2d(4, 12, 1), nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.dense = nn.Conv2d(12, 5, 1)

    def forward(self, x):
        x = self.first(x)
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.dense(self.second(F.gelu(x)))


class Scaled(nn.Module):
    """A layer scale on a map, and one behind a linear layer whose tokens become a map."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(6, 6, 1), nn.Linear(6, 6)
        self.one, self.two = nn.Parameter(torch.ones(6, 1, 1)), nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x):
        x = x + self.conv(x) * self.one
        return x + self.linear(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape) * self.two


class Lambda(nn.Module):
    """A function with layers."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.function(self, x)


class Normalised(nn.Module):
    """(x - mean) / std and a convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, 4)
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.25]).reshape(1, 3, 1, 1))

    def forward(self, x):
        return self.conv((x - self.mean) / self.std)


def depthwise(kernel, stride=1):
    height, width = kernel
    return nn.Conv2d(6, 6, kernel, stride, (height // 2, width // 2), groups=6)


def ids():
    given = torch.zeros(1, 9, dtype=torch.int32)
    given[0, :6] = torch.tensor([48, 3, 7, 7, 20, 49])
    return given


def normalising():
    return Lambda(lambda m, x: F.normalize(m.fc(x), dim=-1), fc=nn.Linear(8, 5))


def idle():
    return Lambda(lambda m, x: m.fc(F.dropout(x, 0.1, False).contiguous()[:, :]), fc=nn.Linear(8, 5))


def adding_constants():
    return Lambda(lambda m, x: x + m.fc.weight[None, :2].expand(1, 2, 8), fc=nn.Linear(8, 5))


def perceptron():
    return Lambda(lambda m, x: m.act(m.fc(m.act(x))), fc=nn.Linear(8, 5), act=TanhGelu())


def multiplying():
    return Lambda(lambda m, x: x @ m.fc.weight, fc=nn.Linear(5, 8))


def pooling():
    return Lambda(lambda m, x: F.adaptive_avg_pool2d(m.conv(x), 1), conv=nn.Conv2d(3, 4, 1))


def adding_parts():
    return Lambda(lambda m, x: x + m.fc.weight.chunk(2)[1].sum(0), fc=nn.Linear(8, 4))


def windows():
    return Lambda(lambda m, x: F.avg_pool2d(F.avg_pool2d(m.conv(x), 2), 1), conv=nn.Conv2d(3, 4, 1))


def averaging_tokens():
    return Lambda(lambda m, x: m.fc(m.conv(x).flatten(2).permute(2, 0, 1).mean(0)), conv=nn.Conv2d(3, 4, 1), fc=nn.Linear(4, 9))


def pooling_by_attention():
    declare_torchvision_ops()
    from open_clip.modified_resnet import AttentionPool2d

    return AttentionPool2d(3, 24, 4, 7)


SPELLINGS = ("packed, unbound", "packed, chunked", "packed, sequence first", "interleaved", "separate", "none")
ATTENDING = partial(Attends, mask=False), partial(Attends, mask=True)
SDPA = "scaled_dot_product_attention"
FOLDED = ("no-ops", "norm-affine")

# pass, module, input shape, places, operations that are gone, and the passes it builds on
CASES = [
    ("unit-length", normalising, (1, 8), 1, ["linalg_vector_norm"], ()),
    ("no-ops", idle, (1, 8), 2, ["dropout"], ()),
    ("gelu-tanh", perceptron, (1, 8), 2, ["tanh", "pow"], ()),
    ("constants", adding_constants, (1, 2, 8), 3, ["slice"], ()),
    ("constants", adding_parts, (1, 8), 2, ["chunk", "sum"], ()),
    ("matmul", multiplying, (1, 8), 1, ["matmul"], ()),
    ("input-normalisation", Normalised, (1, 3, 16, 16), 2, ["sub", "div"], ()),
    ("pooling", pooling, (1, 3, 6, 6), 1, ["adaptive_avg_pool2d"], ()),
    ("pooling", windows, (1, 3, 6, 6), 2, [], ()),
    ("token-mean", averaging_tokens, (1, 3, 6, 5), 1, ["flatten"], ()),
    ("token-mean", pooling_by_attention, (1, 24, 3, 3), 1, [], ()),
    ("attention", pooling_by_attention, (1, 24, 3, 3), 1, [SDPA], ("no-ops", "constants", "token-mean")),
    ("token-pick", pooling_by_attention, (1, 24, 3, 3), 1, ["select"], ("no-ops", "constants", "attention")),
    *(
        ("attention", partial(build, spelling), (1, 9, 24), 1, [SDPA], ("no-ops", "constants"))
        for spelling in SPELLINGS
        for build in ATTENDING
    ),
    ("layer-scale", Scaled, (1, 6, 4, 4), 2, ["mul"], ("no-ops",)),
    ("norm-affine", Norms, (1, 9, 24), 4, [], ("no-ops",)),
    ("centred-stream", Norms, (1, 9, 24), 4, [], FOLDED),
    ("layer-norm", Norms, (1, 9, 24), 5, ["layer_norm"], ()),
    ("layer-norm", Norms, (1, 9, 24), 1, ["layer_norm"], (*FOLDED, "centred-stream")),
    ("token-pick", Norms, (1, 9, 24), 1, ["select"], ("no-ops", "layer-norm")),
    ("token-pick", EndToken, None, 1, ["index"], ("no-ops", "constants", "attention", "layer-norm")),
    ("channel-multiplier", Multiplied, (1, 6, 9, 9), 1, [], ("no-ops",)),
    *(
        ("large-depthwise", partial(depthwise, kernel, stride), (1, 6, 17, 14), 1, [], ())
        for kernel in ((7, 7), (9, 9), (11, 11))
        for stride in (1, 2)
    ),
]


@torch.no_grad()
def live(module, dtype):
    generator = torch.Generator().manual_seed(0)
    for name, value in module.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        value.copy_(noise / value[0].numel() ** 0.5 if value.dim() > 1 else 0.3 * noise + ("weight" in name))
    return module.to(dtype).eval().requires_grad_(False)


def given(shape, dtype):
    return (
        ids()
        if shape is None
        else torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    )


def edited(module, example, names):
    """The editor after these passes, and what each of them changed. module: one, or a program of it."""
    with torch.no_grad():
        program = torch.export.export(module, (example,), strict=False) if isinstance(module, nn.Module) else module
        editor = Editor(program)
        counts = {step.name: step.run(editor) for step in PASSES if step.name in names}
    editor.graph.lint()
    editor.module.recompile()
    return editor, counts


def operations(editor):
    return Counter(
        str(node.target).split(".")[1]
        for node in editor.graph.nodes
        if node.op == "call_function" and "aten" in str(node.target)
    )


def assert_close(got, wanted, tolerance):
    assert got.shape == wanted.shape
    assert wanted.std() > 0.02, "this input proves nothing"
    assert (got - wanted).abs().max() <= tolerance * max(1.0, float(wanted.abs().max()))


def case_name(case):
    return f"{case[0]}-{case[2]}"


@PRECISIONS
@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_a_pass_is_exact_and_does_its_work(case, dtype, tolerance):
    name, build, shape, places, gone, before = case
    module, example = live(build(), dtype), given(shape, dtype)
    editor, counts = edited(module, example, (*before, name))
    assert counts[name] == places
    assert not set(gone) & set(operations(editor))
    with torch.no_grad():
        assert_close(editor.module(example), module(example), tolerance)


def test_every_exact_pass_has_a_case():
    assert {case[0] for case in CASES} == {step.name for step in chosen()}


@PRECISIONS
def test_all_that_a_pick_commutes_with_is_computed_for_one_token(dtype, tolerance):
    module = live(EndToken(), dtype)
    editor, _ = edited(module, ids(), [step.name for step in chosen()])
    tokens = {tuple(node.meta["val"].shape)[1] for node in editor.calls(aten.gelu.default)}
    assert tokens == {1}
    keys, queries = sorted(tuple(node.meta["val"].shape) for node in editor.calls(aten.bmm.default))[-2:]
    assert queries[1] == keys[1] == 1
    for end in (1, 5, 8):
        moved = ids()
        moved[0, 5], moved[0, end] = 2, 49
        with torch.no_grad():
            assert_close(editor.module(moved), module(moved), tolerance)


def test_channels_that_are_read_by_place_are_left_alone():
    module = Lambda(lambda m, x: m.c(x)[:, :2], c=nn.Conv2d(3, 6, 3, padding=1, groups=3))
    _, counts = edited(live(module, torch.float32), given((1, 3, 6, 6), torch.float32), ("channel-multiplier",))
    assert counts == {"channel-multiplier": 0}


def test_a_stream_that_others_read_keeps_its_mean():
    class Read(Norms):
        def forward(self, x):
            x = self.first(x)
            for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
                x = x + down(F.gelu(up(norm(x))))
            return self.head(self.last(x)[:, 0]) + x.mean()

    module, example = live(Read(), torch.float64), given((1, 9, 24), torch.float64)
    editor, counts = edited(module, example, ("no-ops", "norm-affine", "centred-stream"))
    assert counts["centred-stream"] == 0
    with torch.no_grad():
        assert_close(editor.module(example), module(example), 1e-13)


def test_padding_keeps_the_mean_out_of_the_convolution():
    module = Normalised()
    module.conv = nn.Conv2d(3, 8, 3, 2, 1)
    module, example = live(module, torch.float64), given((1, 3, 16, 16), torch.float64)
    editor, counts = edited(module, example, ("input-normalisation",))
    assert counts == {"input-normalisation": 1}  # the division only
    with torch.no_grad():
        assert_close(editor.module(example), module(example), 1e-13)


def test_the_gelu_that_is_not_exact_is_applied_on_request_within_its_stated_error():
    assert "gelu-sigmoid" not in {step.name for step in chosen()}
    assert [step.name for step in chosen(["+gelu-sigmoid"])][-1] == "gelu-sigmoid"
    example = torch.linspace(-9, 9, 200_001)[None]
    module = Lambda(lambda m, x: F.gelu(x))
    editor, counts = edited(module, example, ("gelu-sigmoid",))
    assert counts == {"gelu-sigmoid": 1}
    error = float((editor.module(example) - module(example)).abs().max())
    assert 0.98 * LARGEST_ERROR < error < 1.01 * LARGEST_ERROR


def test_passes_are_switched_by_name():
    left = {step.name for step in chosen(["-attention", "-layer-norm"])}
    assert left == {step.name for step in chosen()} - {"attention", "layer-norm"}


def test_passes_that_do_not_exist_are_refused():
    from converters.executorch.target import TARGET

    with pytest.raises(UsageError, match=r"graph pass of executorch '-atention'.*-attention"):
        resolved(TARGET, TargetOptions("executorch", passes=("-atention",)), "tinyclip-demo", "", "image")
    recipe = resolved(TARGET, TargetOptions("executorch", passes=("-attention",)), "tinyclip-demo", "", "image")
    assert recipe.passes == ("-attention",)


TOWERS = [(model, tower) for model in ("mobileclip-demo", "tinyclip-demo") for tower in ("image", "text")]


@pytest.fixture(scope="module")
def towers():
    """Of both demo models: the prepared tower in float64, its program, inputs and their embeddings."""
    found = {}
    for model in ("mobileclip-demo", "tinyclip-demo"):
        spec = MODELS[model]
        pair: EncoderPair = load_model(spec, "demo").pair
        for tower, inputs in (("image", pictures(spec, 3).double()), ("text", token_ids(spec))):
            module = prepare_for_export(build_tower(pair, spec, tower)).double()
            example = example_input(spec, tower).to(inputs.dtype)
            with torch.no_grad():
                program = torch.export.export(module, (example,), strict=False)
                found[model, tower] = module, program, inputs, torch.cat([module(row[None]) for row in inputs])
    return found


@pytest.mark.parametrize(("model", "tower"), TOWERS)
@pytest.mark.parametrize("without", [None, *(step.name for step in chosen())])
def test_a_tower_keeps_its_embeddings_whatever_pass_is_left_out(towers, model, tower, without):
    _, program, inputs, wanted = towers[model, tower]
    editor, _ = edited(program, None, [step.name for step in chosen([f"-{without}"] if without else [])])
    with torch.no_grad():
        assert_close(torch.cat([editor.module(row[None]) for row in inputs]), wanted, 1e-10)


@pytest.mark.parametrize(("model", "tower"), TOWERS)
def test_a_tower_in_float32(towers, model, tower):
    exact, _, inputs, wanted = towers[model, tower]
    module, rows = copy.deepcopy(exact).float(), [row[None].float() if tower == "image" else row[None] for row in inputs]
    with torch.no_grad():
        rewritten, counts = apply_passes(torch.export.export(module, (rows[0],), strict=False), (rows[0],))
        before, after = (torch.cat([run(row) for row in rows]) for run in (module, rewritten.module()))
    assert (after - wanted).abs().max() <= max(1e-6, 1.5 * float((before - wanted).abs().max()))
    assert counts["unit-length"] == 1
