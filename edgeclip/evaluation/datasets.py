"""What is evaluated on: pictures with classes, pictures with captions. Values that travel to worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from edgeclip.data.preprocess import load_image
from edgeclip.data.scenes import Scene, draw
from edgeclip.errors import InputError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
MAX_PICTURES = 500_000  # their embeddings are held: 512 float32 numbers each are 1 GB


class Picture(Protocol):
    """One picture, opened where it is encoded."""

    @property
    def name(self) -> str:
        """Unique among the pictures of a set."""

    def open(self) -> Image:
        """RGB, as a viewer shows it. Raises InputError if it cannot be read."""


@dataclass(frozen=True)
class FilePicture:
    """A file below the folder of data. name: its path there, with slashes."""

    folder: Path
    name: str

    def open(self) -> Image:
        path = self.folder / self.name
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise InputError(f"{path}: not a file")
        return load_image(path)


@dataclass(frozen=True)
class DrawnPicture:
    """A procedural scene of `size` x `size` pixels."""

    name: str
    scene: Scene
    size: int

    def open(self) -> Image:
        return draw(self.scene, self.size)


@dataclass(frozen=True)
class LabelledPictures:
    """For classification. names: what each class is called, one name or several; labels: the class of each picture."""

    classes: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    pictures: tuple[Picture, ...]
    labels: tuple[int, ...]

    def without(self, bad: Collection[str]) -> LabelledPictures:
        """Leave out pictures by their names; classes stay, as candidates."""
        kept = [index for index, picture in enumerate(self.pictures) if picture.name not in bad]
        return self._only(kept)

    def limited(self, count: int | None) -> LabelledPictures:
        """At most so many pictures, see `sample`."""
        every = range(len(self.pictures))
        return self if count is None else self._only(sorted(sample(every, self._names(every), count)))

    def limited_per_class(self, count: int | None) -> LabelledPictures:
        """At most so many pictures of each class."""
        if count is None:
            return self
        members: dict[int, list[int]] = {}
        for index, label in enumerate(self.labels):
            members.setdefault(label, []).append(index)
        kept = [index for those in members.values() for index in sample(those, self._names(those), count)]
        return self._only(sorted(kept))

    def _names(self, indices: Sequence[int]) -> list[str]:
        return [self.pictures[index].name for index in indices]

    def _only(self, kept: Sequence[int]) -> LabelledPictures:
        pictures = tuple(self.pictures[index] for index in kept)
        return replace(self, pictures=pictures, labels=tuple(self.labels[index] for index in kept))


@dataclass(frozen=True)
class CaptionedPictures:
    """For retrieval. owners: of each caption, the index of its picture; every picture has one or more."""

    pictures: tuple[Picture, ...]
    captions: tuple[str, ...]
    owners: tuple[int, ...]

    def without(self, bad: Collection[str]) -> CaptionedPictures:
        """Leave out pictures by their names, and their captions."""
        return self._only([index for index, picture in enumerate(self.pictures) if picture.name not in bad])

    def limited(self, count: int | None) -> CaptionedPictures:
        """At most so many pictures, see `sample`."""
        if count is None:
            return self
        every = range(len(self.pictures))
        return self._only(sorted(sample(every, [picture.name for picture in self.pictures], count)))

    def _only(self, kept: Sequence[int]) -> CaptionedPictures:
        place = {index: number for number, index in enumerate(kept)}
        stay = [k for k, owner in enumerate(self.owners) if owner in place]
        return CaptionedPictures(
            tuple(self.pictures[index] for index in kept),
            tuple(self.captions[k] for k in stay),
            tuple(place[self.owners[k]] for k in stay),
        )


@dataclass(frozen=True)
class EvaluationData:
    """What there is to evaluate on. notes: what a reader of the figures should know of the data."""

    name: str
    labelled: LabelledPictures | None = None
    captioned: CaptionedPictures | None = None
    notes: tuple[str, ...] = field(default=())

    def without(self, bad: Collection[str]) -> EvaluationData:
        """Leave out pictures by their names."""
        return replace(
            self,
            labelled=self.labelled and self.labelled.without(bad),
            captioned=self.captioned and self.captioned.without(bad),
        )


def sample(items: Sequence[T], names: Sequence[str], count: int) -> list[T]:
    """`count` of the items: those whose names have the smallest hashes.

    The same names give the same items on any machine, a smaller sample is part of a larger one, and neighbours in a folder,
    which are often alike, are not favoured.
    """
    ranked = sorted(zip(names, items, strict=True), key=lambda pair: hashlib.sha256(pair[0].encode()).digest())
    return [item for _, item in ranked[:count]]


def inside(folder: Path, relative: str, where: str) -> Path:
    """A file of the data. Raises InputError, beginning with `where`, if the path or a link in it leads out of the folder."""
    path = folder / relative
    try:
        found = path.resolve(strict=False)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a NUL
        raise InputError(f"{where}: {relative!r} is not a usable path ({error})") from error
    if not found.is_relative_to(folder.resolve()):
        raise InputError(f"{where}: {relative!r} leads out of {folder}; copy the file into it")
    return path


def check_count(option: str, pictures: int, folder: Path) -> None:
    """Raise InputError where there are more pictures than are held."""
    if pictures > MAX_PICTURES:
        raise InputError(f"{option} {folder}: more than {MAX_PICTURES} pictures")


def check_positive(option: str, value: int | None) -> None:
    """Raise UsageError for a count that leaves nothing."""
    if value is not None and value < 1:
        raise UsageError(f"{option} {value}: give 1 or more")
