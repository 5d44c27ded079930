"""ExecuTorch's native library, imported quickly, and its pool of threads."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Any

_NATIVE = "executorch.extension.pybindings._portable_lib"
_WRAPPER = "executorch.extension.pybindings.portable_lib"
_FINDS_ITS_LIBRARY = "OpenvinoBackend"  # by a path that the wrapper puts into the environment


def load_library(delegates: Collection[str] = ()) -> Any:
    """The module with `_load_program`, and the kernels of quantized token tables registered.

    ExecuTorch 1.4's own wrapper of it adds warnings, and for that imports all of the exporter: 10 s where torch takes 2.
    """
    import torch  # noqa: F401 (the library's dependencies are torch's)
    from executorch.kernels import quantized  # noqa: F401 (registers the kernels)

    return importlib.import_module(_WRAPPER if _FINDS_ITS_LIBRARY in delegates else _NATIVE)


def set_threads(library: Any, threads: int) -> None:
    """Set the number of threads of delegates and kernels, before the first program is loaded.

    ExecuTorch sizes its pool by the processor's performance cores when it is first used; `_unsafe_reset_threadpool` is the one
    way to another number, unsafe while programs run, so it is called only where the number differs.
    """
    if library._threadpool_get_thread_count() != threads:
        library._unsafe_reset_threadpool(threads)
    if library._threadpool_get_thread_count() != threads:
        raise RuntimeError(f"the pool has {library._threadpool_get_thread_count()} threads, not {threads}")
