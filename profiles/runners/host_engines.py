"""What runs an artifact in a worker: for each runtime (`plugins.ENGINES`), what to import beforehand and how to load.

`load` gives a function that runs one inference and returns its output as it is, so that nothing but the inference is timed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeclip.errors import NotRunnableError
from edgeclip.plugins import ENGINES, RUNTIMES
from profiles.runners.host_messages import Job

if TYPE_CHECKING:
    import numpy as np

Infer = Callable[[], Any]  # -> an array of float32, of whatever library


@dataclass(frozen=True)
class Engine:
    """targets: whose artifacts it runs; none: it runs what they were made from, and loads no file.

    preload: import the libraries. prepare: settings that are no part of loading.
    """

    targets: tuple[str, ...]
    preload: Callable[[], object]
    prepare: Callable[[Job], None]
    load: Callable[[Job], Infer]
    threaded: bool = True  # whether it can be told a number of threads
    reference: bool = False  # its times are no speed

    @property
    def has_file(self) -> bool:
        """Whether there is something to load."""
        return bool(self.targets)


def imports(*names: str) -> Callable[[], object]:
    """Imports modules when it is called."""
    return lambda: [importlib.import_module(name) for name in names]


def sample(job: Job) -> np.ndarray:
    """(1, ...) as the artifact's input is stated: ids as a short text has them, or noise between 0 and 1."""
    import numpy as np

    if job.tower == "text":
        return np.array([job.ids], np.int32)
    return np.random.default_rng(0).random(job.given.shape, np.float32)


def _prepare_executorch(job: Job) -> None:
    from edgeclip.reference.executorch_library import load_library, set_threads

    library = load_library(job.delegates)
    lacking = [name for name in job.delegates if not library._is_available(name)]
    if lacking:
        raise NotRunnableError(f"the ExecuTorch runtime that is installed here has no {', '.join(lacking)}")
    if job.threads is not None:
        set_threads(library, job.threads)


def _load_executorch(job: Job) -> Infer:
    import torch

    from edgeclip.reference.executorch_library import load_library

    library = load_library(job.delegates)
    check = library.Verification.InternalConsistency
    method = library._load_program(job.path, program_verification=check).load_method(job.method)
    given = [torch.from_numpy(sample(job))]

    def infer() -> Any:
        (output,) = method(given)
        return output

    return infer


def _torch_threads(job: Job) -> None:
    import torch

    if job.threads is not None:
        torch.set_num_threads(job.threads)


def _import_original() -> None:
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    imports("open_clip", "edgeclip.models.originals", "numpy.random")()  # a loader would import the first at its first model


def _load_torch(job: Job) -> Infer:
    import torch

    from edgeclip.manifest import Bundle
    from edgeclip.models.originals import load_original
    from edgeclip.models.towers import build_tower

    model = load_original(Bundle.open(Path(job.bundle)).manifest)
    tower = build_tower(model.pair, model.spec, job.tower)
    given = torch.from_numpy(sample(job))

    def infer() -> Any:
        with torch.inference_mode():
            return tower(given)

    infer.weight_bytes = sum(p.numel() * p.element_size() for p in tower.parameters())  # type: ignore[attr-defined]
    return infer


def _load_by_runtime(job: Job) -> Infer:
    """Through the class that `verify` and `classify` use, which checks the hash once more."""
    from edgeclip.manifest import Bundle

    bundle = Bundle.open(Path(job.bundle))
    artifact, runtime = bundle.manifest.artifacts[job.index], RUNTIMES[job.runtime].load()
    runner = runtime.open(bundle, artifact, runtime.modes(artifact.scheme)[0])
    given = sample(job)
    return lambda: runner.encode(given)


def _import_executorch() -> None:
    from edgeclip.reference.executorch_library import load_library

    load_library()
    imports("numpy.random")()  # for samples


EXECUTORCH = Engine(("executorch",), _import_executorch, _prepare_executorch, _load_executorch)
COREML = Engine(
    ("coreml",),
    imports("coremltools", "edgeclip.reference.coreml_runtime", "numpy.random"),
    lambda job: None,
    _load_by_runtime,
    threaded=False,
)
MIL = Engine(
    ("coreml",),
    imports("coremltools", "edgeclip.reference.mil.runtime", "numpy.random"),
    _torch_threads,
    _load_by_runtime,
    reference=True,
)
TORCH = Engine((), _import_original, _torch_threads, _load_torch)


def engine(runtime: str) -> Engine:
    """That of a runtime."""
    found: Engine = ENGINES[runtime].load()
    return found


def engines() -> dict[str, Engine]:
    """All, by runtime; what they import comes later."""
    return {name: engine(name) for name in ENGINES}
