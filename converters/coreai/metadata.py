"""What an `.aimodel` says about itself: `metadata.json`, read without Core AI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeclip.errors import BundleError

FILE = "metadata.json"
OURS = "creatorDefinedMetadata"
PREFIX = "edgeclip."
DATE = "creationDate"
# What Xcode shows, by our name of it
FIELDS = {"author": "author", "licence": "license", "description": "description"}
_MOST_BYTES = 1 << 20


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of an asset. Raises BundleError if they are damaged."""
    file = path / FILE
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise BundleError(f"{file}: larger than any metadata")
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{file}: damaged ({error}); convert the model again") from error
    if not isinstance(content, dict) or not isinstance(content.get(OURS, {}), dict):
        raise BundleError(f"{file}: no metadata of a Core AI asset; convert the model again")
    return content


def write_metadata(path: Path, stated: dict[str, str]) -> None:
    """Put ours beside what Core AI wrote, without the date, in a steady order: it orders keys by chance."""
    content = read_metadata(path)
    content.pop(DATE, None)
    content |= {field: stated[name] for name, field in FIELDS.items() if name in stated}
    content[OURS] = {f"{PREFIX}{name}": value for name, value in stated.items() if name not in FIELDS}
    (path / FILE).write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def ours(path: Path) -> dict[str, str]:
    """What a conversion stated: `edgeclip.model`, `edgeclip.scheme` and so on."""
    return {name: str(value) for name, value in read_metadata(path).get(OURS, {}).items() if name.startswith(PREFIX)}


def stated_scheme(path: Path) -> str | None:
    """The scheme that an asset says it was made with."""
    return ours(path).get(f"{PREFIX}scheme")
