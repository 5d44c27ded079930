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
    test_mil_ops_creation,
    test_mil_ops_elementwise,
    test_mil_ops_lookup,
    test_mil_ops_products,
    test_mil_ops_quantization,
    test_mil_ops_shape,
    test_mil_ops_unary,
)
from tests.reference.oracle import Case, agree, has_arrays
from tests.reference.packages import builder, save

_RUNNING: tuple[ModuleType, ...] = (
    test_mil_ops_convolution,
    test_mil_ops_creation,
    test_mil_ops_elementwise,
    test_mil_ops_lookup,
    test_mil_ops_products,
    test_mil_ops_quantization,
    test_mil_ops_shape,
    test_mil_ops_unary,
)
_FAMILIES = (*_RUNNING, test_mil_ops_constexpr)
_WEIGHTS = (
    "weight",
    "bias",
    "mean",
    "variance",
    "gamma",
    "beta",
    "scale",
    "zero_point",
    "alpha",
)  # the format wants them constant


def test_every_operation_has_a_case() -> None:
    assert {case.op for family in _FAMILIES for case in family.CASES} == set(operations())


@pytest.mark.parametrize("name", sorted(operations()))
def test_inputs_are_named_as_the_format_names_them(name: str) -> None:
    """The parameters are the inputs that coremltools' versions of the operation take, and none is required that one lacks."""
    import coremltools as ct
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    versions = SSAOpRegistry.core_ops[name]
    specs = [cls.input_spec.input_types for version, cls in versions.items() if version <= ct.target.iOS18]
    named = {frozenset(spec): {key for key, kind in spec.items() if not kind.optional} for spec in specs}
    forms = operations()[name].forms
    if len(forms) == 1:
        assert set(forms[0].parameters) == {key for spec in specs for key in spec}
        assert forms[0].required <= set.intersection(*named.values())
    else:
        assert {frozenset(form.parameters): form.required for form in forms} == named


def _tensors(case: Case) -> dict[str, tuple[np.ndarray, ...]]:
    """The inputs that become the program's inputs."""
    return {
        name: tuple(map(np.asarray, value)) if isinstance(value, tuple) else (np.asarray(value),)
        for name, value in case.inputs.items()
        if has_arrays(value) and name not in _WEIGHTS
    }


def _fits_a_program(case: Case) -> bool:
    """Programs take and give float32 and int32 tensors, of rank 1 and more."""
    arrays = [array for parts in _tensors(case).values() for array in parts]
    narrow = {case.inputs.get("dtype"), case.inputs.get("output_dtype")} & {"int8", "uint8", "int16", "uint16", "fp16"}
    typed = all(array.dtype in (np.float32, np.int32) and array.ndim for array in arrays)
    return case.buildable and not narrow and typed


def _save(cases: list[Case], opset: str, path: Path) -> dict[str, np.ndarray]:
    """One program that computes every case from its own inputs; returns these inputs."""
    given = {
        f"x{number}_{name}_{k}": array
        for number, case in enumerate(cases)
        for name, parts in _tensors(case).items()
        for k, array in enumerate(parts)
    }

    def body(variables: dict[str, Any]) -> list[Any]:
        mb, outputs = builder(), []
        for number, case in enumerate(cases):
            inputs = dict(case.inputs)
            for name, parts in _tensors(case).items():
                found = tuple(variables[f"x{number}_{name}_{k}"] for k in range(len(parts)))
                inputs[name] = found if isinstance(case.inputs[name], tuple) else found[0]
            result = getattr(mb, case.op)(**inputs)
            for k, part in enumerate(result if isinstance(result, list | tuple) else [result]):
                part = mb.cast(x=part, dtype="int32") if part.dtype.__name__ == "bool" else part
                outputs.append(mb.identity(x=part, name=f"y{number}_{k}"))
        return outputs

    save(path, {key: (array.shape, _DTYPES[array.dtype.name]) for key, array in given.items()}, body, opset)
    return given


_DTYPES = {"float32": "fp32", "int32": "int32"}


@pytest.mark.parametrize(
    ("family", "opset"),
    [
        pytest.param(family, opset, id=f"{family.__name__.rsplit('_', 1)[1]}-{opset}")
        for family in _RUNNING
        for opset in sorted({case.opset for case in family.CASES})
    ],
)
def test_from_a_saved_package(family: ModuleType, opset: str, tmp_path: Path) -> None:
    """The cases again, with their tensors as the program's inputs and their constants as the file holds them."""
    cases = [case for case in family.CASES if case.opset == opset and _fits_a_program(case)]
    given = _save(cases, opset, tmp_path / "cases.mlpackage")
    got = MilModel.load(tmp_path / "cases.mlpackage", "fp32").run(given)
    for number, case in enumerate(cases):
        answer = case.answer
        wanted = [np.asarray(part) for part in (answer if isinstance(answer, tuple) else (answer,))]
        wanted = [part.astype(np.int32) if part.dtype == np.bool_ else part for part in wanted]
        agree(tuple(got[f"y{number}_{k}"] for k in range(len(wanted))), tuple(wanted), case.tolerance)
