"""CLIP transformers pruned by head, hidden unit and width: every layer has its own shape (TinyCLIP's auto inheritance).

A row's `architecture` holds for each tower `width`, and for each layer `heads` and `mlp_widths`; None where a layer has no
attention or perceptron left, 0 where only its bias is. Which they are is nowhere published but in a checkpoint, so the shape of
a file is read from its tensors (`fitted`), and what seeded weights fill is a shape of the published size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeclip.spec import ModelSpec, ShapeOf

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

_BLOCKS = {"vision_cfg": "visual.transformer.resblocks", "text_cfg": "text.transformer.resblocks"}
_WIDTH_OF = {"vision_cfg": "visual.conv1.weight", "text_cfg": "text.ln_final.weight"}
_WIDEST = 2**15  # what a file may claim; a shape beyond is then reported as one that does not fit


def build(spec: ModelSpec) -> EncoderPair:
    """open_clip's towers around pruned blocks, with fresh weights."""
    from edgeclip.models import openclip
    from edgeclip.models.pruned_blocks import PrunedBlock

    vision, text = (_of_tower(spec, tower) for tower in _BLOCKS)
    around = {
        "vision_cfg": {**vision["rest"], "width": vision["width"], "head_width": vision["width"], "layers": 1},
        "text_cfg": {**text["rest"], "width": text["width"], "heads": 1, "layers": 1},
    }
    pair = openclip.build(replace(spec, architecture=around))
    for encoder, tower in ((pair.visual, vision), (pair.text, text)):
        layers = zip(tower["heads"], tower["mlp_widths"], strict=True)
        blocks = [PrunedBlock(tower["width"], heads, tower["head_width"], mlp_width) for heads, mlp_width in layers]
        resblocks = encoder.get_submodule("transformer.resblocks")
        del resblocks[:]  # type: ignore[operator]  # a ModuleList
        resblocks.extend(blocks)  # type: ignore[operator]
    return pair


def _of_tower(spec: ModelSpec, tower: str) -> dict[str, Any]:
    """The parts of a tower's configuration that are ours, and the `rest`, which is open_clip's."""
    rest = dict(spec.architecture[tower])
    return {**{name: rest.pop(name) for name in ("width", "heads", "head_width", "mlp_widths")}, "rest": rest}


def fitted(spec: ModelSpec, shape_of: ShapeOf) -> ModelSpec:
    """The row with the widths that a file's tensors have; where the file lacks what tells a width, it stays."""
    return replace(spec, architecture={tower: _fitted(spec.architecture[tower], tower, shape_of) for tower in _BLOCKS})


def _fitted(config: Mapping[str, Any], tower: str, shape_of: ShapeOf) -> dict[str, Any]:
    blocks = [f"{_BLOCKS[tower]}.{number}" for number in range(len(config["heads"]))]
    rows = [_rows(shape_of, f"{block}.attn.in_proj_weight", f"{block}.attn.out_proj.bias") for block in blocks]
    width = (shape_of(_WIDTH_OF[tower]) or (config["width"],))[0]
    return {
        **config,
        "width": min(max(width, 1), _WIDEST),
        "heads": tuple(None if count is None else count // (3 * config["head_width"]) for count in rows),
        "mlp_widths": tuple(_rows(shape_of, f"{block}.mlp.c_fc.weight", f"{block}.mlp.c_proj.bias") for block in blocks),
    }


def _rows(shape_of: ShapeOf, weight: str, last_bias: str) -> int | None:
    """How many rows the first weight has; 0 if only the last bias is left, None if nothing is."""
    shape = shape_of(weight)
    if shape:
        return min(shape[0], _WIDEST)
    return 0 if shape_of(last_bias) else None
