"""Inputs whose batch is flexible, and packages of several functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeclip.errors import BundleError
from edgeclip.reference.mil.interpreter import MilModel
from tests.reference.oracle import floats
from tests.reference.packages import builder, edited, save

pytestmark = pytest.mark.slow


class _Tower(nn.Module):
    """A small ViT: patches, a class token for each of the batch, attention, a unit row."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1)
        heads = self.norm(y).unflatten(2, (2, 4)).transpose(1, 2)
        y = y + nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        first = y[:, 0]
        return first / first.norm(dim=-1, keepdim=True)


@pytest.fixture(scope="module")
def tower() -> nn.Module:
    torch.manual_seed(0)
    return _Tower().eval()


@pytest.fixture(scope="module", params=["range", "list"])
def flexible(request: pytest.FixtureRequest, tower: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    import coremltools as ct

    size = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(tower, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=({0: size},)).run_decompositions({})
    picture = (3, 16, 16)
    shapes = {
        "range": ct.Shape((ct.RangeDim(1, 5, default=1), *picture)),
        "list": ct.EnumeratedShapes([(1, *picture), (4, *picture)], default=(1, *picture)),
    }
    model = ct.convert(
        program,
        inputs=[ct.TensorType(name="x", shape=shapes[request.param])],
        outputs=[ct.TensorType(name="y")],
        minimum_deployment_target=ct.target.iOS18 if request.param == "list" else ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    path = tmp_path_factory.mktemp("flexible") / "m.mlpackage"
    model.save(str(path))
    return request.param, path


def test_every_batch_gives_what_torch_gives(flexible: tuple[str, Path], tower: nn.Module) -> None:
    kind, path = flexible
    model = MilModel.load(path, "fp32")
    for batch in {"range": (1, 2, 5, 1), "list": (4, 1)}[kind]:
        x = floats(batch, 3, 16, 16, seed=batch)
        with torch.inference_mode():
            wanted = tower(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(model.run({"x": x})["y"], wanted, atol=2e-6)


def test_other_shapes_are_refused(flexible: tuple[str, Path]) -> None:
    kind, path = flexible
    model = MilModel.load(path, "fp32")
    said = {"range": r"\[1 to 5, 3, 16, 16\]", "list": r"\[1, 3, 16, 16\] or \[4, 3, 16, 16\]"}[kind]
    for shape in ((6, 3, 16, 16), (3, 16, 16), (1, 3, 16, 15), (0, 3, 16, 16), (2**20, 3, 16, 16)):
        with pytest.raises(BundleError, match=f"input 'x' takes {said}, not "):
            model.run({"x": np.broadcast_to(np.float32(0), shape)})


def test_memory_is_bounded_for_the_batch_at_hand(flexible: tuple[str, Path]) -> None:
    """A range may be wide; what is asked of it is checked before anything of that size is computed."""
    kind, path = flexible
    with edited(path) as model:
        array = model.description.input[0].type.multiArrayType
        if kind == "range":
            before = array.shapeRange.sizeRanges[0].upperBound
            array.shapeRange.sizeRanges[0].upperBound = -1
        else:
            array.enumeratedShapes.shapes.add().shape.extend([2**18, 3, 16, 16])
    try:
        with pytest.raises(BundleError, match="values"):
            MilModel.load(path, "fp32").run({"x": np.broadcast_to(np.float32(0), (2**18, 3, 16, 16))})
    finally:
        with edited(path) as model:
            array = model.description.input[0].type.multiArrayType
            if kind == "range":
                array.shapeRange.sizeRanges[0].upperBound = before
            else:
                del array.enumeratedShapes.shapes[-1]


@pytest.mark.parametrize("mode", ["fp16", "ane"])
def test_other_modes(flexible: tuple[str, Path], mode: Any, tower: nn.Module) -> None:
    _, path = flexible
    x = floats(4, 3, 16, 16)
    with torch.inference_mode():
        wanted = tower(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(MilModel.load(path, mode).run({"x": x})["y"], wanted, atol=0.02)


def test_recording_a_batch(flexible: tuple[str, Path]) -> None:
    model = MilModel.load(flexible[1], "fp32")
    x = floats(4, 3, 16, 16)
    recording = model.record({"x": x})
    np.testing.assert_array_equal(model.rerun(recording, round_half=["y"])["y"].shape, (4, 8))
    np.testing.assert_array_equal(model.rerun(recording)["y"], model.run({"x": x})["y"])


def _contradict_range(model: Any) -> None:
    model.description.input[0].type.multiArrayType.shapeRange.sizeRanges[1].lowerBound = 2


def _no_range(model: Any) -> None:
    array = model.description.input[0].type.multiArrayType
    array.ClearField(array.WhichOneof("ShapeFlexibility"))


def test_an_interface_that_contradicts_the_program_is_refused(flexible: tuple[str, Path]) -> None:
    kind, path = flexible
    content = (path / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
    changes = [(_contradict_range, "contradict")] if kind == "range" else []
    changes += [(_no_range, "does not say which shapes")]
    try:
        for change, message in changes:
            (path / "Data/com.apple.CoreML/model.mlmodel").write_bytes(content)
            with edited(path) as model:
                change(model)
            with pytest.raises(BundleError, match=message):
                MilModel.load(path)
    finally:
        (path / "Data/com.apple.CoreML/model.mlmodel").write_bytes(content)


def test_a_size_computed_from_values_is_refused(tmp_path: Path) -> None:
    """Only sizes that follow from shapes are known before anything is computed."""
    path = save(
        tmp_path / "m.mlpackage",
        {"sizes": ((2,), "int32"), "x": ((4, 3), "fp32")},
        lambda variables: builder().reshape(x=variables["x"], shape=variables["sizes"], name="y"),
    )
    with pytest.raises(BundleError, match="reshape 'y': input 'shape' must be a constant or computed from shapes"):
        MilModel.load(path)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two functions that share a weight; neither is called main."""
    import coremltools as ct

    folder, weight = tmp_path_factory.mktemp("several"), floats(8, 4)
    plain = save(
        folder / "plain.mlpackage",
        {"x": ((2, 4), "fp32")},
        lambda variables: builder().linear(x=variables["x"], weight=weight, name="y"),
        "iOS18",
    )
    rectified = save(
        folder / "rectified.mlpackage",
        {"z": ((2, 4), "fp32")},
        lambda variables: builder().relu(x=builder().linear(x=variables["z"], weight=weight), name="u"),
        "iOS18",
    )
    described = ct.utils.MultiFunctionDescriptor()
    described.add_function(str(plain), "main", "plain")
    described.add_function(str(rectified), "main", "rectified")
    described.default_function_name = "plain"
    ct.utils.save_multifunction(described, str(folder / "m.mlpackage"))
    return folder / "m.mlpackage"


def test_functions_by_name(several: Path) -> None:
    x, weight = floats(2, 4, seed=1), floats(8, 4)
    got = MilModel.load(several, "fp32", "plain").run({"x": x})
    np.testing.assert_allclose(got["y"], x @ weight.T, atol=1e-6)
    got = MilModel.load(several, "fp32", function="rectified").run({"z": x})
    np.testing.assert_allclose(got["u"], np.maximum(x @ weight.T, 0), atol=1e-6)


def test_a_function_that_is_not_there_lists_those_that_are(several: Path) -> None:
    with pytest.raises(BundleError, match=r"the program has no function 'main'; known: plain, rectified$"):
        MilModel.load(several)


def test_a_function_without_an_interface(several: Path, tmp_path: Path) -> None:
    content = (several / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
    try:
        with edited(several) as model:
            del model.description.functions[1]
        with pytest.raises(BundleError, match="function 'rectified' has no interface"):
            MilModel.load(several, function="rectified")
    finally:
        (several / "Data/com.apple.CoreML/model.mlmodel").write_bytes(content)
