"""What runs in the emulated Python: the work of `executorch_worker`, without the parts of torch that are not needed.

Started as a script, with the folder of the wheels and the path of `worker.py` as arguments, and
"marked" where inferences are marked for counting; nothing of edgeclip can
be imported here. ExecuTorch's Python package imports its compiler, minutes of emulation; so its native module is used directly.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import os
import sys
import types
from pathlib import Path
from typing import Any

# torch's wheel is built for CUDA, whose libraries are empty here: functions are looked up when they are called, if ever.
_LAZY = os.RTLD_LAZY
_MARK = 0x45434C50  # as in `count.c`
# What `torch._C` has for more than one machine; without it, `import torch` leaves out what would call NCCL.
_DISTRIBUTED = ("_c10d_init", "_rpc_init", "_faulty_agent_init", "_dist_autograd_init")


def import_torch(site: Path) -> Any:
    """torch, without CUDA and without `torch.distributed`."""
    sys.setdlopenflags(_LAZY)
    package = types.ModuleType("torch")  # stands for the package while its native part is imported alone
    package.__path__ = [str(site / "torch")]
    sys.modules["torch"] = package
    native = importlib.import_module("torch._C")
    for name in _DISTRIBUTED:
        if hasattr(native, name):
            delattr(native, name)
    del sys.modules["torch"]
    sys.modules["torch._meta_registrations"] = types.ModuleType("torch._meta_registrations")  # a fifth of the import's time
    return importlib.import_module("torch")


class Programs:
    """Loads and runs programs as requests ask."""

    def __init__(self, worker: Any, torch: Any, site: Path, marked: bool) -> None:
        self._worker, self._torch, self._marked = worker, torch, marked
        self._runtime: Any = importlib.import_module("executorch.extension.pybindings._portable_lib")
        (kernels,) = (site / "executorch/kernels/quantized").glob("*quantized_ops_aot_lib.so")
        ctypes.CDLL(str(kernels))  # registers the kernels of quantized token tables
        self._loaded: dict[int, tuple[Any, Any]] = {}

    def serve(self, request: Any) -> bytes:
        """The result of one request. Raises what the runtime raises."""
        answer: bytes = self._answers()[request.code](request.program, request.content)
        return answer

    def _answers(self) -> dict[int, Any]:
        worker = self._worker
        return {worker.LOAD: self._load, worker.RUN: self._run, worker.FREE: self._free, worker.TELL: self._delegates}

    def _load(self, number: int, content: bytes) -> bytes:
        name, _, path = content.decode().partition("\n")
        checked = self._runtime.Verification.InternalConsistency
        program = self._runtime._load_program(path, enable_etdump=False, debug_buffer_size=0, program_verification=checked)
        self._loaded[number] = program, program.load_method(name)
        return b""

    def _run(self, number: int, content: bytes) -> bytes:
        import numpy as np

        given = self._torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))
        self._mark(0)
        outputs = self._loaded[number][1]([given])
        self._mark(1)
        if len(outputs) != 1:
            raise RuntimeError(f"it has {len(outputs)} outputs, not 1")
        result = io.BytesIO()
        np.save(result, outputs[0].numpy(), allow_pickle=False)
        return result.getvalue()

    def _mark(self, kind: int) -> None:
        """Tell the counting plugin (`count.c`) what has come, by a system call that fails."""
        if self._marked:
            with contextlib.suppress(OSError):
                os.getpriority(_MARK, kind)

    def _free(self, number: int, content: bytes) -> bytes:
        self._loaded.pop(number, None)
        return b""

    def _delegates(self, number: int, content: bytes) -> bytes:
        names = self._runtime._get_registered_backend_names()
        return "\n".join(name for name in names if self._runtime._is_available(name)).encode()


def main(site: Path, worker_file: Path, marked: bool) -> None:
    """Serve until stdin ends."""
    spec = importlib.util.spec_from_file_location("worker", worker_file)
    assert spec is not None
    assert spec.loader is not None
    worker = importlib.util.module_from_spec(spec)
    sys.modules["worker"] = worker  # its types name it
    spec.loader.exec_module(worker)

    def prepare() -> Any:
        sys.path.insert(0, str(site))
        torch = import_torch(site)
        torch.set_num_threads(worker.processors())
        return Programs(worker, torch, site, marked).serve

    worker.serve(prepare)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "marked" in sys.argv[3:])
