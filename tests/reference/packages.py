"""Small `.mlpackage` folders, built with coremltools' MIL builder, and changed afterwards as a hostile hand would."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.reference.mil.proto import model_pb2

Body = Callable[[dict[str, Any]], Any]


def builder() -> Any:
    """coremltools' MIL builder; importing it takes seconds, so tests that do not build do not pay."""
    return importlib.import_module("coremltools.converters.mil").Builder


def save(
    path: Path,
    inputs: Mapping[str, tuple[tuple[Any, ...], str]],
    body: Body,
    opset: str = "iOS17",
    convert_inputs: list[Any] | None = None,
    passes: bool = False,
) -> Path:
    """Save a program of one function.

    inputs: name -> (shape, "fp32" | "fp16" | "int32"). body: its variables by name -> the output variable, or a tuple of them.
    Without `passes` the program is written as it is built: no rewriting, no change of precision.
    """
    import coremltools as ct
    from coremltools.converters.mil.mil import Function, Program, types

    placeholder = builder().placeholder
    specs = {name: placeholder(shape, types.string_to_builtin(dtype)) for name, (shape, dtype) in inputs.items()}
    target = getattr(ct.target, opset)
    with Function(specs, opset_version=target) as function:
        outputs = body(dict(function.inputs))
        function.set_outputs(list(outputs) if isinstance(outputs, list | tuple) else [outputs])
    program = Program()
    program.add_function("main", function)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        inputs=convert_inputs,
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.DEFAULT if passes else ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.save(str(path))
    return path


def model_file(path: Path) -> Path:
    return path / "Data" / "com.apple.CoreML" / "model.mlmodel"


def weight_file(path: Path) -> Path:
    return path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"


def read(path: Path) -> Any:
    """The model protobuf of a package."""
    model = model_pb2().Model()
    model.ParseFromString(model_file(path).read_bytes())
    return model


def main_function(model: Any) -> Any:
    return model.mlProgram.functions["main"]


def main_block(model: Any) -> Any:
    function = main_function(model)
    return function.block_specializations[function.opset]


def operation(model: Any, output: str) -> Any:
    """The operation that computes a value."""
    return next(op for op in main_block(model).operations if op.outputs and op.outputs[0].name == output)


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """The model protobuf of a package, written back afterwards."""
    model = read(path)
    yield model
    model_file(path).write_bytes(model.SerializeToString(deterministic=True))


def half(values: Any) -> np.ndarray:
    """Rounded to float16, held as float32."""
    return np.asarray(values).astype(np.float16).astype(np.float32)
