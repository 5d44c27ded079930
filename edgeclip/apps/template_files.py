"""The files of `sample_apps`, from which apps are made.

In a checkout the folder `templates` beside this file is a link to them; in an installed package it is a copy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgeclip.errors import MissingPackageError
from edgeclip.manifest import file_sha256

TEMPLATES = Path(__file__).parent / "templates"
# What building or opening an app leaves in it.
_MADE = frozenset({".build", "build", ".gradle", ".kotlin", ".swiftpm", ".idea", "DerivedData", "xcuserdata", "__pycache__"})
_MADE_FILES = frozenset({"local.properties", ".DS_Store"})


@dataclass(frozen=True)
class Template:
    """One file of an app: where its content is, and whether it is a program."""

    source: Path
    sha256: str
    executable: bool


def templates(name: str, generated: str, bundles: str, root: Path = TEMPLATES) -> dict[str, Template]:
    """The files of a platform's app by their path within it, without those that are made for a bundle.

    Links are followed: what both platforms share is in each app.
    """
    folder = root / name
    found = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(set(folders) - _MADE)
        for file in sorted(set(files) - _MADE_FILES):
            path = Path(place) / file
            relative = path.relative_to(folder).as_posix()
            if relative != generated and not relative.startswith(f"{bundles}/"):
                found[relative] = Template(path, file_sha256(path), os.access(path, os.X_OK))
    if not found:
        raise MissingPackageError(f"{folder}: the app's templates are missing; install edgeclip again")
    return found
