"""A recorded run with something changed gives what a full run of the changed program gives, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeclip.errors import UsageError
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.precision import Mode
from edgeclip.reference.mil.steps import Step
from tests.reference.oracle import floats
from tests.reference.packages import builder, half, save

_INPUTS = {"x": floats(1, 4, 8)}
_MODES: tuple[Mode, ...] = ("fp32", "fp16")
_SHARED, _FIRST, _SECOND, _TOKEN = floats(8, 8) / 3, floats(16, 8, seed=1), floats(16, 16, seed=2) / 4, floats(1, 1, 8, seed=3)
_CODES, _SCALE = np.arange(-64, 64, dtype=np.int8).reshape(16, 8), (floats(16, low=0.01) / 9).astype(np.float16)


def _body(constants: dict[str, np.ndarray]) -> Callable[[dict[str, Any]], Any]:
    """Two branches that meet, a constant used twice, one in a list, one compressed, a float16 part and an output by the way."""

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        shared = mb.const(val=constants.get("shared", _SHARED), name="shared")
        token = mb.const(val=constants.get("token", _TOKEN), name="token")
        x = mb.concat(values=(token, variables["x"]), axis=1, name="joined")
        left = mb.linear(x=x, weight=shared, name="left")
        left = mb.linear(x=mb.relu(x=left, name="relu"), weight=shared, name="again")
        right = mb.linear(x=x, weight=mb.const(val=constants.get("first", _FIRST), name="first"), name="right")
        right = mb.linear(x=right, weight=mb.const(val=constants.get("second", _SECOND), name="second"), name="deep")
        if "dense" in constants:
            weight = mb.const(val=constants["dense"].astype(np.float16), name="dense")
        else:
            zero = np.int8(3)
            weight = mb.constexpr_affine_dequantize(quantized_data=_CODES, zero_point=zero, scale=_SCALE, axis=0, name="dense")
        low = mb.linear(x=mb.cast(x=left, dtype="fp16"), weight=weight, name="low")
        y = mb.add(x=mb.cast(x=low, dtype="fp32"), y=mb.mul(x=right, y=np.float32(3e5), name="scaled"), name="sum")
        return mb.reduce_mean(x=y, axes=(1,), name="y"), mb.reduce_mean(x=left, axes=(1,), name="aside")

    return body


def _save(path: Path, **constants: np.ndarray) -> Path:
    return save(path, {"x": ((1, 4, 8), "fp32")}, _body(constants), "iOS16")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("recorded") / "m.mlpackage")


_NEW = {
    "shared": floats(8, 8, seed=7),
    "token": floats(1, 1, 8, seed=8),
    "first": floats(16, 8, seed=9),
    "second": floats(16, 16, seed=10),
    "dense": half(floats(16, 8, seed=11)),
}


@pytest.mark.parametrize("mode", _MODES)
def test_nothing_changed(path: Path, mode: Mode) -> None:
    model = MilModel.load(path, mode)
    wanted, got = model.run(_INPUTS), model.rerun(model.record(_INPUTS))
    assert list(got) == list(wanted)
    for name in wanted:
        np.testing.assert_array_equal(got[name], wanted[name])


@pytest.mark.slow
@pytest.mark.parametrize("mode", _MODES)
@pytest.mark.parametrize("names", [(name,) for name in _NEW] + [("shared", "second"), tuple(_NEW)], ids="+".join)
def test_replaced_constants(path: Path, names: tuple[str, ...], mode: Mode, tmp_path: Path) -> None:
    new = {name: _NEW[name] for name in names}
    wanted = MilModel.load(_save(tmp_path / "new.mlpackage", **new), mode).run(_INPUTS)
    model = MilModel.load(path, mode)
    recording = model.record(_INPUTS)
    got = model.rerun(recording, {name: torch.from_numpy(value) for name, value in new.items()})
    for name in wanted:
        np.testing.assert_array_equal(got[name], wanted[name])
    unchanged = model.rerun(recording)
    np.testing.assert_array_equal(unchanged["y"], model.run(_INPUTS)["y"])  # the recording is as it was


def _rounded(model: MilModel, names: set[str]) -> dict[str, np.ndarray]:
    """A full run in which the results of some steps are rounded in place."""

    def observe(step: Step, results: tuple[torch.Tensor, ...]) -> None:
        if step.name in names:
            for value in results:
                value.copy_(value.half().float())

    return model.run(_INPUTS, observe)


@pytest.mark.parametrize("names", [("left",), ("deep",), ("scaled",), ("joined", "again", "relu")], ids="+".join)
def test_results_rounded_to_float16(path: Path, names: set[str]) -> None:
    model = MilModel.load(path, "fp32")
    got, wanted = model.rerun(model.record(_INPUTS), round_half=names), _rounded(model, names)
    for name in wanted:
        np.testing.assert_array_equal(got[name], wanted[name])
    assert not np.array_equal(got["y"], model.run(_INPUTS)["y"])
    assert np.isinf(got["y"]).any() == ("scaled" in names)  # float16 overflows there


def test_only_steps_downstream_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MilModel.load(path, "fp32")
    recording = model.record(_INPUTS)
    ran: list[str] = []
    run = Step.run
    monkeypatch.setattr(Step, "run", lambda self, values: (ran.append(self.name), run(self, values))[1])
    model.rerun(recording, {"second": torch.from_numpy(_NEW["second"])})
    assert ran == ["deep", "scaled", "sum", "y"]
    ran.clear()
    model.rerun(recording, round_half=["aside"])
    assert ran == ["aside"]


def test_sources_name_the_constants_of_the_file(path: Path) -> None:
    model = MilModel.load(path, "fp32")
    steps = {step.name: step.sources for step in model.program.steps}
    assert steps["left"]["weight"] == steps["again"]["weight"] == "shared"
    assert steps["low"]["weight"] == "dense"
    assert steps["joined"]["values/0"] == "token"
    assert "values/1" not in steps["joined"]
    types = model.program.constant_types
    assert (types["dense"].dtype, types["dense"].shape) == ("FLOAT16", (16, 8))
    assert (types["token"].dtype, types["token"].shape) == ("FLOAT32", (1, 1, 8))


def test_a_recording_knows_its_size(path: Path) -> None:
    recording = MilModel.load(path, "fp32").record(_INPUTS)
    assert recording.size_bytes == sum(value.nbytes for value in recording.values.values()) > 0
    np.testing.assert_array_equal(recording.values["joined"].numpy(), np.concatenate([_TOKEN, _INPUTS["x"]], 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constants": {"secand": torch.zeros(16, 16)}}, "unknown constant operand 'secand': did you mean 'second'"),
        ({"constants": {"second": torch.zeros(16, 8)}}, r"'second' gives \[16, 8\], declared \[16, 16\]"),
        ({"constants": {"second": torch.zeros(16, 16, dtype=torch.int32)}}, "'second' gives integer values"),
        ({"round_half": ["lift"]}, "unknown step 'lift': did you mean 'left'"),
    ],
)
def test_what_is_not_there_is_refused(path: Path, change: dict[str, Any], message: str) -> None:
    model = MilModel.load(path, "fp32")
    with pytest.raises(UsageError, match=message):
        model.rerun(model.record(_INPUTS), **change)


def test_an_axis_is_no_constant_operand(path: Path) -> None:
    model = MilModel.load(path, "fp32")
    axes = next(step for step in model.program.steps if step.name == "y").sources["axes"]
    with pytest.raises(UsageError, match="unknown constant operand"):
        model.rerun(model.record(_INPUTS), {axes: torch.tensor([0], dtype=torch.int32)})
