"""Operations of real files: small ones made here, by both targets, counted by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from converters.executorch import inspection
from edgeclip.errors import BundleError, NotRunnableError
from edgeclip.operations import Operation
from edgeclip.plugins import OPERATIONS
from profiles.estimates.delegate import INPUT, OUTPUT, Delegate
from profiles.estimates.kernels import Kernels
from profiles.estimates.probes import probes

ROWS, WIDTH, OUT = 8, 64, 32
MEASURED = {
    "call_us": 10.0,
    "links": [
        ["gemm fp32", [[8, 64, 32], [8, 32, 64]], 4.0, []],
        ["gemm fp32", [[512, 64, 32]], 200.0, []],
        ["broadcast fp32", [[512]], 1.0, []],
        ["mean fp32", [[8, 64, 1]], 1.5, [["broadcast fp32", [512]]]],
        ["copy fp32", [[512]], 0.5, []],
    ],
}


@pytest.fixture
def program(tmp_path):
    """fp32 -> int8 as it comes -> product with 4-bit weights -> softmax -> copy."""
    graph = Delegate()
    value = graph.value("fp32", (1, ROWS, WIDTH), flag=INPUT)
    rounded = graph.value("qdint8", (1, ROWS, WIDTH))
    filters, bias = graph.value("qbint4", (OUT, WIDTH), constant=True), graph.value("fp32", (OUT,), constant=True)
    product, likely = (graph.value("fp32", (1, ROWS, OUT)) for _ in range(2))
    result = graph.value("fp32", (1, ROWS, OUT), flag=OUTPUT)
    graph.node("Convert", input_id=value, output_id=rounded)
    graph.node("FullyConnected", input1_id=rounded, filter_id=filters, bias_id=bias, output_id=product)
    graph.node("Softmax", input_id=product, output_id=likely)
    graph.node("Copy", input_id=likely, output_id=result)
    path = tmp_path / "small.pte"
    path.write_bytes(graph.program())
    return path


@pytest.mark.slow
def test_a_delegate_is_listed_with_its_own_bytes(program):
    convert, product, softmax, copy = OPERATIONS["executorch"].load()(program, "forward")
    assert (convert.kernel, convert.sizes) == ("convert fp32-qdint8", (ROWS * WIDTH,))
    assert convert.activation_bytes == ROWS * WIDTH * (4 + 1)
    assert (product.kernel, product.sizes) == ("gemm qdint8-qbint4", (ROWS, WIDTH, OUT))
    assert product.macs == ROWS * WIDTH * OUT
    assert product.weight_bytes == OUT * WIDTH // 2 + 4 * OUT
    assert product.weight_values == OUT * WIDTH + OUT
    assert (softmax.kernel, softmax.sizes) == ("softmax fp32", (ROWS, OUT))
    assert (copy.name, copy.unit) == ("Copy", "xnnpack")


@pytest.mark.slow
def test_the_official_runtime_runs_what_is_timed(program):
    """A row of softmax adds up to 1: the program is what its author took it for."""
    import torch
    from executorch.extension.pybindings.portable_lib import _load_for_executorch

    (found,) = _load_for_executorch(str(program)).forward([torch.ones(1, ROWS, WIDTH)])
    assert torch.allclose(found.sum(-1), torch.ones(1, ROWS))


def test_a_damaged_program_is_an_error(tmp_path):
    path = tmp_path / "broken.pte"
    path.write_bytes(b"no program")
    with pytest.raises(BundleError, match=r"broken\.pte"):
        OPERATIONS["executorch"].load()(path, "forward")


@pytest.mark.parametrize("payload", [b"", b"XH00", struct.pack("<4x4sHII", b"XH00", 18, 18, 9), bytes(64)])
def test_a_damaged_delegate_is_an_error(payload):
    with pytest.raises(BundleError, match=r"x\.pte: damaged XNNPACK delegate"):
        inspection.xnnpack_graph(payload, Path("x.pte"))


def test_a_delegate_with_no_number_in_it_is_damaged(monkeypatch):
    """flatc writes `nan` as Python does not spell it."""

    def decompiled(folder, *rest):
        Path(folder, "graph.json").write_text('{"scale": nan}')

    monkeypatch.setattr("executorch.exir._serialize._flatbuffer._flatc_decompile", decompiled)
    with pytest.raises(BundleError, match="damaged XNNPACK delegate"):
        inspection.xnnpack_graph(struct.pack("<4x4sHII", b"XH00", 18, 18, 0), Path("x.pte"))


def test_a_package_that_is_none_is_an_error(tmp_path):
    with pytest.raises(BundleError):
        OPERATIONS["coreml"].load()(tmp_path / "none.mlpackage", "main")


@pytest.mark.slow
def test_a_package_is_listed_with_its_own_bytes(tmp_path):
    import coremltools as ct
    import numpy as np
    from coremltools.converters.mil import Builder

    weight = np.ones((OUT, WIDTH), np.float32)

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(ROWS, WIDTH))], opset_version=ct.target.iOS16)
    def made(x):
        return Builder.relu(x=Builder.linear(x=x, weight=weight))

    path = tmp_path / "small.mlpackage"
    ct.convert(made, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS16).save(str(path))
    found = OPERATIONS["coreml"].load()(path, "main")
    (product,) = [operation for operation in found if operation.name == "linear"]
    assert product.unit == "ne"
    assert product.macs == ROWS * WIDTH * OUT
    assert product.weight_values >= OUT * WIDTH
    assert 2 * OUT * WIDTH <= product.weight_bytes < 2 * OUT * WIDTH + 4 * OUT


def _operation(kernel, *sizes, unit="xnnpack"):
    return Operation("Any", unit, 0, 0, 0, 0, kernel, sizes)


def test_sizes_that_were_timed_are_found_again():
    kernels = Kernels(MEASURED)
    assert kernels.us(_operation("gemm fp32", 8, 64, 32)) == pytest.approx(4.0, rel=0.05)
    assert kernels.us(_operation("gemm fp32", 512, 64, 32)) == pytest.approx(200.0, rel=0.05)


def test_between_timed_sizes_time_grows_with_work():
    kernels = Kernels(MEASURED)
    times = [kernels.us(_operation("gemm fp32", rows, 64, 32)) for rows in (8, 16, 64, 256, 512, 4096)]
    assert times == sorted(set(times))


def test_nothing_takes_no_time():
    kernels = Kernels(MEASURED)
    assert kernels.us(_operation("gemm fp32", 1, 1, 1)) > 0
    assert kernels.us(_operation("copy fp32", 1)) > 0
    assert kernels.us(_operation("portable", 77, unit="portable")) > kernels.us(_operation("copy fp32", 77))


def test_what_is_beside_a_kernel_is_taken_off():
    assert Kernels(MEASURED).us(_operation("mean fp32", 8, 64, 1)) == pytest.approx(0.5)


@pytest.mark.parametrize("us", [0.0, -3.0])
def test_what_was_lost_in_noise_is_no_time(us):
    """A chain that seemed to take no longer than an idle program says nothing of its kernel."""
    noisy = Kernels({**MEASURED, "links": [*MEASURED["links"], ["copy fp32", [[64]], us, []]]})
    assert noisy.us(_operation("copy fp32", 64)) == Kernels(MEASURED).us(_operation("copy fp32", 64)) > 0


def test_an_unknown_kernel_is_an_error_and_not_0():
    with pytest.raises(NotRunnableError, match="conv fp16"):
        Kernels(MEASURED).us(_operation("conv fp16", 1, 1, 1))


def test_probes_are_distinct_and_name_their_sizes():
    found = [(probe.kernel, probe.sizes) for probe in probes()]
    assert len(found) == len(set(found)) > 200
