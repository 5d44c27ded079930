"""Whole packages, built with coremltools: what `MilModel` computes from what the file says."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.precision import Mode
from edgeclip.reference.mil.steps import Step
from tests.reference.oracle import floats, integers
from tests.reference.packages import builder, half, main_block, read, save

_FIRST, _SECOND = floats(16, 8) / 3, floats(4, 16, seed=1) / 4
_BIAS = floats(16, seed=2)


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, with weights in `weight.bin` and scalars inside the program."""

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        hidden = mb.linear(x=variables["x"], weight=_FIRST, bias=_BIAS)
        hidden = mb.add(x=mb.gelu(x=hidden, mode="EXACT"), y=np.float32(0.25), name="hidden")
        return (
            mb.matmul(x=hidden, y=_SECOND, transpose_y=True, name="y"),
            hidden,
            mb.reduce_argmax(x=hidden, axis=-1, name="top"),
        )

    return save(tmp_path_factory.mktemp("layers") / "m.mlpackage", {"x": ((3, 8), "fp32")}, body)


def _layers(x: np.ndarray) -> dict[str, np.ndarray]:
    hidden = x.astype(np.float64) @ _FIRST.T + _BIAS
    hidden = torch.nn.functional.gelu(torch.from_numpy(hidden)).numpy() + 0.25
    return {"y": hidden @ _SECOND.T, "hidden": hidden, "top": hidden.argmax(-1)}


@pytest.mark.parametrize("mode", ["fp32", "fp16"])
def test_several_outputs(layers: Path, mode: Mode) -> None:
    """The program declares float32 throughout, so both modes compute the same."""
    x = floats(3, 8, seed=9)
    got = MilModel.load(layers, mode).run({"x": x})
    wanted = _layers(x)
    assert list(got) == ["y", "hidden", "top"]
    np.testing.assert_allclose(got["y"], wanted["y"], atol=2e-6)
    np.testing.assert_allclose(got["hidden"], wanted["hidden"], atol=1e-6)
    assert got["top"].dtype == np.int32
    np.testing.assert_array_equal(got["top"], wanted["top"])


def test_constants_come_from_both_places(layers: Path) -> None:
    places = {op.attributes["val"].WhichOneof("value") for op in main_block(read(layers)).operations if op.type == "const"}
    assert places == {"blobFileValue", "immediateValue"}


def test_running_twice_gives_the_same(layers: Path) -> None:
    model, x = MilModel.load(layers, "fp32"), floats(3, 8, seed=9)
    kept = x.copy()
    first = model.run({"x": x})
    first["hidden"].fill(7)  # results are the caller's
    second = model.run({"x": x})
    np.testing.assert_array_equal(first["y"], second["y"])
    np.testing.assert_array_equal(second["hidden"], model.run({"x": x})["hidden"])
    np.testing.assert_array_equal(x, kept)


def _chain(variables: dict[str, Any]) -> Any:
    """float16 arithmetic, one IEEE operation each, so that NumPy computes the same bits."""
    mb = builder()
    x = mb.cast(x=variables["x"], dtype="fp16")
    x = mb.mul(x=x, y=half(_BIAS).astype(np.float16))
    x = mb.add(x=x, y=np.float16(0.1))
    y = mb.real_div(x=x, y=np.float16(3))
    y = mb.sub(x=y, y=mb.maximum(x=x, y=y))
    big = mb.mul(x=x, y=np.float16(60000), name="big")
    return mb.cast(x=y, dtype="fp32", name="y"), mb.cast(x=big, dtype="fp32", name="big32")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("chain") / "m.mlpackage", {"x": ((64, 16), "fp32")}, _chain)


def _emulated(x: np.ndarray, kept: Any) -> tuple[np.ndarray, np.ndarray]:
    """The chain in float32, `kept` applied to each result."""
    with np.errstate(over="ignore"):
        x = kept(x)
        x = kept(x * half(_BIAS))
        x = kept(x + half(np.float32(0.1)))
        y = kept(x / np.float32(3))
        y = kept(y - kept(np.maximum(x, y)))
        return y, kept(x * half(np.float32(60000)))


@pytest.mark.parametrize("seed", range(3))
def test_fp16_mode_rounds_every_result_to_float16(chain: Path, seed: int) -> None:
    x = 3 * floats(64, 16, seed=seed)
    got = MilModel.load(chain, "fp16").run({"x": x})
    y, big = _emulated(x, half)
    np.testing.assert_array_equal(got["y"], y)
    np.testing.assert_array_equal(got["big32"], big)
    assert np.isinf(got["big32"]).any()  # float16 overflows, and the mode shows it


