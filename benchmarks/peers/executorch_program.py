"""Running a `.pte` in this process, on a fixed number of threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latency.contender import Encode


def load_program(path: Path, threads: int) -> Encode:
    """Load the method `forward`.

    ExecuTorch sizes its pool by the processor's performance cores when it is first used; `_unsafe_reset_threadpool` is the one
    way to another number, unsafe while programs run, so it is called only where the number differs: before the first is loaded.
    """
    import torch
    from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
    from executorch.kernels import quantized  # noqa: F401 (registers the kernels of quantized token tables)
    from executorch.runtime import Runtime, Verification

    if _threadpool_get_thread_count() != threads:
        _unsafe_reset_threadpool(threads)
    if _threadpool_get_thread_count() != threads:
        raise RuntimeError(f"the pool has {_threadpool_get_thread_count()} threads, not {threads}")
    method = Runtime.get().load_program(path, verification=Verification.InternalConsistency).load_method("forward")
    if method is None:
        raise RuntimeError(f"{path}: no method 'forward'")

    def encode(sample: np.ndarray) -> np.ndarray:
        (output,) = method.execute([torch.from_numpy(sample)])
        return np.asarray(output.numpy())

    return encode
