"""May an index that was made with one bundle be searched with another?

Where the embedding spaces agree, yes. Where they do not, as after an update with other weights, it is measured: pictures are
embedded by the old bundle and stored as an index stores them; texts and pictures are embedded by the new one and look for them;
and what they find is held against what the old bundle finds by itself. What one sees then is what a user would see who does not
index the photo library again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.apps.index import quantized
from edgeclip.classify import choose_runtime, tower_pairs
from edgeclip.data import scenes
from edgeclip.data.preprocess import IMAGE_SUFFIXES
from edgeclip.data.tokenizer import FOLDER as TOKENIZER_FOLDER
from edgeclip.errors import InputError, UsageError
from edgeclip.evaluation.datasets import DrawnPicture, FilePicture, Picture
from edgeclip.evaluation.encoder import Contender, Encoded, Encoder
from edgeclip.manifest import Bundle
from edgeclip.progress import Progress, silent
from edgeclip.recipe import DEGENERATE_COSINE
from edgeclip.registry import unknown
from edgeclip.spec import TOWERS, Tower
from edgeclip.verify.metrics import between_input_cosine, unit
from edgeclip.verify.samples import MAX_IMAGES, texts_in

K = 10
DEFAULT_MIN_RECALL = 0.9
PRECISIONS = ("int8", "fp32")
MIN_PICTURES = 10 * K  # with fewer, a guess finds too much
_DRAWN, _DRAWN_SEED = 400, 50_001
_TEXTS, _TEXTS_SEED = 200, 50_002
_AT_ONCE = 16
_INDEXED: Tower = "image"
# What people look for among their photographs, where they give no texts of their own.
_SEARCHES = (
    "a dog on the beach", "a cat asleep on a sofa", "a birthday cake with candles", "children playing in the snow",
    "a plate of food", "a cup of coffee", "a red car", "a bicycle against a wall", "a city street at night", "a sunset",
    "mountains and a lake", "a flower close up", "a tree in autumn", "a portrait of a woman", "a man with a beard",
    "a group of people smiling", "a baby", "a wedding", "a screenshot of a phone", "a receipt", "a page of a book",
    "a handwritten note", "a whiteboard", "an airplane window", "a train station", "a bridge over a river", "an old church",
    "a kitchen", "a bedroom", "a football match", "a concert", "fireworks", "a statue", "a painting", "a map", "a horse",
)  # fmt: skip


@dataclass(frozen=True)
class Recall:
    """Of one kind of queries, the mean share of the old bundle's own first answers that are found.

    recall: by the new bundle in the stored index. of_itself: by the old bundle there, so what storing alone costs.
    """

    queries: str
    count: int
    recall: float
    of_itself: float


@dataclass(frozen=True)
class CompatResult:
    """The answer. labels, runtimes: of the old and the new bundle, what was used of it.

    differences: what rules it out, by name. measured: empty where nothing had to be. rows: pictures in the index, and
    precision, how they are stored.
    """

    compatible: bool
    same_space: bool
    spaces: tuple[str, str]
    labels: tuple[str, str]
    runtimes: tuple[str, str]
    differences: tuple[str, ...]
    precision: str
    min_recall: float
    measured: tuple[Recall, ...] = ()
    warnings: tuple[str, ...] = ()
    rows: int = 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "k": K}


@dataclass(frozen=True)
class CompatOptions:
    """images, texts: the user's, in place of drawn scenes. precision: of the index's rows. runtime: for both bundles."""

    images: Path | None = None
    texts: Path | None = None
    min_recall: float = DEFAULT_MIN_RECALL
    precision: str = PRECISIONS[0]
    runtime: str | None = None


def compat(old: Path, new: Path, options: CompatOptions | None = None, progress: Progress = silent) -> CompatResult:
    """Whether an index made with the bundle `old` may be searched with the bundle `new`."""
    options = options or CompatOptions()
    _check(options)
    bundles = Bundle.open(old), Bundle.open(new)
    pictures, texts = _pictures(options.images, bundles[0].manifest.image.size), _texts(options)
    makes = _contender(bundles[0], options.runtime, ("image",))
    searches = _contender(bundles[1], options.runtime, ("image",), ("text",))
    spaces = tuple(bundle.manifest.embedding.space_id for bundle in bundles)
    found = CompatResult(
        compatible=False,
        same_space=spaces[0] == spaces[1],
        spaces=(spaces[0], spaces[1]),
        labels=(makes.label, searches.label),
        runtimes=(makes.runtime, searches.runtime),
        differences=tuple(differences(*bundles)),
        precision=options.precision,
        min_recall=options.min_recall,
    )
    if found.differences:
        return found
    if found.same_space and makes.label == searches.label:
        return replace(found, compatible=True)
    towers = _towers(makes) & _towers(searches)
    if not towers:
        raise UsageError(f"{old} and {new} have no tower in common, so neither can answer the other's searches")
    embedded = [
        _embedded(contender, pictures, texts, needed, progress)
        for contender, needed in ((makes, {*towers, _INDEXED}), (searches, towers))
    ]
    index = embedded[0][_INDEXED]
    if (alike := between_input_cosine(index)) > DEGENERATE_COSINE:
        reason = f"{old} maps all pictures to nearly one embedding (mean cosine {alike:.4f}), so an index of it finds nothing"
        return replace(found, differences=(reason,), rows=len(index))
    recalls = measured(index, embedded[0], embedded[1], options.precision)
    worst = min(recall.recall for recall in recalls)
    warnings = []
    if found.same_space and worst < options.min_recall:
        warnings.append(f"the spaces agree, but the schemes differ: {new} finds {100 * worst:.1f} % of what {old} does")
    compatible = found.same_space or worst >= options.min_recall
    return replace(found, compatible=compatible, measured=recalls, rows=len(index), warnings=tuple(warnings))


def differences(old: Bundle, new: Bundle) -> Iterator[str]:
    """What makes embeddings of two bundles incomparable whatever the weights: dimensions, preprocessing, tokenizer."""
    before, after = old.manifest, new.manifest
    if before.embedding.dim != after.embedding.dim:
        yield f"embedding.dim: {before.embedding.dim} and {after.embedding.dim}"
    for section, one, other in (("image", before.image, after.image), ("text", before.text, after.text)):
        for name in one.__struct_fields__:
            values = getattr(one, name), getattr(other, name)
            if values[0] != values[1] and name != "vocabulary":  # says where the file came from; the file itself is compared
                yield f"{section}.{name}: {values[0]} and {values[1]}"
    files = [
        {entry.path: entry.sha256 for entry in manifest.files if entry.path.startswith(f"{TOKENIZER_FOLDER}/")}
        for manifest in (before, after)
    ]
    for path in sorted(files[0].keys() & files[1].keys()):  # an app without a text tower has none
        if files[0][path] != files[1][path]:
            yield f"{path}: the files differ"


def measured(
    index: np.ndarray, old: Mapping[Tower, np.ndarray], new: Mapping[Tower, np.ndarray], precision: str
) -> tuple[Recall, ...]:
    """Recall@K of both bundles in the old one's stored index, for each tower that both have.

    index: the pictures' embeddings by the old bundle, (N, D); old, new: the queries', (M, D), where pictures are those of
    the index, so each one's own row does not count.
    """
    stored = _STORED[precision](index)
    found = []
    for tower in TOWERS:
        if tower in old and tower in new:
            itself = tower == _INDEXED
            wanted = _first(old[tower], index, itself)
            shares = [_recall(wanted, _first(queries, stored, itself)) for queries in (new[tower], old[tower])]
            found.append(Recall(_QUERIES[tower], len(wanted), *shares))
    return tuple(found)


def _first(queries: np.ndarray, rows: np.ndarray, itself: bool) -> np.ndarray:
    """Of each query (M, D) the K best rows (N, D), the earlier of equal ones first: (M, K) int."""
    scores = queries @ rows.T
    if itself:
        np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :K]


def _recall(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(np.mean([np.isin(row, other).mean() for row, other in zip(wanted, found, strict=True)]))


def _check(options: CompatOptions) -> None:
    if options.precision not in PRECISIONS:
        raise unknown("precision", options.precision, PRECISIONS)
    if not 0 <= options.min_recall <= 1:
        raise UsageError(f"--min-recall {options.min_recall:g}: give a share from 0 to 1")


def _contender(bundle: Bundle, runtime: str | None, *enough: tuple[Tower, ...]) -> Contender:
    """A bundle's towers and what runs them: both of one target where there are; else the first that are enough."""
    choices = (TOWERS, *enough)
    towers = next((towers for towers in choices if tower_pairs(bundle, towers)), choices[1])
    engine, artifacts = choose_runtime(bundle, runtime, towers)
    return Contender(bundle, engine.name, artifacts)


