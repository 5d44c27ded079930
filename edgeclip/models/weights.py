"""`--weights`: from its text to a loaded model whose provenance is known.

PATH       a checkpoint file in any published layout
hub        the model's published checkpoint
demo       the weights that ship with the demo models
seeded:N   deterministic live weights, for tests
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclip.errors import UsageError
from edgeclip.models.demo import DEMO_LICENCE, FOLDER
from edgeclip.progress import Task
from edgeclip.spec import Licence, ModelSpec

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

GENERATED = Licence(name="none (generated weights)", url="", commercial_use=True)


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights.

    `source` is what the manifest records; `sha256` is of the weights file, or of the tensors where there is none; `space_id`
    names the embedding space: equal tensors give equal ids, whatever file they came from.
    """

    spec: ModelSpec
    pair: EncoderPair
    source: str
    sha256: str
    space_id: str
    licence: Licence


def load_model(spec: ModelSpec, weights: str, task: Task | None = None) -> LoadedModel:
    """Load `spec` with the weights that the text `weights` names; a download reports to `task`."""
    if match := re.fullmatch(r"seeded:(\d{1,9})", weights):
        from edgeclip.models.seeded import seeded_pair

        pair = seeded_pair(spec, int(match[1]))
        return _loaded(spec, pair, weights, tensors_sha256(pair), GENERATED)
    if weights.startswith("seeded"):
        raise UsageError(f"--weights {weights}: give a number, as in seeded:0")
    if weights == "demo":
        return _load_demo(spec)
    if weights == "hub":
        return _load_hub(spec, task or Task())
    if not weights:
        raise UsageError("--weights: empty; give a checkpoint file, hub, demo or seeded:N")
    return _load_file(spec, Path(weights))


def _load_demo(spec: ModelSpec) -> LoadedModel:
    from edgeclip.manifest import file_sha256
    from edgeclip.models import MODELS
    from edgeclip.models.demo.weights import load_demo_weights

    if spec.demo_weights is None:
        demos = ", ".join(name for name, other in MODELS.items() if other.demo_weights)
        raise UsageError(f"--weights demo: there are demo weights for {demos}, not for {spec.name}")
    path = FOLDER / spec.demo_weights
    pair = spec.build(spec).eval()
    pair.load_state_dict({**pair.state_dict(), **load_demo_weights(path)})
    return _loaded(spec, pair, "demo", file_sha256(path), DEMO_LICENCE)


def _load_hub(spec: ModelSpec, task: Task) -> LoadedModel:
    from edgeclip.models.hub import fetch

    if spec.hub is None:
        raise UsageError(f"--weights hub: {spec.name} is not published on the hub; use demo, seeded:N or a file")
    loaded = _load_file(spec, fetch(spec.hub, task))
    return LoadedModel(**{**vars(loaded), "source": f"hub:{spec.hub.repo}/{spec.hub.filename}"})


def _load_file(spec: ModelSpec, path: Path) -> LoadedModel:
    from edgeclip.manifest import file_sha256
    from edgeclip.models.checkpoints import load_checkpoint

    if not path.exists() and not path.suffix:
        raise UsageError(f"--weights {path}: neither a file nor one of hub, demo, seeded:N")
    pair = load_checkpoint(path, spec)
    return _loaded(spec, pair, f"file:{path.name}", file_sha256(path), spec.licence)


def _loaded(spec: ModelSpec, pair: EncoderPair, source: str, sha256: str, licence: Licence) -> LoadedModel:
    return LoadedModel(spec, pair, source, sha256, f"{spec.name}/{tensors_sha256(pair)[:16]}", licence)


def tensors_sha256(pair: EncoderPair) -> str:
    """A hash of names, shapes and values of all weights: the same for the same numbers from any layout."""
    digest = hashlib.sha256()
    for name, value in sorted(pair.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
