"""Which units stay more exact for a floor, and the replays that say what a plan costs: no target is needed for either."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from converters.coreai.stored import DECOMPRESSIONS
from converters.exactness.replay import Replay
from converters.exactness.search import refine, uniform


@dataclass(frozen=True)
class Part:
    """Costs what it is said to."""

    name: str
    losses: tuple[float, ...]
    values: int = 1000
    forms: tuple[str, ...] = ("small", "middle", "exact")

    def size_bytes(self, form):
        return self.values * {"small": 1, "middle": 2, "exact": 4}[form]


class Sums:
    """Losses add up; the last sample suffers twice as much as the others."""

    def __init__(self) -> None:
        self.runs = 0

    def cosines(self, plan, which=None):
        self.runs += 1
        loss = sum(dict(zip(part.forms, part.losses, strict=True))[form] for part, form in plan.items())
        return np.array([1 - loss, 1 - loss, 1 - 2 * loss])[list(range(3) if which is None else which)]

    def record(self, which):
        pass


FORMS = ("small", "middle", "exact")


def test_only_what_costs_most_gets_more_exact_and_only_as_exact_as_it_has_to():
    parts = [Part("good", (1e-4, 1e-5, 0.0)), Part("bad", (0.05, 0.04, 0.0)), Part("fair", (0.02, 1e-4, 0.0))]
    plan, cosine = refine(Sums(), uniform(parts, FORMS), FORMS, 0.999)
    assert {part.name: form for part, form in plan.items()} == {"good": "small", "bad": "exact", "fair": "middle"}
    assert 0.999 <= cosine < 1


def test_a_plan_that_holds_the_floor_is_left_as_it_is():
    simulation, parts = Sums(), [Part("good", (1e-4, 0.0, 0.0)), Part("other", (1e-4, 0.0, 0.0))]
    plan, _ = refine(simulation, uniform(parts, FORMS), FORMS, 0.999)
    assert set(plan.values()) == {"small"}
    assert simulation.runs == 1


def test_a_unit_begins_with_the_first_form_that_it_can_have():
    parts = [Part("one", (0.0, 0.0, 0.0)), Part("two", (0.0, 0.0), forms=("middle", "exact"))]
    assert list(uniform(parts, FORMS).values()) == ["small", "middle"]


class Halved(Replay):
    """A plan halves layers' weights."""

    def _changes(self, plan):
        nodes = [node for node in self._module.graph.nodes if node.op == "get_attr"]
        return {node: self._module.get_submodule(node.target[:-7]).weight / 2 for node in nodes if node.target in plan}

    def _touched(self, changes):
        return {reader for node in changes for reader in node.users}

    def _given(self, given, reader, values, changes):
        return changes[given] if given in changes else values[given]


@pytest.mark.parametrize("changed", [(), ("0.weight",), ("2.weight",), ("0.weight", "2.weight")])
def test_a_replay_is_a_run_of_the_changed_tower(changed):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).eval()
    samples = [torch.randn(1, 8) for _ in range(3)]
    with torch.no_grad():
        originals = np.concatenate([module(sample).numpy() for sample in samples])
        graph = torch.export.export(module, (samples[0],), strict=False).module(check_guards=False)
        for name in changed:
            module.get_submodule(name[0]).weight /= 2
        wanted = torch.cosine_similarity(torch.cat([module(sample) for sample in samples]), torch.from_numpy(originals))
    with torch.no_grad():  # the graph shares the module's weights
        for name in changed:
            module.get_submodule(name[0]).weight *= 2
    replay = Halved(graph, samples, originals)
    plan = dict.fromkeys(changed, "half")
    np.testing.assert_allclose(replay.cosines(plan), wanted.numpy(), atol=1e-6)
    replay.record([1, 2])
    np.testing.assert_allclose(replay.cosines(plan, [2, 1]), wanted.numpy()[[2, 1]], atol=1e-6)


def test_a_scale_is_that_of_its_block():
    rng = np.random.default_rng(0)
    data, scales = rng.integers(-7, 8, (4, 6, 1, 3)).astype(np.int8), rng.random((4, 2, 1, 1)).astype(np.float16)
    found = DECOMPRESSIONS["coreai.blockwise_shift_scale"](data, scales)
    for at in np.ndindex(data.shape):
        assert found[at] == np.float16(np.float32(data[at]) * np.float32(scales[at[0], at[1] // 3, 0, 0]))


@pytest.mark.parametrize("groups", [(2, 1), (1, 3)])
def test_a_table_is_that_of_its_group_of_channels(groups):
    rng = np.random.default_rng(0)
    indices, tables = rng.integers(0, 16, (4, 6)).astype(np.int8), rng.random((*groups, 16, 1)).astype(np.float16)
    found = DECOMPRESSIONS["coreai.lut_to_dense"](indices, tables)
    for row, column in np.ndindex(indices.shape):
        assert found[row, column] == tables[row * groups[0] // 4, column * groups[1] // 6, indices[row, column], 0]
