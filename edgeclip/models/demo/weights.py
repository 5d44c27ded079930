"""Reading and writing demo weights.

A file is safetensors in OpenCLIP's names: matrices and kernels in float16, vectors in float32. The token table has 49408
rows, of which training touches a few hundred; only those are stored (`token_rows`, `token_values`), and the others are their
initial values, drawn again on loading. Drawn, not zero: a converter that is one row off must change the result.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgeclip.errors import InputError

_TABLE = "text.token_embedding.weight"
_TABLE_SEED = 1
_VOCABULARY = 49408
_TABLE_STD = 0.02


def initial_token_table(rows: int, width: int) -> Tensor:
    """The token table before training, (rows, width) float32.

    NumPy's legacy generator, because its stream is frozen (NEP 19): the same numbers on every machine and version.
    """
    values = np.random.RandomState(_TABLE_SEED).standard_normal((rows, width))
    return torch.from_numpy((_TABLE_STD * values).astype(np.float32))


def save_demo_weights(pair: nn.Module, path: Path) -> Path:
    """Write the weights of a trained pair, of the token table only the rows that training changed."""
    tensors = {}
    for name, value in pair.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        tensors[name] = value.half().contiguous() if value.ndim > 1 else value.float().contiguous()
    table = tensors.pop(_TABLE)
    initial = initial_token_table(*table.shape).half()
    rows = (table != initial).any(dim=1).nonzero().reshape(-1)
    tensors["token_rows"], tensors["token_values"] = rows.to(torch.int32), table[rows].contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "edgeclip.demo/1"})
    return path


def load_demo_weights(path: Path) -> dict[str, Tensor]:
    """Read a demo file into an OpenCLIP state dict, float32."""
    try:
        tensors = {name: value.float() for name, value in load_file(path).items()}
        rows, values = tensors.pop("token_rows").long(), tensors.pop("token_values")
    except (SafetensorError, OSError, KeyError) as error:
        raise InputError(f"{path}: broken demo weights ({error}); reinstall edgeclip") from error
    table = initial_token_table(_VOCABULARY, values.shape[1]).half().float()
    table[rows] = values
    return {**tensors, _TABLE: table}
