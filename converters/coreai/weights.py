"""Weights of an `AIProgram`: which tensor of the tower each was made from, and the forms that it can be stored in."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.export import ExportedProgram

from converters.coreai.asset import constants
from converters.coreai.compression import BITS, FLOAT, FORMS, SMALLEST
from converters.coreai.stored import decompressed
from edgeclip.errors import ConversionError

_MOST_LEFT = 0.05  # of the values of large constants that the passes may leave in float16


class Weight:
    """A constant that coreai-opt compresses. source: the tensor of the tower; name: the same, as manifests write it.

    The program has it in float16 until `store` is called.
    """

    def __init__(self, source: str, constant: Any) -> None:
        self.source = source
        self.name = re.sub(r"_weight$", "", source.replace(".", "_"))
        self.values = math.prod(constant.results[0].type.shape)
        self.forms: tuple[str, ...] = (FLOAT,)
        self._constant = constant
        self._stored: dict[str, Any] = {FLOAT: constant.results[0]}
        self._used = FLOAT
        self._decompressed: dict[str, np.ndarray] = {}

    def size_bytes(self, form: str) -> int:
        """As it is stored, without scales of channels."""
        return math.ceil(self.values * BITS[form] / 8)

    def offer(self, forms: Sequence[str]) -> bool:
        """Find those of the forms, from the smallest to float, that it can have. Whether there is one besides float."""
        first = next(number for number, form in enumerate(forms) if form == FLOAT or self._compress(form))
        self.forms = tuple(forms[first:])
        return self.forms != (FLOAT,)

    def decompressed(self, form: str) -> np.ndarray:
        """What the program computes with."""
        if form not in self._decompressed:
            self._decompressed[form] = decompressed(self._value(form))
        return self._decompressed[form]

    def store(self, form: str) -> None:
        """Let the program read this form of it."""
        value = self._value(form)
        if form != self._used:
            self._stored[self._used].replace_all_uses_with(value)
            self._used = form

    def _value(self, form: str) -> Any:
        if form not in self._stored and not self._compress(form):
            raise ConversionError(f"coreai-opt does not store {self.name} as {form}; -v shows why")
        return self._stored[form]

    def _compress(self, form: str) -> bool:
        """Whether a pass takes it; then `_stored` has what comes of it. Which axis is which, passes tell by its readers."""
        self.store(FLOAT)
        plain = self._constant.results[0]
        reader, place = next((use.owner, use.operand_number) for use in plain.uses)
        for step in FORMS[form]:
            step.apply(_Only(self._constant))
            found = reader.operands[place]
            if found != plain:
                self._stored[form] = found
                found.replace_all_uses_with(plain)
                return True
        return False


class _Only:
    """One constant, for a pass that compresses all of a program: it walks `_module._mlir_module.operation`."""

    def __init__(self, constant: Any) -> None:
        self._module = self._mlir_module = self.operation = self
        self._constant = constant

    def walk(self, visit: Callable[[Any], Any]) -> None:
        visit(self._constant)


def find_weights(program: Any, converted: ExportedProgram, forms: Sequence[str]) -> tuple[Weight, ...]:
    """The weights of an `AIProgram` that can have any of the forms, in its order. converted: what it was made from.

    A constant and its tensor are known by their values. Those of one value a row are left alone: scales are no smaller.
    Raises ConversionError where much of the program would be left in float16.
    """
    names = defaultdict(list)
    for source, tensor in {**converted.state_dict, **converted.constants}.items():
        if isinstance(tensor, Tensor) and tensor.numel() > SMALLEST and tensor.is_floating_point():
            names[_key(tensor.detach().numpy())].append(source)
    found, left, total = [], 0, 0
    for constant in _large_floats(program):
        total += math.prod(constant.results[0].type.shape)
        sources = names[_key(decompressed(constant.results[0]))]
        weight = Weight(sources.pop(0), constant) if sources else None
        if weight is not None and math.prod(constant.results[0].type.shape[1:]) > 1 and weight.offer(forms):
            found.append(weight)
        else:
            left += math.prod(constant.results[0].type.shape)
    if left > _MOST_LEFT * total:
        raise ConversionError(f"coreai-opt leaves {100 * left / total:.0f} % of the weights in float16; -v shows why")
    return tuple(found)


def _key(values: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return values.shape, hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()


def _large_floats(program: Any) -> list[Any]:
    return [
        operation
        for operation in constants(program._module._mlir_module)
        if str(operation.results[0].type.element_type) in ("f16", "f32")
        and math.prod(operation.results[0].type.shape) > SMALLEST
        and any(True for _ in operation.results[0].uses)
    ]
