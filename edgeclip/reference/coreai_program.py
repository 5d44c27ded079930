"""A Core AI program in this process, which it may crash: for processes that exist for it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.spec import TensorSpec


class CoreAIProgram:
    """One tower, compiled for the portable runtime and loaded. Raises RuntimeError for what is not a tower's program.

    The package's interface is asynchronous, and a model lives as long as its context: so each has an event loop of its own.
    """

    def __init__(self, path: Path) -> None:
        from coreai.authoring import AIModelAsset

        self._loop = asyncio.new_event_loop()
        self._stack = contextlib.AsyncExitStack()
        with _errors():
            executable = AIModelAsset.load(path).executable()
            model = self._wait(self._stack.enter_async_context(executable))
            if len(model.function_names) != 1:
                raise RuntimeError(f"it has {len(model.function_names)} functions, not 1")
            self._function = model.load_function(model.function_names[0])
        described = self._function.desc
        if described.state_names:
            raise RuntimeError(f"it keeps state: {', '.join(described.state_names)}")
        inputs = [_stated(name, described.input_descriptor(name)) for name in described.input_names]
        outputs = [_stated(name, described.output_descriptor(name)) for name in described.output_names]
        if len(inputs) != 1 or len(outputs) != 1:
            raise RuntimeError(f"it has {len(inputs)} inputs and {len(outputs)} outputs, not 1 and 1")
        self.input, self.output = inputs[0], outputs[0]

    def run(self, given: np.ndarray) -> np.ndarray:
        """One inference, of an array as `input` states it -> one as `output` states it."""
        from coreai.runtime import NDArray

        if given.shape != self.input.shape or given.dtype != self.input.dtype:
            raise RuntimeError(f"its input is {_plain(self.input)}, not {given.dtype} {list(given.shape)}")
        with _errors():
            results = self._wait(self._function({self.input.name: NDArray(given)}))
            return np.array(results[self.output.name].numpy())  # a copy: the runtime owns the memory

    def close(self) -> None:
        """Free the model."""
        self._wait(self._stack.aclose())
        self._loop.close()

    def _wait(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)


def check_interface(program: CoreAIProgram, given: TensorSpec, result: TensorSpec) -> None:
    """Raise RuntimeError where a program's input or output is not as a manifest states it."""
    for name, found, stated in (("input", program.input, given), ("output", program.output, result)):
        if found != stated:
            raise RuntimeError(f"its {name} is {_plain(found)}, and the manifest states {_plain(stated)}")


def _stated(name: str, descriptor: Any) -> TensorSpec:
    return TensorSpec(name=name, shape=tuple(descriptor.shape), dtype=descriptor.dtype)


def _plain(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.dtype} {list(tensor.shape)}"


@contextlib.contextmanager
def _errors() -> Any:
    """What the package raises for a file that it cannot read, as RuntimeError: MLIRError is an exception of its own kind."""
    from coreai._compiler.ir import MLIRError

    try:
        yield
    except MLIRError as error:
        raise RuntimeError(f"{error}") from error
