"""Pictures in a folder for each class, as torchvision's `ImageFolder` reads them: DIR/CLASS/.../PICTURE.

A class is called what its folder is called, or what `classnames.txt` or `classnames.json` in DIR says. The text file has a
line for each folder: the folder, a tab (or, without any tab in the line, a blank), and one or more names separated by commas,
so that ImageNet's `LOC_synset_mapping.txt` serves as it is. The JSON file is one object, {"n01440764": "tench"} or
{"n01440764": ["tench", "Tinca tinca"]}. A file may name folders that are not there; only those that are, are classes.
Hidden files and folders do not count.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeclip.data.preprocess import IMAGE_SUFFIXES
from edgeclip.errors import InputError
from edgeclip.evaluation.datasets import EvaluationData, FilePicture, LabelledPictures, check_count, inside

NAMES_TEXT, NAMES_JSON = "classnames.txt", "classnames.json"
MAX_CLASSES = 25_000  # ImageNet has 21,841 at most
_MAX_NAMES_BYTES = 8 << 20

Names = dict[str, tuple[str, ...]]


def read_image_folder(folder: Path, names_file: Path | None = None) -> EvaluationData:
    """Classes and pictures in the order of their names. Raises InputError for an empty class or one without a name."""
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"--data {folder}: cannot be read ({error.strerror})") from error
    classes = [entry.name for entry in entries if entry.is_dir()]
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise InputError(
            f"--data {folder}: {len(classes)} class folders; give 2 to {MAX_CLASSES}, each with its pictures"
            " (DIR/CLASS/PICTURE), or a captions.tsv or captions.jsonl"
        )
    pictures: list[FilePicture] = []
    labels: list[int] = []
    others: list[str] = []
    for label, name in enumerate(classes):
        inside(folder, name, f"--data {folder}")
        before = len(pictures)
        for relative in _files_below(folder, name):
            if Path(relative).suffix.lower() not in IMAGE_SUFFIXES:
                others.append(relative)
                continue
            inside(folder, relative, f"--data {folder}")
            pictures.append(FilePicture(folder, relative))
            labels.append(label)
            check_count("--data", len(pictures), folder)
        if len(pictures) == before:
            raise InputError(f"--data {folder}: class folder {name!r} has no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    others += [entry.name for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    names = _class_names(folder, classes, names_file)
    data = LabelledPictures(tuple(classes), names, tuple(pictures), tuple(labels))
    return EvaluationData(str(folder), labelled=data, notes=(*_left_out(others), *_same_names(classes, names)))


def _files_below(folder: Path, name: str) -> Iterator[str]:
    """Paths below DIR/CLASS, relative to DIR, in order; hidden ones are left out, folders that are links too."""

    def unreadable(error: OSError) -> None:
        raise InputError(f"--data {error.filename}: cannot be read ({error.strerror})") from error

    for place, folders, files in os.walk(folder / name, onerror=unreadable):
        folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
        for linked in (entry for entry in folders if (Path(place) / entry).is_symlink()):
            raise InputError(f"--data {folder}: {Path(place) / linked} is a link to a folder; copy the pictures in its place")
        for file in sorted(files):
            path = Path(place, file)
            if not file.startswith("."):
                yield path.relative_to(folder).as_posix()


def _class_names(folder: Path, classes: list[str], names_file: Path | None) -> tuple[tuple[str, ...], ...]:
    """What each class is called."""
    found = [path for name in (NAMES_TEXT, NAMES_JSON) if (path := folder / name).exists()]
    if names_file is None and len(found) > 1:
        raise InputError(f"--data {folder}: has both {NAMES_TEXT} and {NAMES_JSON}; choose one by --classnames")
    if names_file is None and not found:
        return tuple((name,) for name in classes)
    path = names_file or found[0]
    option = f"--classnames {path}" if names_file else f"--data {inside(folder, path.name, f'--data {folder}')}"
    known = _read_names(path, option)
    missing = [name for name in classes if name not in known]
    if missing:
        raise InputError(f"{option}: has no name for {len(missing)} of {len(classes)} class folders, such as {missing[0]!r}")
    return tuple(known[name] for name in classes)


def _read_names(path: Path, option: str) -> Names:
    try:
        if path.stat().st_size > _MAX_NAMES_BYTES:
            raise InputError(f"{option}: larger than {_MAX_NAMES_BYTES >> 20} MB")
        text = path.read_text("utf-8-sig")
        return _names_in_json(text) if path.suffix.lower() == ".json" else _names_in_text(text)
    except FileNotFoundError:
        raise InputError(f"{option}: no such file") from None
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise InputError(f"{option}: cannot be used ({error})") from error


def _names_in_json(text: str) -> Names:
    read = msgspec.json.decode(text, type=dict[str, str | list[str]])
    return {folder: _clean([names] if isinstance(names, str) else names, repr(folder)) for folder, names in read.items()}


def _names_in_text(text: str) -> Names:
    names: Names = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        folder, _, rest = line.partition("\t") if "\t" in line else line.strip().partition(" ")
        if folder in names:
            raise ValueError(f"line {number}: {folder!r} is named twice")
        names[folder] = _clean(rest.split(","), f"line {number}")
    return names


def _clean(names: list[str], where: str) -> tuple[str, ...]:
    cleaned = tuple(name.strip() for name in names)
    if not cleaned or not all(cleaned):
        raise ValueError(f"{where}: an empty name")
    return cleaned


def _left_out(others: list[str]) -> Iterator[str]:
    if others:
        yield f"{len(others)} files left out, which are no pictures of a class: {others[0]}{', ...' if len(others) > 1 else ''}"


def _same_names(classes: list[str], names: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    for shared, count in Counter(names).items():
        if count > 1:
            same = [name for name, own in zip(classes, names, strict=True) if own == shared]
            yield f"classes {', '.join(same)} are all called {', '.join(shared)!r} and cannot be told apart"
