"""PyTorch itself, eager."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latency.case import Case
from latency.contender import Contender, Encode


def _load(case: Case, folder: Path, threads: int) -> Encode:
    import torch

    torch.set_num_threads(threads)
    tower = case.fused()

    def encode(sample: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(tower(torch.from_numpy(sample)).numpy())

    return encode


CONTENDERS = (Contender(name="torch", label="torch eager fp32", packages=("torch",), load=_load),)
