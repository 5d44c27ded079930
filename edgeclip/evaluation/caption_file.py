"""Pictures with captions, for retrieval: a folder with `captions.tsv` or `captions.jsonl` and the pictures it names.

captions.tsv    a line for each caption: the picture's path in the folder, a tab, the caption. A picture with several captions
                has several lines (five in Flickr30k and COCO). The first line may be a header, `image<TAB>caption`, or
                `filepath<TAB>title`, as open_clip's training files have it.
captions.jsonl  a line for each picture: {"image": "val/1.jpg", "captions": ["a dog in the snow", ...]}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edgeclip.data.cleaning import MAX_TEXT_CHARS
from edgeclip.errors import InputError
from edgeclip.evaluation.datasets import CaptionedPictures, EvaluationData, FilePicture, check_count, inside

_HEADERS = (["image", "caption"], ["filepath", "title"])
_MAX_BYTES = 256 << 20  # Flickr30k's 158,915 captions take 12 MB
MAX_CAPTIONS = 1_000_000


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `captions.jsonl`."""

    image: str
    captions: tuple[str, ...]


def caption_file(folder: Path) -> Path | None:
    """The file of captions in a folder, if it has one."""
    found = [folder / name for name in _READERS if (folder / name).exists()]
    if len(found) > 1:
        raise InputError(f"--data {folder}: has both {' and '.join(path.name for path in found)}; keep one")
    return found[0] if found else None


def read_captions(file: Path) -> EvaluationData:
    """Pictures in the order in which the file names them. Raises InputError for a line that cannot be used."""
    folder, option = file.parent, f"--data {file}"
    inside(folder, file.name, option)
    places: dict[str, int] = {}
    captions, owners = [], []
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InputError(f"{option}: larger than {_MAX_BYTES >> 20} MB")
        lines = file.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{option}: cannot be read as UTF-8 text ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{option}, line {number}"
        for name, caption in _READERS[file.name](line.rstrip("\r"), number, where):
            if not caption.strip() or len(caption) > MAX_TEXT_CHARS:
                raise InputError(f"{where}: a caption of {len(caption.strip())} characters; give 1 to {MAX_TEXT_CHARS}")
            if name not in places:
                _check_picture(folder, name, where)
                places[name] = len(places)
            captions.append(caption)
            owners.append(places[name])
    check_count(option, len(places), folder)
    if len(places) < 2 or len(captions) > MAX_CAPTIONS:
        raise InputError(
            f"{option}: {len(places)} pictures with {len(captions)} captions; give 2 pictures or more, and at most"
            f" {MAX_CAPTIONS} captions"
        )
    pictures = tuple(FilePicture(folder, name) for name in places)
    return EvaluationData(str(folder), captioned=CaptionedPictures(pictures, tuple(captions), tuple(owners)))


def _check_picture(folder: Path, name: str, where: str) -> None:
    """Refuse what leads out of the folder. A file that is not there counts as unreadable later, with the others."""
    path = inside(folder, name, where)
    if not name or Path(name).is_absolute() or (path.exists() and not path.is_file()):
        raise InputError(f"{where}: {name!r} is no path of a picture in {folder}")


def _tsv(line: str, number: int, where: str) -> Iterator[tuple[str, str]]:
    cells = line.split("\t")
    if number == 1 and cells in _HEADERS:
        return
    if len(cells) != 2:
        raise InputError(f"{where}: {len(cells)} columns; give the picture's path, one tab, and the caption")
    yield cells[0], cells[1]


def _jsonl(line: str, number: int, where: str) -> Iterator[tuple[str, str]]:
    try:
        read = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f'{where}: not {{"image": PATH, "captions": [TEXT, ...]}} ({error})') from error
    if not read.captions:
        raise InputError(f"{where}: {read.image!r} has no captions")
    for caption in read.captions:
        yield read.image, caption


_READERS: dict[str, Callable[[str, int, str], Iterator[tuple[str, str]]]] = {"captions.tsv": _tsv, "captions.jsonl": _jsonl}
