"""evaluate(): zero-shot accuracy and recall of every artifact of a bundle, beside the torch original's on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgeclip.classify import tower_pairs
from edgeclip.data.prompts import DEFAULT_TEMPLATES, check_templates
from edgeclip.errors import HubError, InputError, MissingPackageError, NotRunnableError, UsageError
from edgeclip.evaluation.caption_file import caption_file, read_captions
from edgeclip.evaluation.confusion import check_confusion_file, write_confusion
from edgeclip.evaluation.datasets import CaptionedPictures, EvaluationData, LabelledPictures, check_positive
from edgeclip.evaluation.demo import DEMO, demo_data
from edgeclip.evaluation.encoder import ORIGINAL, Contender
from edgeclip.evaluation.gates import check_gates, held
from edgeclip.evaluation.image_folder import read_image_folder
from edgeclip.evaluation.measures import retrieval_row, row
from edgeclip.evaluation.ranking import Ranking, rank
from edgeclip.evaluation.results import TOP, EvalResult, Gates, RetrievalRow, Row
from edgeclip.evaluation.workers import Encoding, Workers
from edgeclip.manifest import Bundle
from edgeclip.plugins import RUNTIMES, reasons
from edgeclip.progress import Progress, silent
from edgeclip.text_classifier import class_embeddings, class_prompts
from edgeclip.verify.metrics import unit

P = TypeVar("P", LabelledPictures, CaptionedPictures)
MAX_PROMPTS = 1_000_000  # their embeddings are held: 512 float32 numbers each are 2 GB
_NAMED = 5  # pictures or classes in a message


@dataclass(frozen=True)
class EvalOptions:
    """How to evaluate.

    runtimes: names of `RUNTIMES`; empty for all that can run the bundle here. original: whether the torch original takes part;
    weights, tokenizer: where they are, if not where the bundle says. classnames: in place of the file in the data. limit: at
    most so many pictures, and so many with captions; per_class: at most so many of each class. jobs: worker processes.
    skip_bad: leave unreadable pictures out. confusion: a file to write into which classes were taken for which, .csv or .png.
    """

    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    runtimes: tuple[str, ...] = ()
    original: bool = True
    weights: str | None = None
    tokenizer: Path | None = None
    classnames: Path | None = None
    limit: int | None = None
    per_class: int | None = None
    jobs: int = 1
    skip_bad: bool = False
    gates: Gates = field(default_factory=Gates)
    confusion: Path | None = None


def evaluate(path: Path, data: str | Path, options: EvalOptions | None = None, progress: Progress = silent) -> EvalResult:
    """Evaluate the bundle at `path` on `data`: a folder, or `demo`. See `image_folder` and `caption_file` for their layouts."""
    options = options or EvalOptions()
    check_templates(options.templates)
    for option, value in (("--limit", options.limit), ("--per-class", options.per_class), ("--jobs", options.jobs)):
        check_positive(option, value)
    bundle = Bundle.open(path)
    contenders = _contenders(bundle, options)
    with progress(f"looking through {data}"):
        content = load_data(data, bundle.manifest.image.size, options)
    artifacts = [contender for contender in contenders if contender.artifacts]
    check_gates(options.gates, content, original=len(artifacts) < len(contenders), artifacts=bool(artifacts))
    if options.confusion is not None:
        check_confusion_file(options.confusion, content)
    if content.labelled is not None:
        _check_prompts(content.labelled, options.templates)
    collected = _Collected(content, options)
    for contender in contenders:
        collected.add(contender, progress)
    if not collected.rows and not collected.retrieval:
        raise NotRunnableError("; ".join(f"{label}: {why}" for label, why in collected.not_run))
    if options.confusion is not None:
        write_confusion(options.confusion, collected.rows)
    return collected.result(bundle)


def load_data(data: str | Path, size: int, options: EvalOptions) -> EvaluationData:
    """What `--data` names. size: of drawn pictures, in pixels."""
    folder = Path(data)
    if str(data) == DEMO:
        found = demo_data(size)
    elif not folder.is_dir():
        raise InputError(f"--data {data}: no such folder, and not {DEMO!r}")
    elif (file := caption_file(folder)) is not None:
        found = read_captions(file)
    else:
        found = read_image_folder(folder, options.classnames)
    if options.classnames is not None and (found.labelled is None or str(data) == DEMO):
        raise UsageError(f"--classnames {options.classnames}: {data} has no class folders")
    if options.per_class is not None and found.labelled is None:
        raise UsageError(f"--per-class: {data} has captions, not classes; give --limit")
    return replace(
        found,
        labelled=found.labelled and found.labelled.limited_per_class(options.per_class).limited(options.limit),
        captioned=found.captioned and found.captioned.limited(options.limit),
    )


def _check_prompts(data: LabelledPictures, templates: tuple[str, ...]) -> None:
    prompts = sum(map(len, data.names)) * len(templates)
    if prompts > MAX_PROMPTS:
        raise UsageError(f"{prompts} prompts, of all names in all templates: at most {MAX_PROMPTS}; give fewer templates")


def _contenders(bundle: Bundle, options: EvalOptions) -> list[Contender]:
    """The original first, then every pair of towers in every runtime."""
    for name in options.runtimes:
        RUNTIMES[name]  # a miss raises with the nearest name
    if len(set(options.runtimes)) != len(options.runtimes):
        raise UsageError("--runtime: one is given twice")
    found = []
    for target, towers in tower_pairs(bundle):
        for name in target.runtimes:
            if name in options.runtimes or (not options.runtimes and RUNTIMES[name].offered()):
                found.append(Contender(bundle, name, towers))
    useless = {*options.runtimes} - {contender.runtime for contender in found} - {ORIGINAL}
    if useless or not (found or ORIGINAL in options.runtimes):
        named = f"runtime {', '.join(sorted(useless))} can run none" if useless else "nothing here runs any"
        labels = ", ".join(artifact.label for artifact in bundle.manifest.artifacts)
        why = "" if useless else reasons(name for target, _ in tower_pairs(bundle) for name in target.runtimes)
        raise UsageError(f"{bundle.path}: {named} of its pairs of towers ({labels}){why}")
    for contender in found:
        if missing := RUNTIMES[contender.runtime].missing():
            raise MissingPackageError(f"{contender.runtime}: {missing}")
    if not options.original and ORIGINAL in options.runtimes:
        raise UsageError("--no-torch: leaves out what --runtime torch asks for")
    original = Contender(bundle, ORIGINAL, weights=options.weights, tokenizer=options.tokenizer)
    return [original, *found] if options.original else found


class _Collected:
    """The evaluation so far. The original comes first, so that all others are compared with it."""

    def __init__(self, data: EvaluationData, options: EvalOptions) -> None:
        self.data, self.options = data, options
        self.rows: list[Row] = []
        self.retrieval: list[RetrievalRow] = []
        self.bad: dict[str, str] = {}
        self.not_run: list[tuple[str, str]] = []
        self.original_missing: str | None = None if options.original else "left out by --no-torch"
        self._classified: Ranking | None = None  # by the original
        self._retrieved: tuple[Ranking, Ranking] | None = None
        self._read: set[str] = set()  # parts of the data whose pictures can be read

    def add(self, contender: Contender, progress: Progress) -> None:
        """Evaluate one contender; one that cannot be run, or an original that is not at hand, is noted."""
        is_original = contender.artifacts is None
        try:
            with progress(f"opening {contender.label} in {contender.runtime}"):
                workers = Workers(contender, self.options.jobs)
        except NotRunnableError as error:
            self.not_run.append((contender.label, str(error)))
            return
        except (InputError, HubError, MissingPackageError) as error:
            asked = self.options.weights, self.options.tokenizer, self.options.gates.max_drop
            if not is_original or asked != (None, None, None) or self.options.runtimes == (ORIGINAL,):
                raise
            self.original_missing = str(error)
            return
        with workers:
            classified = self._classify(workers, progress) if self.data.labelled else None
            retrieved = self._retrieve(workers, progress) if self.data.captioned else None
        if is_original:
            self._classified, self._retrieved = classified, retrieved

    def _classify(self, workers: Workers, progress: Progress) -> Ranking:
        images, data = self._images(workers, self.data.labelled, progress)
        prompts = [class_prompts(names, self.options.templates) for names in data.names]
        texts = workers.texts([prompt for those in prompts for prompt in those], progress)
        classes = class_embeddings(texts.embeddings, [len(those) for those in prompts])
        found = rank(unit(images.embeddings), classes, np.asarray(data.labels), np.arange(len(classes)))
        self.rows.append(row(workers.contender, data, found, self._classified, images.per_second))
        return found

    def _retrieve(self, workers: Workers, progress: Progress) -> tuple[Ranking, Ranking]:
        encoded, data = self._images(workers, self.data.captioned, progress)
        images, texts = unit(encoded.embeddings), unit(workers.texts(data.captions, progress).embeddings)
        owners, pictures = np.asarray(data.owners), np.arange(len(images))
        found = rank(images, texts, pictures, owners), rank(texts, images, owners, pictures)
        self.retrieval.append(retrieval_row(workers.contender, found, self._retrieved, owners, encoded.per_second))
        return found

    def _images(self, workers: Workers, part: P | None, progress: Progress) -> tuple[Encoding, P]:
        """Embeddings of the pictures of a part of the data, and that part without the pictures that cannot be read.

        The first contender finds which those are; for the others they are left out already.
        """
        assert part is not None
        encoding = workers.pictures(part.pictures, progress, self.options.skip_bad)
        first = type(part).__name__ not in self._read
        self._read.add(type(part).__name__)
        if not encoding.bad:
            return encoding, part
        if not (first and self.options.skip_bad) or not len(encoding.embeddings):
            count = f"{len(encoding.bad)} of {len(part.pictures)} pictures cannot be read"
            advice = " (--skip-bad leaves them out)" if not self.options.skip_bad else "" if first else " any more"
            named = "; ".join(error for _, error in encoding.bad[:_NAMED])
            more = f"; and {len(encoding.bad) - _NAMED} more" if len(encoding.bad) > _NAMED else ""
            raise InputError(f"--data {self.data.name}: {count}{advice}: {named}{more}")
        self.bad |= dict(encoding.bad)
        self.data = self.data.without(self.bad)
        return encoding, part.without(self.bad)

    def result(self, bundle: Bundle) -> EvalResult:
        """Everything, with the gates held against it."""
        labelled, captioned = self.data.labelled, self.data.captioned
        classes = len(labelled.classes) if labelled else 0
        return EvalResult(
            bundle=str(bundle.path),
            data=self.data.name,
            scoring=bundle.manifest.scoring.kind,
            templates=self.options.templates if labelled else (),
            classes=classes,
            images=len(labelled.pictures) if labelled else 0,
            top5_k=min(TOP[1], classes),
            rows=tuple(self.rows),
            pairs_images=len(captioned.pictures) if captioned else 0,
            pairs_captions=len(captioned.captions) if captioned else 0,
            retrieval=tuple(self.retrieval),
            bad=tuple(self.bad.items()),
            notes=(*self.data.notes, *_empty_classes(labelled)),
            original_missing=self.original_missing,
            not_run=tuple(self.not_run),
            checks=held(self.options.gates, self.rows, self.retrieval),
        )


def _empty_classes(data: LabelledPictures | None) -> Iterator[str]:
    """A class whose pictures were all left out is still a candidate."""
    empty = sorted(set(range(len(data.classes))) - set(data.labels)) if data else []
    if data and empty:
        names = ", ".join(data.classes[index] for index in empty[:_NAMED])
        yield f"{len(empty)} classes have no pictures left, so that per class does not count them: {names}"
