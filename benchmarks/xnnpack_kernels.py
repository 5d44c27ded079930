"""What XNNPACK's matrix products do on this machine in float32 and in int8: `python benchmarks/xnnpack_kernels.py`.

A stack of linear layers as wide as those of the towers is lowered and run by ExecuTorch, in float32, with int8 weights and
inputs rounded as they come (`w8`), and with int8 inputs and results (`w8a8`). How many multiply-adds a second each does is what
int8 can gain at most: on x86 without VNNI it is next to nothing, XNNPACK widens int8 to int16 there.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from converters.executorch.backends import BACKENDS
from converters.executorch.lowering import lower
from converters.executorch.passes.editor import Editor
from converters.executorch.quantization.pairs import Range
from converters.executorch.quantization.plan import carry_out, integers, ranged
from converters.executorch.quantization.units import find_units
from latency.contender import Encode
from latency.rounds import interleave
from peers.executorch_program import load_program

# tokens, width, hidden width: of TinyCLIP's image and MobileCLIP-S0's text tower, and of a stage of MobileCLIP-S0's image tower
SHAPES = ((197, 256, 1024), (77, 512, 2048), (256, 256, 768))
FORMS = ("fp32", "w8", "w8a8")
_LAYERS = 6
_RANGE = Range(0.03, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=30, help="turns of each form (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    args = parser.parse_args()
    print("".join(f"{title:>18}" for title in ("tokens, in, out", *(f"{form} GMAC/s" for form in FORMS), "w8", "w8a8")))
    for shape in SHAPES:
        rates = _rates(shape, args.rounds, args.threads)
        numbers = [f"{rates[form] / 1e9:.1f}" for form in FORMS] + [f"x{rates[form] / rates['fp32']:.2f}" for form in FORMS[1:]]
        print("".join(f"{text:>18}" for text in (", ".join(map(str, shape)), *numbers)))


def _rates(shape: tuple[int, int, int], rounds: int, threads: int) -> dict[str, float]:
    """Multiply-adds a second in each form, from medians of interleaved runs."""
    tokens, width, hidden = shape
    sample = np.random.default_rng(0).standard_normal((1, tokens, width), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        programs = {form: _program(form, shape, Path(folder), threads) for form in FORMS}
        turns = interleave(programs, sample, rounds, runs=3)
    medians = {form: statistics.median(turn.latency_ms for turn in turns[form]) / 1e3 for form in FORMS}
    return {form: _LAYERS * tokens * width * hidden / seconds for form, seconds in medians.items()}


def _program(form: str, shape: tuple[int, int, int], folder: Path, threads: int) -> Encode:
    tokens, width, hidden = shape
    torch.manual_seed(0)
    layers = [nn.Linear(*((width, hidden) if number % 2 == 0 else (hidden, width))) for number in range(_LAYERS)]
    example = (torch.zeros(1, tokens, width),)
    editor = Editor(torch.export.export(nn.Sequential(*layers).eval(), example, strict=False))
    plan = dict.fromkeys(find_units(editor), form)
    assert len(plan) == _LAYERS
    carry_out(editor, plan, dict.fromkeys(ranged(editor, integers(editor, plan)), _RANGE))
    content = lower({"forward": (editor.finish(example), BACKENDS["xnnpack"].partitioners(form))}).content
    path = folder / f"{form}.pte"
    path.write_bytes(content)
    return load_program(path, threads)


if __name__ == "__main__":
    main()
