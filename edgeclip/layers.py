"""Tables of how each weight is stored, as scheme `auto` chooses them and `--layers` takes them back."""

from __future__ import annotations

import json
from pathlib import Path

from edgeclip.errors import InputError
from edgeclip.manifest import MANIFEST_FILE, Bundle
from edgeclip.spec import TOWERS

Tables = dict[str, dict[str, str]]
_MOST_BYTES = 4 << 20


def read_layers(path: Path, target: str) -> Tables:
    """{"image": {weight: form}, "text": {...}} from a JSON file, or from the manifest of a bundle with tables for `target`."""
    if path.is_dir() or path.name == MANIFEST_FILE:
        bundle = Bundle.open(path if path.is_dir() else path.parent)
        found: Tables = {
            artifact.tower: dict(artifact.layers)
            for artifact in bundle.manifest.artifacts
            if artifact.target == target and artifact.layers is not None
        }
        if not found:
            raise InputError(
                f"--layers {path}: no {target} artifact of the bundle has a table of layers (scheme auto writes one)"
            )
        return found
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"--layers {path}: larger than any table of layers")
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"--layers {path}: no such file or bundle") from None
    except OSError as error:
        raise InputError(f"--layers {path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--layers {path}: neither a bundle nor JSON ({error})") from error
    if not _is_tables(content):
        raise InputError(f'--layers {path}: wants {{"image": {{weight: form}}, "text": {{weight: form}}}}, or one of the two')
    return {tower: dict(table) for tower, table in content.items()}


def _is_tables(content: object) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and content.keys() <= set(TOWERS)
        and all(isinstance(table, dict) and all(isinstance(form, str) for form in table.values()) for table in content.values())
    )
