"""The original model in PyTorch, unfused, in float32: what every artifact is compared with."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgeclip.manifest import Artifact, Bundle
from edgeclip.models.originals import load_original
from edgeclip.models.towers import build_tower
from edgeclip.models.weights import LoadedModel
from edgeclip.reference.runtime import Runner, Runtime
from edgeclip.spec import Tower


class TorchRunner(Runner):
    """A tower of the original."""

    def __init__(self, tower: nn.Module) -> None:
        self._tower = tower

    @torch.inference_mode()
    def encode(self, batch: np.ndarray) -> np.ndarray:
        rows = [self._tower(torch.from_numpy(row[None])) for row in np.ascontiguousarray(batch)]
        return torch.cat(rows).numpy()


class TorchRuntime(Runtime):
    """Runs the original in place of an artifact of the same tower."""

    name = "torch"

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        return original_runner(load_original(bundle.manifest), artifact.tower)


def original_runner(model: LoadedModel, tower: Tower) -> TorchRunner:
    """A runner for one tower of a loaded model."""
    return TorchRunner(build_tower(model.pair, model.spec, tower))


RUNTIME = TorchRuntime()
