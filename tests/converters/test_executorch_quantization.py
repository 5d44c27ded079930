"""Roundings and choices of ExecuTorch's integer schemes, against plain NumPy and torch's own integer operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converters.exactness.search import refine, uniform
from converters.executorch.passes import apply_passes
from converters.executorch.passes.editor import Editor, aten
from converters.executorch.quantization.embedding import LIBRARY, store_tables
from converters.executorch.quantization.half import to_half
from converters.executorch.quantization.pairs import Range
from converters.executorch.quantization.plan import carry_out, integers, ranged, rounded_as_it_comes, stored
from converters.executorch.quantization.pointwise import to_linear
from converters.executorch.quantization.ranges import best_range, observed, range_of, rounded_to
from converters.executorch.quantization.simulation import Simulation
from converters.executorch.quantization.units import find_units


def exported(module, *example):
    return torch.export.export(module.eval(), example, strict=False)


class Net(nn.Module):
    """A depthwise convolution in three parts, a dense one, GELU, another, and a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = (nn.Conv2d(32, 32, 3, padding=1, groups=32) for _ in range(3))
        self.up, self.down = nn.Conv2d(32, 64, 1), nn.Conv2d(64, 32, 1)
        self.head = nn.Linear(32, 48)

    def forward(self, x):
        x = self.first(x) + self.second(x) + self.third(x)
        x = self.down(torch.nn.functional.gelu(self.up(x)))
        return self.head(x.mean((2, 3), keepdim=True).flatten(1))


@pytest.fixture
def net():
    torch.manual_seed(1)
    samples = [torch.randn(1, 32, 8, 8) for _ in range(5)]
    return Net(), samples


def units_of(module, samples):
    editor = Editor(exported(module, samples[0]))
    return editor, find_units(editor)


def test_weights_are_rounded_to_the_nearest_step_of_their_row():
    torch.manual_seed(0)
    weight = torch.randn(16, 64, 1, 1)
    found = stored(weight, "w8")
    steps = weight.numpy().reshape(16, -1) / (np.abs(weight.numpy().reshape(16, -1)).max(1, keepdims=True) / 127)
    np.testing.assert_array_equal(found.values.numpy().reshape(16, -1), np.round(steps))
    assert found.values.abs().max() == 127
    assert float((found.decoded() - weight).abs().max()) <= float(found.scales.max()) / 2 + 1e-7


def test_four_bits_have_a_scale_for_each_block_and_saturate_what_costs_little():
    torch.manual_seed(0)
    weight = torch.randn(8, 96)
    found = stored(weight, "w4")
    assert found.scales.shape == (8, 3)
    assert int(found.values.min()) >= -7
    assert int(found.values.max()) <= 7
    blocks = weight.reshape(-1, 32)
    plain = blocks.abs().amax(1, keepdim=True) / 7
    error = ((blocks / plain).round() * plain - blocks).square().sum()
    assert float((found.decoded() - weight).square().sum()) < float(error)


def test_a_row_of_zeros_stays_zero():
    for form in ("w8", "w4"):
        assert not stored(torch.zeros(4, 32), form).decoded().any()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.17, 6.0), (-3.0, 3.0), (0.0, 0.0), (-5.0, 0.0)])
def test_a_range_holds_zero_exactly(low, high):
    given = range_of(low, high)
    assert -128 <= given.zero_point <= 127
    assert float(rounded_to(torch.zeros(1), given)) == 0
    if high > low:
        assert float((rounded_to(torch.tensor([low, high]), given) - torch.tensor([low, high])).abs().max()) <= given.scale


def test_rounding_is_what_torch_does_to_an_int8_tensor():
    torch.manual_seed(0)
    values, given = torch.randn(1000) * 3, Range(0.0371, -11)
    theirs = torch.fake_quantize_per_tensor_affine(values, given.scale, given.zero_point, -128, 127)
    torch.testing.assert_close(rounded_to(values, given), theirs, rtol=0, atol=1e-6)


