"""What each mode of the interpreter leaves of a number, and what it claims.

fp32  every operation in float32, whatever the program declares: shows that the graph is right.
fp16  math in float32, every operation's result rounded to its declared type: shows what float16 storage between
      operations costs. Devices may keep more bits inside fused operations or fewer inside sums; neither is modelled.
ane   everything in float16, whatever the program declares: inputs, weights and every operation's results are rounded, and
      sums of products keep their running total in float16 (see `narrow`). A harsher model, of a unit that has nothing
      wider, as the Neural Engine is taken to be: Apple does not document its arithmetic, and no device computes exactly
      so. What is accurate here is not in need of float32; what is not deserves a look on a device.

Apple's portable Core AI runtime (coreai-core 1.0.0b3, Linux) was held against these, operation by operation on its own operands
(`benchmarks/coreai_half.py`, one sample of tinyclip-demo in the plain layout, of mobileclip-demo's image tower in the other):

linear, matmul    its results are, to the bit, those of `ane` with PRODUCTS = 1: the running total is rounded to float16 after
                  every product. Errors 1e-3 to 3e-3; `ane` as it is 3e-4 to 7e-4, `fp16` 2e-4 to 3e-4.
convolution       as if summed in something wider and rounded, then the bias added and that rounded: 99.6 % are those of
                  `fp16` without a bias (8x8), all those of `ane` with one and no more than PRODUCTS products (3x3).
softmax, mean     those of `fp16`; so are sigmoid, and sums and products of elements, which are the same in all modes.
layer norm, gelu  two thirds are those of `fp16`; error 4e-4 and 3e-4 to its 2e-4.
attention         as one operation, error 2e-3; about a quarter are those of any one mode. Where it rounds was not found.

So in linear layers that runtime loses more than even `ane` does, and elsewhere about what `fp16` does: its embeddings have
cosines of 0.999994, 0.999997 and 0.9999992 with torch's, where `fp16` has at least 0.9999995 and `ane` 0.9999992. Neither mode
is a bound on what hardware may do. Errors are root mean squares over those of the result; no device was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from edgeclip.reference.mil.steps import Step
from edgeclip.reference.mil.values import TensorType

Mode = Literal["fp32", "fp16", "ane"]


@dataclass(frozen=True)
class Precision:
    """A mode's rules. rounds_declared: values declared FLOAT16 are rounded to it; rounds_all: all floats are."""

    rounds_declared: bool = False
    rounds_all: bool = False

    def kept(self, value: Tensor, declared: TensorType) -> Tensor:
        """What is left of an input, a result, or a decompressed or replaced constant."""
        rounds = self.rounds_all or (self.rounds_declared and declared.dtype == "FLOAT16")
        return rounded(value) if rounds else value

    def compute(self, step: Step, values: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """A step's results as the mode leaves them."""
        return tuple([self.kept(value, declared) for (_, declared), value in zip(step.outputs, step.run(values), strict=True)])

    def operand(self, constant: Tensor) -> Tensor:
        """What an operation gets of a constant tensor."""
        return rounded(constant) if self.rounds_all else constant


MODES: dict[Mode, Precision] = {
    "fp32": Precision(),
    "fp16": Precision(rounds_declared=True),
    "ane": Precision(rounds_declared=True, rounds_all=True),
}


def rounded(value: Tensor) -> Tensor:
    """Floats as float16 holds them, in float32; beyond its range infinite. Other values as they are."""
    return value.half().float() if value.is_floating_point() else value