def test_fp32_mode_rounds_nothing(chain: Path) -> None:
    x = 3 * floats(64, 16)
    got = MilModel.load(chain, "fp32").run({"x": x})
    y, big = _emulated(x, lambda values: values)
    np.testing.assert_array_equal(got["y"], y)
    np.testing.assert_array_equal(got["big32"], big)
    assert not np.array_equal(got["y"], _emulated(x, half)[0])


def test_a_float16_input_is_rounded_too(tmp_path: Path) -> None:
    """Core ML takes a float16 array there, so the bits beyond never reach it."""
    path = save(tmp_path / "m.mlpackage", {"x": ((4,), "fp16")}, lambda v: builder().cast(x=v["x"], dtype="fp32", name="y"))
    x = np.array([0.1, 1 / 3, 2049.0, 1e-9], np.float32)
    np.testing.assert_array_equal(MilModel.load(path, "fp32").run({"x": x})["y"], x)
    np.testing.assert_array_equal(MilModel.load(path, "fp16").run({"x": x})["y"], half(x))


def test_fp16_mode_keeps_token_ids_whole(tmp_path: Path) -> None:
    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        shifted = mb.sub(x=variables["ids"], y=np.int32(1), name="shifted")
        return shifted, mb.cast(x=variables["ids"], dtype="fp16", name="rounded")

    path = save(tmp_path / "m.mlpackage", {"ids": ((1, 3), "int32")}, body)
    got = MilModel.load(path, "fp16").run({"ids": np.array([[49406, 49407, 0]], np.int32)})
    assert got["shifted"].tolist() == [[49405, 49406, -1]]
    assert got["rounded"].tolist() == [[49408.0, 49408.0, 0.0]]  # why ids must stay integers


_CONSTANTS = {
    "fp32": floats(3, 5),
    "fp16": floats(3, 5).astype(np.float16),
    "int8": np.arange(-128, 127, 17, np.int8),
    "uint8": np.arange(0, 255, 17, np.uint8),
    "int16": np.arange(-32768, 32767, 3277).astype(np.int16),
    "uint16": np.arange(0, 65535, 4369).astype(np.uint16),
    "int32": integers(4, 4, low=-(2**31), high=2**31 - 1),
    "bool": floats(3, 5) > 0,
}


def _wide(dtype: str) -> str:
    return "fp32" if dtype in ("fp32", "fp16") else "int32"


