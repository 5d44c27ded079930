"""Integer and half programs on the official runtime, against the float layers they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converters.exactness.search import uniform
from converters.executorch.passes.editor import Editor, aten
from converters.executorch.quantization.embedding import store_tables
from converters.executorch.quantization.half import to_half
from converters.executorch.quantization.pairs import Range, dequantized, quantized
from converters.executorch.quantization.plan import carry_out
from converters.executorch.quantization.simulation import Simulation
from converters.executorch.quantization.units import find_units
from edgeclip.errors import BundleError
from edgeclip.reference.executorch_runtime import ExecuTorchRunner
from tests.converters.test_executorch_quantization import Net, exported

pytestmark = pytest.mark.slow


def run(program, path, samples):
    """The outputs of the official runtime, and what it was given to run."""
    from converters.executorch.lowering import lower
    from converters.executorch.xnnpack_partitioner import xnnpack_partitioner

    lowered = lower({"forward": (program, [xnnpack_partitioner()])})
    path.write_bytes(lowered.content)
    with ExecuTorchRunner(path) as runner:
        return runner.encode(np.concatenate([sample.numpy() for sample in samples])), lowered.delegations["forward"]


def close(ours, theirs):
    """The smallest cosine."""
    ours, theirs = (values.reshape(len(values), -1).astype(np.float64) for values in (ours, theirs))
    return float(((ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)).min())


@pytest.fixture(scope="module")
def case():
    module = Net()
    torch.manual_seed(1)
    samples = [torch.randn(1, 32, 8, 8) for _ in range(4)]
    with torch.no_grad():
        return module, samples, np.concatenate([module(sample).numpy() for sample in samples])


@pytest.mark.parametrize("form", ["w8a8", "w8", "w4"])
def test_the_runtime_computes_what_the_simulation_predicts(case, form, tmp_path):
    module, samples, originals = case
    editor = Editor(exported(module, samples[0]))
    units = find_units(editor)
    simulation = Simulation(editor, units, samples, originals)
    plan = uniform(units, (form, "w8", "fp32"))
    predicted = simulation.cosines(plan)
    carry_out(editor, plan, simulation.ranges if form == "w8a8" else {})
    outputs, delegation = run(editor.finish((samples[0],)), tmp_path / "net.pte", samples)
    assert delegation.delegates == {"XnnpackBackend": 1}
    assert close(outputs, originals) == pytest.approx(float(predicted.min()), abs=5e-4)


def test_half_runs_in_one_delegate(case, tmp_path):
    module, samples, originals = case
    editor = Editor(exported(module, samples[0]))
    to_half(editor)
    outputs, delegation = run(editor.finish((samples[0],)), tmp_path / "net.pte", samples)
    assert delegation.delegates == {"XnnpackBackend": 1}
    assert outputs.dtype == np.float32
    assert 0.9999 < close(outputs, originals) < 1


@pytest.mark.parametrize("form", ["w8", "w4"])
def test_the_kernel_decodes_a_table_as_torch_does(form, tmp_path):
    torch.manual_seed(0)
    table, ids = nn.Embedding(50, 64), torch.randint(0, 50, (1, 9), dtype=torch.int32)
    editor = Editor(exported(table, ids))
    store_tables(editor, form)
    program = editor.finish((ids,))
    outputs, _ = run(program, tmp_path / "table.pte", [ids])
    with torch.no_grad():
        np.testing.assert_array_equal(outputs, program.module()(ids).numpy())


def test_an_int8_slice_with_two_ranges_is_what_fails_to_load(tmp_path):
    """XNNPACK moves int8 values as they are: a slice with a range of its own makes a program that no runtime takes."""

    class Sliced(nn.Module):
        def forward(self, x):
            return x[:, :, 2:6] + 1.0

    sample = torch.randn(1, 4, 8, 8)
    for scale, loads in ((0.03, True), (0.05, False)):
        editor = Editor(exported(Sliced(), sample))
        cut = editor.calls(aten.slice.Tensor)[-1]
        source, reader = cut.args[0], next(iter(cut.users))
        with editor.before(cut):
            given = Range(0.03, 0)
            cut.replace_input_with(source, dequantized(editor, quantized(editor, source, given), given))
        with editor.after(cut):
            own = Range(scale, 0)
            reader.replace_input_with(cut, dequantized(editor, quantized(editor, cut, own), own))
        program = editor.finish((sample,))
        if loads:
            run(program, tmp_path / "slice.pte", [sample])
        else:
            with pytest.raises(BundleError, match="ExecuTorch cannot"):
                run(program, tmp_path / "slice.pte", [sample])
