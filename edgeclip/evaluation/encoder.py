"""Both towers of one contender, and how pictures and texts become their inputs.

As in `verify` there are two separate roads. The original's follows the model table: its preprocessing, open_clip's tokenizer,
the unfused torch modules. An artifact's follows the bundle alone. So the figures are those of an app that trusts the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeclip.data.preprocess import preprocess_image
from edgeclip.errors import BundleError, InputError
from edgeclip.evaluation.datasets import Picture
from edgeclip.evaluation.results import artifact_label
from edgeclip.manifest import Artifact, Bundle
from edgeclip.plugins import RUNTIMES
from edgeclip.spec import TOWERS, Preprocess, Tower

if TYPE_CHECKING:
    from edgeclip.reference.runtime import Runner, Runtime

ORIGINAL = "torch"  # of `RUNTIMES`


@dataclass(frozen=True)
class Contender:
    """What is evaluated: artifacts of a bundle in one runtime, or the original. Travels to worker processes.

    artifacts: of both towers, or of one where the other is asked for nothing; None for the original. weights, tokenizer: where
    the original's are, if not where the bundle says.
    """

    bundle: Bundle
    runtime: str
    artifacts: dict[Tower, Artifact] | None = None
    weights: str | None = None
    tokenizer: Path | None = None

    @property
    def artifact(self) -> Artifact | None:
        """The image tower's artifact, or the text tower's where it is alone; None for the original."""
        return (self.artifacts.get("image") or self.artifacts["text"]) if self.artifacts else None

    @property
    def scheme(self) -> str | None:
        """How its numbers are stored; `w8 + fp16` where image and text tower differ. None for the original."""
        if self.artifacts is None:
            return None
        return " + ".join(dict.fromkeys(self.artifacts[tower].scheme for tower in TOWERS if tower in self.artifacts))

    @property
    def label(self) -> str:
        """For people."""
        target, backend = (self.artifact.target, self.artifact.backend) if self.artifact else (None, None)
        return artifact_label(target, backend, self.scheme)


@dataclass(frozen=True)
class Encoded:
    """What came of a few pictures or texts. bad: names of pictures that could not be read, and why.

    embeddings: (N, D) float32, of those that could; None where none was asked for.
    """

    embeddings: np.ndarray | None
    bad: tuple[tuple[str, str], ...] = ()


class Encoder:
    """A contender, opened."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self._runners: dict[Tower, Runner] = {}
        opener = _open_artifacts if contender.artifacts else _open_original
        self._runners, self._preprocess, self._tokenize = opener(contender)

    def texts(self, texts: Sequence[str]) -> Encoded:
        """Encode texts."""
        return Encoded(self._run("text", self._tokenize(texts)))

    def pictures(self, pictures: Sequence[Picture]) -> Encoded:
        """Read and encode pictures."""
        pixels, bad = [], []
        for picture in pictures:
            try:
                pixels.append(preprocess_image(picture.open(), self._preprocess))
            except InputError as error:
                bad.append((picture.name, str(error)))
        return Encoded(self._run("image", np.stack(pixels)) if pixels else None, tuple(bad))

    def _run(self, tower: Tower, batch: np.ndarray) -> np.ndarray:
        rows = np.asarray(self._runners[tower].encode(batch), np.float32)
        dim = self.contender.bundle.manifest.embedding.dim
        if rows.shape != (len(batch), dim) or not np.isfinite(rows).all():
            what = "values that are not finite (overflow?)" if rows.shape == (len(batch), dim) else f"{list(rows.shape)}"
            raise BundleError(
                f"{self.contender.label} {tower} in {self.contender.runtime}: gives {what}, not embeddings of {dim}"
            )
        return rows

    def close(self) -> None:
        """Free the towers."""
        for runner in self._runners.values():
            runner.close()


def unreadable(pictures: Sequence[Picture]) -> Encoded:
    """Which pictures cannot be read, without encoding the others."""
    bad = []
    for picture in pictures:
        try:
            picture.open()
        except InputError as error:
            bad.append((picture.name, str(error)))
    return Encoded(None, tuple(bad))


_Tokenize = Callable[[Sequence[str]], np.ndarray]
_Opened = tuple[dict[Tower, "Runner"], Preprocess, _Tokenize]


def _open_artifacts(contender: Contender) -> _Opened:
    from edgeclip.data.tokenizer import load_tokenizer

    bundle, artifacts = contender.bundle, contender.artifacts
    assert artifacts is not None
    tokenizer = load_tokenizer(bundle) if "text" in artifacts else None
    engine: Runtime = RUNTIMES[contender.runtime].load()
    runners: dict[Tower, Runner] = {}
    for tower, artifact in artifacts.items():
        runners[tower] = engine.open(bundle, artifact, engine.modes(artifact.scheme)[0])
    return runners, bundle.manifest.image, tokenizer or _no_texts


def _no_texts(texts: Sequence[str]) -> np.ndarray:
    raise AssertionError("texts for a contender without a text tower")


def _open_original(contender: Contender) -> _Opened:
    from edgeclip.data.reference_tokenizer import reference_ids
    from edgeclip.models.originals import load_original
    from edgeclip.reference.torch_runtime import original_runner

    loaded = load_original(contender.bundle.manifest, contender.weights, tokenizer=contender.tokenizer)
    runners: dict[Tower, Runner] = {tower: original_runner(loaded, tower) for tower in ("image", "text")}
    return runners, loaded.spec.preprocess, lambda texts: reference_ids(list(texts), loaded.tokenizer)
