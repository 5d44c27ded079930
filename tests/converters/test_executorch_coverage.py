"""The share that delegates take: counted by hand, products as torch counts them, reasons as partitioners say them."""

from __future__ import annotations

import logging

import msgspec
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from converters.executorch.coverage import macs
from converters.executorch.watching import NO_RULE, listening, plain_name
from edgeclip.errors import CoverageError, UsageError
from edgeclip.manifest import Bundle
from edgeclip.pipeline import _check_coverage
from edgeclip.plugins import TARGETS
from edgeclip.recipe import MIN_DELEGATED, TargetOptions
from edgeclip.target import resolved


class Products(nn.Module):
    """Every kind of product that towers are made of."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 16, 5, padding=2, groups=4)
        self.linear = nn.Linear(16, 12)
        self.last = nn.Linear(12, 5, bias=False)

    def forward(self, picture):
        tokens = self.linear(self.grouped(self.dense(picture)).flatten(2).transpose(1, 2))
        heads = tokens.unflatten(2, (3, 4)).transpose(1, 2)
        attended = nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        return self.last(torch.bmm(attended, attended.transpose(1, 2)) @ attended)


def test_products_are_counted_as_torch_counts_them():
    module, example = Products().eval(), torch.zeros(1, 3, 16, 16)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(example)
    program = torch.export.export(module, (example,))
    counted = sum(macs(node) for node in program.graph.nodes if node.op == "call_function")
    assert 2 * counted == counter.get_total_flops()


class Rest(nn.Module):
    """Four operations for XNNPACK, a view, and two that it has nothing for: integers, and a maximum's place."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(4, 3)

    def forward(self, numbers):
        halves = torch.relu(self.first(numbers)).reshape(2, 4)
        best = halves.argmax(dim=-1) * 2
        return torch.sigmoid(self.last(halves)), best


@pytest.fixture(scope="module")
def rest():
    from converters.executorch.backends import BACKENDS
    from converters.executorch.lowering import lower

    program = torch.export.export(Rest().eval(), (torch.zeros(1, 6),))
    return lower({"forward": (program, BACKENDS["xnnpack"].partitioners("fp32"))}).delegations["forward"]


@pytest.mark.slow
def test_a_share_is_that_of_the_operations_by_hand(rest):
    assert rest.delegates == {"XnnpackBackend": 1}
    assert {left.op: left.count for left in rest.left} == {"argmax": 1, "mul": 1}
    assert rest.ops_percent == round(100 * 4 / 6, 2)
    assert rest.macs_percent == 100.0


@pytest.mark.slow
def test_what_is_left_has_the_reason_of_the_partitioner(rest):
    assert {left.op: left.why for left in rest.left} == {"argmax": NO_RULE, "mul": "invalid dtype"}


@pytest.mark.slow
@pytest.mark.parametrize(("ask", "why"), [("vulkan", "no operator implementation"), ("coreml", "not supported by CoreML")])
def test_reasons_are_read_from_what_other_partitioners_log(ask, why):
    """They are asked about an operation that neither has."""
    from executorch.exir.dialects._ops import ops

    graph = torch.fx.Graph()
    node = graph.call_function(ops.edge.aten.diagonal_copy.default, (graph.placeholder("x"),))
    node.meta["val"] = node.args[0].meta["val"] = torch.zeros(2, 2)
    with listening() as reasons:
        if ask == "vulkan":
            from executorch.backends.vulkan import utils
            from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanSupportedOperators

            asked = VulkanSupportedOperators(utils.DEFAULT_TEXTURE_LIMITS, utils.DEFAULT_BUFFER_LIMIT)
        else:
            from executorch.backends.apple.coreml.partition.coreml_partitioner import _OperatorsSupportedForCoreMLBackend

            asked = _OperatorsSupportedForCoreMLBackend(log=True)
        assert not asked.is_node_supported({}, node)
    assert why in reasons.why(node.name, "diagonal_copy")


def test_listening_leaves_logging_as_it_was():
    loggers, before = (logging.getLogger("executorch.backends"), logging.root), logging.root.manager.disable
    state = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    logging.disable(logging.CRITICAL)
    try:
        with listening() as reasons:
            logging.getLogger("executorch.backends.any").debug("nothing of ours")
        assert logging.root.manager.disable == logging.CRITICAL
    finally:
        logging.disable(before)
    assert [(logger.level, logger.propagate, logger.handlers) for logger in loggers] == state
    assert reasons.why("node", "op") == NO_RULE


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("aten.argmax.default", "argmax"),
        ("dim_order_ops::_to_dim_order_copy.default", "_to_dim_order_copy"),
        ("getitem", "getitem"),
    ],
)
def test_names_of_operations_are_plain(name, plain):
    assert plain_name(name) == plain


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["tiny_bundle", "mobile_bundle"])
def test_demo_towers_are_above_the_bar_and_say_what_is_left(bundle, request):
    artifacts = Bundle.open(request.getfixturevalue(bundle)).manifest.artifacts
    by_tower = {artifact.tower: artifact for artifact in artifacts if artifact.target == "executorch"}
    image, text = by_tower["image"], by_tower["text"]
    assert (image.delegates, image.delegated_percent, image.left) == ({"XnnpackBackend": 1}, 100.0, ())
    assert text.delegates == {"XnnpackBackend": 1}
    assert text.delegated_percent >= MIN_DELEGATED
    assert text.delegated_macs_percent == 100.0
    assert {left.op for left in text.left} == {"embedding", "argmax", "eq", "_to_dim_order_copy"}
    for artifact in artifacts:
        assert artifact.checked == "run"
        assert (artifact.delegated_percent is None) == (artifact.target == "coreml")


@pytest.mark.slow
def test_a_share_below_the_bar_is_an_error_that_names_the_rest(tiny_bundle):
    artifacts = Bundle.open(tiny_bundle).manifest.artifacts
    (text,) = (artifact for artifact in artifacts if artifact.target == "executorch" and artifact.tower == "text")
    poor = msgspec.structs.replace(text, delegated_percent=94.9)
    with pytest.raises(
        CoverageError, match=r"94\.9 % of the operations are in delegates, --min-delegated asks for 95.* 1 x argmax"
    ):
        _check_coverage(poor, None)
    _check_coverage(poor, 90.0)
    _check_coverage(text, None)


@pytest.mark.slow
def test_the_command_fails_below_the_bar_and_writes_nothing(cli, tmp_path):
    out = tmp_path / "bundle"
    failed = cli("convert", "tinyclip-demo", "--target", "executorch", "--tower", "text", "--min-delegated", "99", "--out", out)
    assert failed.status == 1
    assert "nothing was written" in failed.error
    assert "argmax" in failed.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("target", "share", "message"),
    [
        ("coreml", 95.0, "coreml has no delegates"),
        ("executorch", 101.0, "give a percentage"),
        ("executorch", float("nan"), "give a percentage"),
    ],
)
def test_a_bar_that_cannot_be_is_refused(target, share, message):
    with pytest.raises(UsageError, match=f"--min-delegated.*{message}"):
        resolved(TARGETS[target].load(), TargetOptions(target, min_delegated=share), "m", "w", "text")