def _towers(contender: Contender) -> set[Tower]:
    return set(contender.artifacts or {})


def _pictures(folder: Path | None, size: int) -> list[Picture]:
    """Drawn scenes, or the user's pictures."""
    if folder is None:
        drawn = scenes.scenes(_DRAWN, seed=_DRAWN_SEED)
        return [DrawnPicture(f"scene {index}", scene, size) for index, scene in enumerate(drawn)]
    if not folder.is_dir():
        raise InputError(f"--images {folder}: no such folder")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not MIN_PICTURES <= len(names) <= MAX_IMAGES:
        raise InputError(
            f"--images {folder}: {len(names)} pictures; give {MIN_PICTURES} to {MAX_IMAGES}, so that {K} of them are few"
        )
    return [FilePicture(folder, name) for name in names]


def _texts(options: CompatOptions) -> list[str]:
    """The user's texts; or what people look for, in drawn scenes what is drawn."""
    if options.texts is not None:
        return texts_in(options.texts)
    if options.images is not None:
        return list(_SEARCHES)
    drawn = scenes.scenes(_TEXTS, seed=_TEXTS_SEED)
    return [scenes.phrase({name: getattr(scene, name) for name in scenes.ATTRIBUTES}) for scene in drawn]


def _embedded(
    contender: Contender, pictures: Sequence[Picture], texts: Sequence[str], towers: set[Tower], progress: Progress
) -> dict[Tower, np.ndarray]:
    """What a bundle makes of the samples: by tower (N, D) float32, of length 1."""
    parts = {"image": pictures if "image" in towers else (), "text": texts if "text" in towers else ()}
    total = sum(map(len, parts.values()))
    rows: dict[Tower, list[np.ndarray]] = {tower: [] for tower in towers}
    with (
        progress(f"embedding {total} samples with {contender.bundle.path}, {contender.label} in {contender.runtime}") as task,
        closing(Encoder(contender)) as encoder,
    ):
        encode: dict[Tower, Callable[[int, int], Encoded]] = {
            "image": lambda start, end: encoder.pictures(pictures[start:end]),
            "text": lambda start, end: encoder.texts(texts[start:end]),
        }
        done = 0
        for tower in TOWERS:
            for start in range(0, len(parts[tower]), _AT_ONCE):
                encoded = encode[tower](start, start + _AT_ONCE)
                for _, error in encoded.bad:
                    raise InputError(f"--images {error}")
                assert encoded.embeddings is not None
                rows[tower].append(encoded.embeddings)
                done += len(encoded.embeddings)
                task.advance(done, total, "samples")
    return {tower: unit(np.concatenate(found)).astype(np.float32) for tower, found in rows.items()}


def _as_int8(rows: np.ndarray) -> np.ndarray:
    """Rows as a search sees them after they were in an index."""
    values, scales = quantized(rows)
    return np.asarray(values.astype(np.float32) * scales[:, None])


_STORED: dict[str, Callable[[np.ndarray], np.ndarray]] = {"int8": _as_int8, "fp32": lambda rows: rows}
_QUERIES: dict[Tower, str] = {"image": "pictures", "text": "texts"}
