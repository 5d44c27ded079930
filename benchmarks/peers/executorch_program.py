"""Running a `.pte` in this process, on a fixed number of threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latency.contender import Encode


def load_program(path: Path, threads: int) -> Encode:
    """Load the method `forward`, on a pool of `threads`."""
    import torch
    from executorch.runtime import Runtime, Verification

    from edgeclip.reference.executorch_library import load_library, set_threads

    set_threads(load_library(), threads)
    method = Runtime.get().load_program(path, verification=Verification.InternalConsistency).load_method("forward")
    if method is None:
        raise RuntimeError(f"{path}: no method 'forward'")

    def encode(sample: np.ndarray) -> np.ndarray:
        (output,) = method.execute([torch.from_numpy(sample)])
        return np.asarray(output.numpy())

    return encode
