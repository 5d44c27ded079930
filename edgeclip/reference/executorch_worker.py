"""The process that loads and runs `.pte` programs; `executorch_runtime` starts it.

LOAD takes a method's name, a line break and a path; TELL gives the names of the delegates that can run here, one a line.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import Any

from edgeclip.reference.worker import FREE, LOAD, TELL, Message, processors, serve


def main() -> None:
    """Serve until stdin ends."""
    methods: dict[int, Any] = {}

    def prepare() -> Callable[[Message], bytes]:
        import torch

        torch.set_num_threads(processors())
        return lambda request: _serve(request, methods)

    serve(prepare)


def _serve(request: Message, methods: dict[int, Any]) -> bytes:
    import numpy as np
    import torch

    if request.code == LOAD:
        library = _library()
        name, _, path = request.content.decode().partition("\n")
        program = library._load_program(path, program_verification=library.Verification.InternalConsistency)
        method = program.load_method(name)
        if method is None:
            raise RuntimeError(f"it has no method {name!r}")
        methods[request.program] = method
        return b""
    if request.code == TELL:
        library = _library()
        return "\n".join(name for name in library._get_registered_backend_names() if library._is_available(name)).encode()
    if request.code == FREE:
        methods.pop(request.program, None)
        return b""
    given = np.load(io.BytesIO(request.content), allow_pickle=False)
    outputs = methods[request.program]([torch.from_numpy(given)])
    if len(outputs) != 1:
        raise RuntimeError(f"it has {len(outputs)} outputs, not 1")
    content = io.BytesIO()
    np.save(content, outputs[0].numpy(), allow_pickle=False)
    return content.getvalue()


def _library() -> Any:
    from edgeclip.reference.executorch_library import load_library

    return load_library(["OpenvinoBackend"] if importlib.util.find_spec("openvino") else [])
