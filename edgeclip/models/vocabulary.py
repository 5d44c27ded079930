"""Which vocabulary a model's tokenizer is made of: it comes with the checkpoint, as its weights do."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from edgeclip.data.tokenizer import TextTokenizer, tokenizer_class
from edgeclip.errors import InputError
from edgeclip.models.hub import cached_path, fetch, url
from edgeclip.progress import Task
from edgeclip.spec import HubFile, ModelSpec

STAND_IN = "stand-in"


def find_tokenizer(spec: ModelSpec, weights: str, given: Path | None, task: Task) -> TextTokenizer:
    """The tokenizer that goes with the weights that the text `weights` names, its `spec` saying where it came from.

    A file that was given; else, with `hub`, the published one; with `seeded:N`, a stand-in; with a checkpoint file, the
    published one from the folder of that file or from the hub's cache. Raises InputError where there is none.
    """
    kind = tokenizer_class(spec.tokenizer)
    if given is not None:
        return kind.given(given, structs.replace(spec.tokenizer, vocabulary=f"file:{given.name}"))
    if spec.vocabulary is None:
        return kind.stand_in(spec.tokenizer)
    if weights.startswith("seeded:"):
        return kind.stand_in(structs.replace(spec.tokenizer, vocabulary=STAND_IN))
    path = fetch(spec.vocabulary, task) if weights == "hub" else _at_hand(Path(weights), spec.vocabulary)
    if path is None:
        raise InputError(
            f"--weights {weights}: {spec.name} needs its vocabulary too: pass --tokenizer {spec.vocabulary.filename},"
            f" which is at {url(spec.vocabulary)}"
        )
    return kind.given(
        path, structs.replace(spec.tokenizer, vocabulary=f"hub:{spec.vocabulary.repo}/{spec.vocabulary.filename}")
    )


def _at_hand(weights: Path, vocabulary: HubFile) -> Path | None:
    """Beside the weights, as in a folder cloned from the hub, or in the hub's cache."""
    folder = weights if weights.is_dir() else weights.parent
    beside = folder / vocabulary.filename
    return beside if beside.is_file() else cached_path(vocabulary)
