"""What is read from a Core AI program's graph: no Core AI is needed for it."""

from __future__ import annotations

import json

import pytest

from converters.coreai.metadata import ours, read_metadata, stated_scheme, write_metadata
from converters.coreai.operations import _operation
from converters.coreai.program import Program
from edgeclip.errors import BundleError
from edgeclip.reference.coreai_graph import Function, Graph, Node, Value


def _graph(**functions):
    return Graph({name: Function(tuple(arguments), tuple(nodes)) for name, (arguments, nodes) in functions.items()})


IMAGE = Value(0, (1, 8, 4, 4), "f16")
KERNEL = (
    Node("constant", (), (Value(1, (16, 4, 3, 3), "si4"),), stored_bytes=288),
    Node("constant", (), (Value(2, (16, 1, 1, 1), "f16"),), stored_bytes=32),
    Node("constant", (), (Value(3, (2,), "ui32"),), stored_bytes=8),
    Node("blockwise_shift_scale", (1, 2), (Value(4, (16, 4, 3, 3), "f16"),)),
)
CONVOLUTION = (*KERNEL, Node("conv2d", (0, 4, 3), (Value(5, (1, 16, 2, 2), "f16"),)))


def test_a_convolution_costs_its_kernel_for_each_result():
    graph = _graph(main=([IMAGE], [*CONVOLUTION, Node("output", (5,), ())]))
    (step,) = Program(graph).steps()
    operation = _operation(step)
    assert (operation.name, operation.unit) == ("conv2d", "any")
    assert operation.macs == 16 * 2 * 2 * 4 * 3 * 3
    assert operation.weight_bytes == 288 + 32, "as stored; strides are no weights"
    assert operation.weight_values == 16 * 4 * 3 * 3
    assert operation.activation_bytes == 2 * (8 * 4 * 4 + 16 * 2 * 2)


def test_stored_weights_are_counted_once_and_settings_not():
    stored = list(Program(_graph(main=([IMAGE], [*CONVOLUTION, Node("output", (5,), ())]))).stored())
    assert [(value.dtype, value.elements, size) for value, size in stored] == [("si4", 576, 288), ("f16", 16, 32)]


def test_a_function_runs_where_it_is_called_and_constants_pass_through():
    product = Node("batch_matmul", (0, 1), (Value(2, (1, 5, 7), "f16"),))
    inner = ([Value(0, (1, 5, 6), "f16"), Value(1, (6, 7), "f16")], [product, Node("output", (2,), ())])
    call = (Value(2, (1, 5, 7), "f16"),)
    main = (
        [Value(0, (1, 5, 6), "f16")],
        [
            Node("constant", (), (Value(1, (6, 7), "f16"),), stored_bytes=84),
            Node("invoke", (0, 1), call, calls="product"),
            Node("invoke", (0, 1), (Value(3, (1, 5, 7), "f16"),), calls="product"),
            Node("output", (3,), ()),
        ],
    )
    steps = Program(_graph(main=main, product=inner)).steps()
    assert [step.name for step in steps] == ["batch_matmul", "batch_matmul"]
    assert [_operation(step).macs for step in steps] == [5 * 7 * 6] * 2
    assert [_operation(step).weight_bytes for step in steps] == [84, 84]


@pytest.mark.parametrize(
    ("calls", "says"),
    [("main", "no function 'main'"), ("nothing", "no function 'nothing'")],
    ids=["itself", "unknown"],
)
def test_a_function_that_calls_what_is_not_there_is_refused(calls, says):
    nodes = [Node("invoke", (0,), (Value(1, (1,), "f16"),), calls=calls), Node("output", (1,), ())]
    with pytest.raises(BundleError, match=says):
        Program(_graph(main=([Value(0, (1,), "f16")], nodes))).steps()


def test_metadata_are_steady_and_undated(tmp_path):
    (tmp_path / "metadata.json").write_text(json.dumps({"producer": "p", "creationDate": "20260101", "assetVersion": "2.0"}))
    write_metadata(tmp_path, {"author": "a", "licence": "l", "description": "d", "scheme": "w8", "tower": "image"})
    content = read_metadata(tmp_path)
    assert list(content) == sorted(content)
    assert (content["author"], content["license"], content["description"]) == ("a", "l", "d")
    assert "creationDate" not in content
    assert ours(tmp_path) == {"edgeclip.scheme": "w8", "edgeclip.tower": "image"}
    assert stated_scheme(tmp_path) == "w8"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"creatorDefinedMetadata": 3}', None])
def test_damaged_metadata_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(BundleError, match=r"metadata\.json"):
        stated_scheme(tmp_path)