def test_a_few_large_values_saturate_where_that_leaves_finer_steps():
    torch.manual_seed(0)
    heavy = torch.distributions.Laplace(0.0, 1.0).sample((400_000,))
    whole, found = range_of(float(heavy.min()), float(heavy.max())), best_range([heavy])
    assert found.scale < 0.9 * whole.scale
    assert float((rounded_to(heavy, found) - heavy).square().sum()) < 0.9 * float(
        (rounded_to(heavy, whole) - heavy).square().sum()
    )
    even = torch.linspace(-1, 1, 4000)
    assert best_range([even]).scale == pytest.approx(2 / 255, rel=0.05)


def test_every_column_and_channel_is_seen():
    """Of a map with 64 columns and of 256 channels: even steps would see one column, or four channels."""
    for shape, axis in (((1, 64, 64, 64), 3), ((1, 256, 768), 2)):
        numbers = torch.arange(shape[axis], dtype=torch.float32)
        spread = numbers.reshape([-1 if at == axis else 1 for at in range(len(shape))]).expand(shape).contiguous()
        editor = Editor(exported(nn.ReLU(), spread))
        (node,) = editor.calls(aten.relu.default)
        (values,) = observed(editor, [node], [spread])[node]
        assert len(values.unique()) > 0.6 * shape[axis]


def test_next_to_nothing_in_a_row_makes_no_tiny_steps():
    """The bias is int32 in steps of the input's and the row's scale: 0.1 / (0.03 * step) has to stay below 2^31."""
    weight = torch.randn(4, 16)
    weight[2] = 1e-12
    scales = stored(weight, "w8a8").scales
    assert float(0.1 / (0.03 * scales).min()) < 2**31


def test_what_comes_is_rounded_by_row_or_by_picture():
    torch.manual_seed(0)
    rows = torch.randn(1, 7, 32) * torch.logspace(-2, 2, 7)[None, :, None]
    error = (rounded_as_it_comes(rows, is_conv=False) - rows).abs().amax(-1) / rows.abs().amax(-1)
    assert float(error.max()) < 1 / 127
    picture = rows.reshape(1, 7, 8, 4)
    assert float((rounded_as_it_comes(picture, is_conv=True)[0, 0] - picture[0, 0]).abs().max()) > 0.009


def test_units_are_layers_and_whole_depthwise_sums(net):
    _, units = units_of(*net)
    assert [unit.kind for unit in units] == ["depthwise", "conv", "conv", "linear"]
    assert len(units[0].nodes) == 5
    assert len(units[0].weights) == 3
    assert [unit.size_bytes("w8") for unit in units[1:]] == [64 * 32, 64 * 32, 48 * 32]


def test_gelu_is_int8_where_what_comes_and_goes_is(net):
    editor, units = units_of(*net)
    gelu = editor.calls(aten.gelu.default)[0]
    assert gelu in integers(editor, uniform(units, ("w8a8",))).static
    mixed = {unit: "w8" if unit.name == "down" else "w8a8" for unit in units}
    assert gelu not in integers(editor, mixed).static


@pytest.mark.parametrize("form", ["w8a8", "w8", "w4"])
def test_the_graph_with_pairs_computes_what_the_simulation_does(net, form):
    module, samples = net
    editor, units = units_of(module, samples)
    with torch.no_grad():
        originals = np.concatenate([module(sample).numpy() for sample in samples])
    simulation = Simulation(editor, units, samples, originals)
    plan = uniform(units, (form, "w8", "fp32"))
    predicted = simulation.cosines(plan)
    carry_out(editor, plan, simulation.ranges if form == "w8a8" else {})
    program = editor.finish((samples[0],)).module()
    with torch.no_grad():
        outputs = np.concatenate([program(sample).numpy() for sample in samples])
    real = (outputs * originals).sum(1) / np.linalg.norm(outputs, axis=1) / np.linalg.norm(originals, axis=1)
    assert 0.5 < real.min() < 0.9999999
    # the graph rounds half to even and sums in another order; its linear layers round by tensor, XNNPACK by row
    np.testing.assert_allclose(real, predicted, atol=2e-4 if form == "w8a8" else 2e-3)


