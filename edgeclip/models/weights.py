"""`--weights`: from its text to a loaded model whose provenance is known.

PATH       a checkpoint file in any published layout, an index of several, or a folder with either
hub        the model's published checkpoint
demo       the weights that ship with the demo models
seeded:N   deterministic live weights, for tests
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclip.data.tokenizer import TextTokenizer
from edgeclip.errors import InputError, UsageError
from edgeclip.models.demo import DEMO_LICENCE, FOLDER
from edgeclip.progress import Task
from edgeclip.spec import Licence, ModelSpec

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

GENERATED = Licence(name="none (generated weights)", url="", commercial_use=True)


@dataclass(frozen=True)
class LoadedModel:
    """A model with its weights and its tokenizer.

    `source` is what the manifest records; `sha256` is of the weights file, or of the tensors where there is none; `space_id`
    names the embedding space: equal tensors give equal ids, whatever file they came from.
    tokenizer: made of the model's vocabulary; its `spec` is what the manifest states.
    """

    spec: ModelSpec
    pair: EncoderPair
    source: str
    sha256: str
    space_id: str
    licence: Licence
    tokenizer: TextTokenizer


@dataclass(frozen=True)
class _Read:
    """Weights, and where they came from; as in `LoadedModel`."""

    pair: EncoderPair
    source: str
    sha256: str
    licence: Licence


@dataclass(frozen=True)
class Stated:
    """What `--weights` says before anything is loaded. sha256: None where only loading tells."""

    source: str
    sha256: str | None


def serves(spec: ModelSpec, weights: str) -> bool:
    """Whether the text `weights` stands for weights of this model, and of others too: a file is of one."""
    if weights in ("demo", "hub"):
        return (spec.demo_weights if weights == "demo" else spec.hub) is not None
    return re.fullmatch(r"seeded:\d{1,9}", weights) is not None


def names_a_path(weights: str) -> bool:
    """Whether the text `weights` is the place of a checkpoint, and stands for nothing else."""
    from edgeclip.models import MODELS

    return not any(serves(spec, weights) for spec in MODELS.values())


def stated_by(spec: ModelSpec, weights: str) -> Stated:
    """The source that a manifest will record, and the hash where the file is at hand."""
    from edgeclip.models.hub import cached_path
    from edgeclip.models.shards import in_folder

    source: str
    path: Path | None
    if weights == "demo":
        source, path = weights, None if spec.demo_weights is None else FOLDER / spec.demo_weights
    elif weights == "hub":
        source = "hub" if spec.hub is None else f"hub:{spec.hub.repo}/{spec.hub.filename}"
        path = None if spec.hub is None else cached_path(spec.hub)
    elif serves(spec, weights):
        source, path = weights, None
    else:
        path = in_folder(Path(weights)) if Path(weights).is_dir() else Path(weights)
        source = f"file:{path.name}"
    return Stated(source, weights_sha256(path) if path is not None and path.is_file() else None)


def load_model(spec: ModelSpec, weights: str, task: Task | None = None, tokenizer: Path | None = None) -> LoadedModel:
    """Load `spec` with the weights that the text `weights` names; a download reports to `task`.

    tokenizer: the file of its vocabulary, where that comes with the checkpoint and is not at hand.
    """
    from edgeclip.models.vocabulary import find_tokenizer

    task = task or Task()
    found = find_tokenizer(spec, weights, tokenizer, task)  # first: it is quickly said what is missing
    read = _read(spec, weights, task)
    space_id = f"{spec.name}/{tensors_sha256(read.pair)[:16]}"
    return LoadedModel(spec, read.pair, read.source, read.sha256, space_id, read.licence, found)


def _read(spec: ModelSpec, weights: str, task: Task) -> _Read:
    if match := re.fullmatch(r"seeded:(\d{1,9})", weights):
        from edgeclip.models.seeded import seeded_pair

        pair = seeded_pair(spec, int(match[1]))
        return _Read(pair, weights, tensors_sha256(pair), GENERATED)
    if weights.startswith("seeded"):
        raise UsageError(f"--weights {weights}: give a number, as in seeded:0")
    if weights == "demo":
        return _load_demo(spec)
    if weights == "hub":
        return _load_hub(spec, task)
    if not weights:
        raise UsageError("--weights: empty; give a checkpoint file, hub, demo or seeded:N")
    return _load_file(spec, Path(weights))


def _load_demo(spec: ModelSpec) -> _Read:
    from edgeclip.manifest import file_sha256
    from edgeclip.models import MODELS
    from edgeclip.models.demo.weights import load_demo_weights

    if spec.demo_weights is None:
        demos = ", ".join(name for name, other in MODELS.items() if other.demo_weights)
        raise UsageError(f"--weights demo: there are demo weights for {demos}, not for {spec.name}")
    path = FOLDER / spec.demo_weights
    pair = spec.build(spec).eval()
    pair.load_state_dict({**pair.state_dict(), **load_demo_weights(path)})
    return _Read(pair, "demo", file_sha256(path), DEMO_LICENCE)


def _load_hub(spec: ModelSpec, task: Task) -> _Read:
    from edgeclip.models.hub import fetch

    if spec.download is not None:
        name = spec.download.rpartition("/")[2]
        raise UsageError(f"{spec.name} is not published on the hub: download {spec.download} and pass --weights {name}")
    if spec.hub is None:
        raise UsageError(f"--weights hub: {spec.name} is not published on the hub; use demo, seeded:N or a file")
    return replace(_load_file(spec, fetch(spec.hub, task)), source=f"hub:{spec.hub.repo}/{spec.hub.filename}")


def _load_file(spec: ModelSpec, path: Path) -> _Read:
    from edgeclip.models.checkpoints import load_checkpoint
    from edgeclip.models.shards import in_folder

    if not path.exists() and not path.suffix:
        raise UsageError(f"--weights {path}: neither a file nor one of hub, demo, seeded:N")
    if path.is_dir():
        path = in_folder(path)
    readable = path.is_file() and os.access(path, os.R_OK)  # if not, reading it says what is wrong
    sha256 = weights_sha256(path) if readable else ""
    _refuse_published_elsewhere(sha256, path, spec)
    pair = load_checkpoint(path, spec)
    return _Read(pair, f"file:{path.name}", sha256, spec.licence)


def _refuse_published_elsewhere(sha256: str, path: Path, spec: ModelSpec) -> None:
    """Models of the same shapes, MobileCLIP-B and its longer trained twin, differ only in what is known of their files."""
    from edgeclip.models import MODELS

    for other in MODELS.values():
        if other.hub is not None and other.hub.sha256 == sha256 and other.name != spec.name:
            raise InputError(
                f"{path}: is {other.hub.filename} of {other.hub.repo}, the weights of {other.name}, not {spec.name}"
            )


def weights_sha256(path: Path) -> str:
    """The hash of a checkpoint file; of one in several files, of the lines `sha256  name` of all of them."""
    from edgeclip.manifest import file_sha256
    from edgeclip.models.shards import parts

    files = parts(path)
    if len(files) == 1:
        return file_sha256(path)
    lines = "".join(f"{file_sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def tensors_sha256(pair: EncoderPair) -> str:
    """A hash of names, shapes and values of all weights: the same for the same numbers from any layout."""
    digest = hashlib.sha256()
    for name, value in sorted(pair.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(memoryview(value.detach().contiguous().numpy()).cast("B"))
    return digest.hexdigest()
