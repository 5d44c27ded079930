"""What becomes of each file of an app: what is there, what was put there, and what would be put there now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeclip.apps.platform import Read
from edgeclip.apps.record import Record
from edgeclip.apps.template_files import Template
from edgeclip.errors import InputError
from edgeclip.manifest import file_sha256


@dataclass(frozen=True)
class Plan:
    """What becomes of an app's files.

    fresh: all templates by path. write: those that are put there; replaced: the hashes of what gives way to them.
    remove: files that the templates have no more. left: what is the user's: edited or removed.
    """

    fresh: dict[str, Template]
    write: dict[str, Template]
    replaced: dict[str, str]
    remove: tuple[str, ...]
    left: tuple[str, ...]


def planned(app: Path, fresh: dict[str, Template], record: Record | None) -> Plan:
    """Compare what is there, what was put there and what would be put there now."""
    files = record.files if record else {}
    write, replaced, remove, left = dict[str, Template](), dict[str, str](), list[str](), list[str]()
    for relative, template in fresh.items():
        found = content_hash(app, relative)
        if found == template.sha256:
            continue
        if found is None and relative not in files:
            write[relative] = template
        elif found is not None and record is not None and record.is_ours(relative, found):
            write[relative] = template
            replaced[relative] = found
        else:
            left.append(relative)
    for relative in sorted({*files, *(record.writing if record else ())} - fresh.keys()):
        found = content_hash(app, relative)
        if found is not None and record is not None:
            (remove if record.is_ours(relative, found) else left).append(relative)
    return Plan(fresh, write, replaced, tuple(remove), tuple(left))


def content_hash(app: Path, relative: str) -> str | None:
    """The hash of a file in the app, None where there is none; empty for a link or a folder, which are the user's."""
    path = app / relative
    check_inside(app, path)
    if path.is_symlink() or path.is_dir():
        return ""
    try:
        return file_sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def check_inside(app: Path, path: Path) -> None:
    """Refuse to write where a link leads."""
    if not path.parent.resolve().is_relative_to(app.resolve()):
        raise InputError(f"{path.parent}: a link that leads out of the app; put a folder in its place")


def reader(app: Path, plan: Plan) -> Read:
    """The app's files as they will be: the user's where they stay, else the templates'."""

    def read(relative: str) -> str:
        path = app / relative if relative in plan.left else plan.fresh[relative].source
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read, so what the app can run is not known ({error})") from error

    return read