def test_what_is_computed_again_is_what_a_whole_run_gives(net):
    module, samples = net
    editor, units = units_of(module, samples)
    with torch.no_grad():
        originals = np.concatenate([module(sample).numpy() for sample in samples])
    simulation = Simulation(editor, units, samples, originals)
    plan = dict.fromkeys(units[1:3], "w8a8")
    whole = simulation.cosines(plan)
    simulation.record(range(len(samples)))
    np.testing.assert_array_equal(simulation.cosines(plan), whole)


def test_the_unit_that_costs_most_gets_more_exact_first(net):
    module, samples = net
    with torch.no_grad():
        module.up.weight[0, :] *= 300  # one output far larger than the others: its range is coarse for them
        originals = np.concatenate([module(sample).numpy() for sample in samples])
    editor, units = units_of(module, samples)
    simulation = Simulation(editor, units, samples, originals)
    forms = ("w4", "w8", "fp32")
    start = uniform(units, forms)
    floor = 1 - (1 - simulation.cosines(start).min()) / 3
    found, cosine = refine(simulation, start, forms, floor)
    assert cosine == simulation.cosines(found).min()
    assert cosine >= floor > simulation.cosines(start).min()
    assert 1 <= sum(found[unit] != start[unit] for unit in units) < len(units)
    exact, _ = refine(simulation, start, forms, 1.1)
    assert set(exact.values()) == {"fp32"} or simulation.cosines(exact).min() > 1 - 1e-6


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8])
def test_no_unit_is_more_exact_than_the_floor_needs(net, part):
    module, samples = net
    with torch.no_grad():
        originals = np.concatenate([module(sample).numpy() for sample in samples])
    editor, units = units_of(module, samples)
    simulation = Simulation(editor, units, samples, originals)
    forms = ("w8a8", "w8", "fp32")
    start = uniform(units, forms)
    floor = 1 - (1 - simulation.cosines(start).min()) * part
    found, cosine = refine(simulation, start, forms, floor)
    assert cosine >= floor
    for unit, form in found.items():
        if form != start[unit]:
            before = unit.forms[unit.forms.index(form) - 1]
            assert simulation.cosines({**found, unit: before}).min() < floor


def test_every_result_that_becomes_int8_has_a_range(net):
    editor, units = units_of(*net)
    whole = integers(editor, uniform(units, ("w8a8",)))
    assert set(whole.static) <= set(ranged(editor, whole))


@pytest.mark.parametrize(("form", "most"), [("w8", 1 / 254), ("w4", 0.15)])
def test_a_table_in_integers_gives_its_rows(form, most):
    torch.manual_seed(0)
    table = nn.Embedding(50, 64)
    ids = torch.randint(0, 50, (1, 9), dtype=torch.int32)
    editor = Editor(exported(table, ids))
    assert store_tables(editor, form) == 1
    with torch.no_grad():
        rows, exact = editor.finish((ids,)).module()(ids), table(ids)
    assert float(((rows - exact).abs().amax(-1) / exact.abs().amax(-1)).max()) <= most + 1e-6
    assert Simulation(editor, (), [ids], rows.reshape(1, -1).double().numpy()).cosines({}) == pytest.approx([1], abs=1e-12)
    assert LIBRARY == "quantized_ops_lib"


def test_a_length_far_beyond_one_is_no_overflow_in_half():
    """The sum of squares is 500 times what float16 can hold."""

    class Unit(nn.Module):
        def forward(self, x):
            return torch.nn.functional.normalize(x, dim=-1)

    torch.manual_seed(0)
    long = 250 * torch.randn(1, 512).clamp(-1, 1)
    program, _ = apply_passes(exported(Unit(), long), (long,))
    editor = Editor(program)
    to_half(editor)
    editor.module.recompile()
    found = editor.module(long)
    assert float(long.square().sum()) > 200 * torch.finfo(torch.float16).max
    np.testing.assert_allclose(found.numpy(), Unit()(long).numpy(), rtol=0.01, atol=1e-4)