@pytest.fixture(scope="module", params=["iOS17", "iOS18"])
def constants(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What a program of constants gives: of each type many, and the second of them alone."""

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        outputs = [mb.identity(x=variables["x"], name="same")]
        for dtype, many in _CONSTANTS.items():
            one = mb.cast(x=mb.const(val=many.reshape(-1)[1]), dtype=_wide(dtype))
            outputs += [mb.cast(x=mb.const(val=many), dtype=_wide(dtype), name=f"{dtype}_many")]
            outputs += [mb.reshape(x=one, shape=(1,), name=f"{dtype}_one")]
        return tuple(outputs)

    path = save(tmp_path_factory.mktemp("constants") / "m.mlpackage", {"x": ((1,), "fp32")}, body, request.param)
    return MilModel.load(path, "fp32").run({"x": np.ones(1, np.float32)})


@pytest.mark.parametrize("dtype", list(_CONSTANTS))
def test_constants_of_every_type(dtype: str, constants: dict[str, np.ndarray]) -> None:
    """Enough values for `weight.bin`, where the type may go there, and one that stays in the program."""
    many, got = _CONSTANTS[dtype], constants[f"{dtype}_many"]
    np.testing.assert_array_equal(got, many.astype(got.dtype))
    assert constants[f"{dtype}_one"].tolist() == [many.reshape(-1)[1]]


def test_sixteen_bit_indices_inside_the_program(tmp_path: Path) -> None:
    """From iOS17 on, coremltools stores small indices so."""

    def body(variables: dict[str, Any]) -> Any:
        return builder().gather(x=variables["x"], indices=np.array([3, 0], np.uint16), axis=0, name="y")

    path = save(tmp_path / "m.mlpackage", {"x": ((4, 2), "fp32")}, body)
    x = floats(4, 2)
    np.testing.assert_array_equal(MilModel.load(path).run({"x": x})["y"], x[[3, 0]])


def test_decompressed_constants_are_rounded_as_declared(tmp_path: Path) -> None:
    data, scale = np.arange(-128, 128, dtype=np.int8).reshape(16, 16), (floats(16, low=0.01) / 9).astype(np.float16)

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        weight = mb.constexpr_affine_dequantize(quantized_data=data, zero_point=np.int8(3), scale=scale, axis=0)
        weight = mb.cast(x=weight, dtype="fp32")
        return mb.add(x=weight, y=variables["x"], name="y")

    path = save(tmp_path / "m.mlpackage", {"x": ((16, 16), "fp32")}, body, opset="iOS16")
    exact = (data.astype(np.float32) - 3) * scale.astype(np.float32)[:, None]
    zero = {"x": np.zeros((16, 16), np.float32)}
    np.testing.assert_array_equal(MilModel.load(path, "fp32").run(zero)["y"], exact)
    np.testing.assert_array_equal(MilModel.load(path, "fp16").run(zero)["y"], half(exact))
    assert not np.array_equal(exact, half(exact))


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_pictures_arrive_in_the_programs_channel_order(layout: str, tmp_path: Path) -> None:
    """Always given as RGB, height before width; the scale and bias that a converter asks for are part of the program."""
    import coremltools as ct

    image = ct.ImageType(
        name="image", shape=(1, 3, 4, 6), scale=0.5, bias=[1.0, 2.0, 3.0], color_layout=getattr(ct.colorlayout, layout)
    )

    def body(variables: dict[str, Any]) -> Any:
        return builder().identity(x=variables["image"], name="y")

    path = save(tmp_path / "m.mlpackage", {"image": ((1, 3, 4, 6), "fp32")}, body, convert_inputs=[image], passes=True)
    picture = integers(4, 6, 3, low=0, high=256).astype(np.uint8)
    got = MilModel.load(path, "fp32").run({"image": picture})["y"]
    wanted = picture.astype(np.float32) if layout == "RGB" else picture[..., ::-1].astype(np.float32)
    np.testing.assert_array_equal(got[0], wanted.transpose(2, 0, 1) * 0.5 + np.array([1, 2, 3])[:, None, None])


def test_an_output_may_be_a_constant_or_an_input(tmp_path: Path) -> None:
    table = floats(3, 5)

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        return mb.identity(x=variables["x"], name="same"), mb.const(val=table, name="table")

    path = save(tmp_path / "m.mlpackage", {"x": ((2,), "fp32")}, body)
    got = MilModel.load(path, "fp32").run({"x": np.array([1, 2], np.float32)})
    np.testing.assert_array_equal(got["same"], [1, 2])
    np.testing.assert_array_equal(got["table"], table)


def test_a_list_may_mix_computed_values_and_constants(tmp_path: Path) -> None:
    """As a class token in front of patches."""
    token = floats(1, 1, 12)

    def body(variables: dict[str, Any]) -> Any:
        mb = builder()
        first = mb.concat(values=(token, variables["x"]), axis=1)
        return mb.concat(values=(first, token, np.zeros((1, 1, 12), np.float32)), axis=1, name="y")

    path = save(tmp_path / "m.mlpackage", {"x": ((1, 2, 12), "fp32")}, body)
    x = floats(1, 2, 12, seed=1)
    got = MilModel.load(path, "fp32").run({"x": x})["y"]
    np.testing.assert_array_equal(got, np.concatenate([token, x, token, np.zeros_like(token)], 1))


def _deep(folder: Path, depth: int) -> MilModel:
    def body(variables: dict[str, Any]) -> Any:
        mb, x = builder(), variables["x"]
        for k in range(depth):
            left, right = mb.split(x=mb.add(x=x, y=np.float32(k)), axis=1, num_splits=2)
            x = mb.concat(values=(right, mb.maximum(x=left, y=right)), axis=1, name=f"x{k}")
        return x

    return MilModel.load(save(folder / f"{depth}.mlpackage", {"x": ((1, 8), "fp32")}, body), "fp32")


def _peak(model: MilModel) -> int:
    """The largest number of results that are alive at once."""
    alive: list[weakref.ref[Any]] = []
    peak = 0

    def observe(step: Step, results: tuple[Any, ...]) -> None:
        nonlocal peak
        alive.extend(map(weakref.ref, results))
        peak = max(peak, sum(reference() is not None for reference in alive))

    model.run({"x": floats(1, 8)}, observe)
    return peak


@pytest.mark.slow
def test_values_live_no_longer_than_they_are_needed(tmp_path: Path) -> None:
    shallow, deep = _deep(tmp_path, 3), _deep(tmp_path, 40)
    assert _peak(deep) == _peak(shallow) < 8
    freed = [name for step in deep.program.steps for name in step.frees]
    made = {name for step in deep.program.steps for name, _ in step.outputs}
    assert sorted(freed) == sorted((made | {"x"}) - {"x39"})  # each once, the output never


def test_observing_sees_every_result_as_it_is_kept(chain: Path) -> None:
    seen: dict[str, np.ndarray] = {}

    def observe(step: Step, results: tuple[torch.Tensor, ...]) -> None:
        seen[step.op] = results[0].numpy()

    model = MilModel.load(chain, "fp16")
    got = model.run({"x": floats(64, 16)}, observe)
    assert set(seen) == {"cast", "mul", "add", "real_div", "maximum", "sub"}
    np.testing.assert_array_equal(seen["sub"], got["y"])
    assert all(np.array_equal(values, half(values)) for values in seen.values())
