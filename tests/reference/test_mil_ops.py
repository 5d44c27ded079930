"""All operations at once: none without a case, none that the format would not recognise, each also through a saved package."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.ops import operations
from tests.reference import (
    test_mil_ops_constexpr,
    test_mil_ops_convolution,
    test_mil_ops_elementwise,
    test_mil_ops_lookup,
    test_mil_ops_products,
    test_mil_ops_shape,
)
from tests.reference.oracle import Case, agree, has_arrays

_FAMILIES: tuple[ModuleType, ...] = (
    test_mil_ops_constexpr,
    test_mil_ops_convolution,
    test_mil_ops_elementwise,
    test_mil_ops_lookup,
    test_mil_ops_products,
    test_mil_ops_shape,
)
_OPSETS = ("iOS15", "iOS16", "iOS17", "iOS18")


def test_every_operation_has_a_case() -> None:
    assert {case.op for family in _FAMILIES for case in family.CASES} == set(operations())


@pytest.mark.parametrize("name", sorted(operations()))
def test_inputs_are_named_as_the_format_names_them(name: str) -> None:
    """The parameters are the inputs that coremltools' versions of the operation take, and none is required that one lacks."""
    import coremltools as ct
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    versions = SSAOpRegistry.core_ops[name]
    specs = [cls.input_spec.input_types for version, cls in versions.items() if version <= ct.target.iOS18]
    op = operations()[name]
    if name == "constexpr_lut_to_dense":  # two forms with different inputs
        specs = specs[-1:]
    known = {key for spec in specs for key in spec}
    required = set.intersection(*({key for key, kind in spec.items() if not kind.optional} for spec in specs))
    assert set(op.parameters) == known
    assert op.required <= required


def _runs_from_a_package(case: Case) -> bool:
    """Programs take float32 and int32 inputs of rank 1 and more."""
    tensors = [
        part
        for value in case.inputs.values()
        if has_arrays(value)
        for part in (value if isinstance(value, tuple) else (value,))
    ]
    return (
        not case.op.startswith("constexpr_")
        and case.op != "identity"
        and case.inputs.get("dtype") not in ("int8", "uint8", "int16", "uint16", "fp16")
        and "output_dtype" not in case.inputs
        and all(np.asarray(part).dtype in (np.float32, np.int32) and np.ndim(part) for part in tensors)
    )


def _save(cases: list[Case], opset: str, path: Path) -> dict[str, np.ndarray]:
    """One program that computes every case from its own inputs, saved without any optimization; returns its inputs."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb  # noqa: N813
    from coremltools.converters.mil.mil import Function, Program, types

    given: dict[str, np.ndarray] = {}
    for number, case in enumerate(cases):
        for name, value in case.inputs.items():
            if has_arrays(value) and name not in _CONSTANT.get(case.op, ()):
                parts = value if isinstance(value, tuple) else (value,)
                given |= {f"x{number}_{name}_{k}": np.asarray(part) for k, part in enumerate(parts)}
    specs = {
        key: mb.placeholder(value.shape, types.int32 if value.dtype == np.int32 else types.fp32) for key, value in given.items()
    }
    with Function(specs, opset_version=getattr(ct.target, opset)) as function:
        outputs = []
        for number, case in enumerate(cases):
            inputs: dict[str, Any] = {}
            for name, value in case.inputs.items():
                keys = [
                    key
                    for key in given
                    if key.startswith(f"x{number}_{name}_") and key.rsplit("_", 1)[0] == f"x{number}_{name}"
                ]
                found = tuple(function.inputs[key] for key in keys)
                inputs[name] = value if not keys else found if isinstance(value, tuple) else found[0]
            result = getattr(mb, case.op)(**inputs)
            for k, part in enumerate(result if isinstance(result, list | tuple) else [result]):
                is_bool = part.dtype == types.bool
                same = (
                    mb.cast(x=part, dtype="int32", name=f"y{number}_{k}")
                    if is_bool
                    else mb.identity(x=part, name=f"y{number}_{k}")
                )
                outputs.append(same)
        function.set_outputs(outputs)
    program = Program()
    program.add_function("main", function)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, opset),
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.save(str(path))
    return given


# Inputs that the format wants as constants
_CONSTANT = {
    "conv": ("weight", "bias"),
    "linear": ("weight", "bias"),
    "batch_norm": ("mean", "variance", "gamma", "beta"),
    "layer_norm": ("gamma", "beta"),
}


@pytest.mark.slow
@pytest.mark.parametrize("opset", _OPSETS)
@pytest.mark.parametrize("family", _FAMILIES[1:], ids=lambda family: family.__name__.rsplit("_", 1)[1])
def test_from_a_saved_package(family: ModuleType, opset: str, tmp_path: Path) -> None:
    """The cases again, with their tensors as the program's inputs and their constants as the file holds them."""
    cases = [case for case in family.CASES if case.opset == opset and _runs_from_a_package(case)]
    if not cases:
        return
    given = _save(cases, opset, tmp_path / "cases.mlpackage")
    got = MilModel.load(tmp_path / "cases.mlpackage", "fp32").run(given)
    for number, case in enumerate(cases):
        answer = case.answer
        wanted = answer if isinstance(answer, tuple) else (answer,)
        parts = tuple(got[f"y{number}_{k}"] for k in range(len(wanted)))
        agree(parts, tuple(np.asarray(w, np.int32) if np.asarray(w).dtype == np.bool_ else w for w in wanted), case.tolerance)