def test_no_norm_takes_the_root_of_a_number_that_arm_flushes():
    class Norms(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(32)

        def forward(self, x):
            return torch.nn.functional.normalize(self.norm(x), dim=-1)

    torch.manual_seed(0)
    rows = [torch.zeros(1, 32), 1e-3 * torch.randn(1, 32), torch.randn(1, 32), 60 * torch.randn(1, 32).clamp(-2, 2)]
    program, _ = apply_passes(exported(Norms(), rows[0]), (rows[0],))
    editor = Editor(program)
    to_half(editor)
    editor.module.recompile()
    for row in rows:
        seen = []

        class Roots(torch.fx.Interpreter):
            def call_function(self, target, args, kwargs):
                if target is aten.rsqrt.default:
                    seen.append(float(args[0].min()))  # noqa: B023
                return super().call_function(target, args, kwargs)

        found = Roots(editor.module).run(row)
        assert len(seen) == 2
        assert min(seen) >= torch.finfo(torch.float16).tiny
        np.testing.assert_allclose(found.numpy(), Norms()(row).detach().numpy(), atol=4e-3)


def test_half_is_half_throughout_and_ends_in_float(net):
    module, samples = net
    editor = Editor(exported(module, samples[0]))
    to_half(editor)
    program = editor.finish((samples[0],))
    assert {value.dtype for value in program.state_dict.values()} <= {torch.float16, torch.float32}
    assert not [node for node in program.graph.nodes if node.target is aten.gelu.default]
    with torch.no_grad():
        ours, exact = program.module()(samples[0]), module(samples[0])
    assert ours.dtype == torch.float32
    assert 0 < float((ours - exact).abs().max()) < 0.01


def test_a_part_that_sees_only_padding_has_a_range_that_xnnpack_takes():
    """Its factor from sums to int8 has to stay below 256, and that of a summand above 1/1024."""

    class Rings(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.near = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.far = nn.Conv2d(16, 16, (2, 1), padding=(3, 0), dilation=(6, 1), groups=16, bias=False)

        def forward(self, x):
            return self.near(x) + self.far(x)

    sample = torch.randn(1, 16, 2, 2)
    editor, units = units_of(Rings(), [sample])
    assert len(units) == 1
    ranges = Simulation(editor, units, [sample], np.ones((1, 64))).ranges
    total = editor.calls(aten.add.Tensor)[0]
    near, far = total.all_input_nodes
    source = near.args[0]
    scale = float(stored(editor.value(far.args[1]), "w8a8").scales.max())
    assert ranges[source].scale * scale / ranges[far].scale < 256
    assert 2**-10 <= ranges[far].scale / ranges[total].scale < 2**8


def test_a_bias_that_layers_share_is_stored_for_each(net):
    module, samples = net
    module.first.bias = module.second.bias
    editor, units = units_of(module, samples)
    simulation = Simulation(editor, units, samples, np.ones((len(samples), 48)))
    carry_out(editor, uniform(units, ("w8a8",)), simulation.ranges)
    biases = [node.args[2] for node in editor.calls(aten.conv2d.default)]
    assert len(set(biases)) == len(biases)


class Row(nn.Module):
    """Tokens as a map of one row, with pointwise convolutions over it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Conv2d(32, 32, (1, 3), padding=(0, 1), groups=32)
        self.up, self.down, self.last = nn.Conv2d(32, 64, 1), nn.Conv2d(64, 32, 1, bias=False), nn.Conv2d(32, 32, 1)

    def forward(self, x):
        x = self.mix(x.transpose(1, 2).unsqueeze(2))
        x = self.last(x + self.down(torch.nn.functional.gelu(self.up(x))))
        return x.squeeze(2).transpose(1, 2)


def test_pointwise_convolutions_over_tokens_become_linear_layers_with_int4_forms():
    module, tokens = Row(), torch.randn(1, 9, 32)
    editor = Editor(exported(module, tokens))
    assert to_linear(editor) == 3
    assert [(unit.name, unit.kind) for unit in find_units(editor)] == [
        ("mix", "depthwise"), ("up", "linear"), ("down", "linear"), ("last", "linear")
    ]  # fmt: skip
    assert len(editor.calls(aten.permute.default)) == 4  # none between the two that GELU joins
    editor.module.recompile()
    with torch.no_grad():
        np.testing.assert_allclose(editor.module(tokens).numpy(), module(tokens).numpy(), atol=1e-6)


def test_pointwise_convolutions_of_pictures_stay(net):
    module, samples = net
    assert to_linear(Editor(exported(module, samples[0]))) == 0
