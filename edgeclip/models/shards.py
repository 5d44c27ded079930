"""Checkpoints in several safetensors files; `model.safetensors.index.json` says which tensor is in which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgeclip.errors import InputError

INDEX_FILE = "model.safetensors.index.json"
# OpenCLIP's first: repositories that have it may have timm's image tower alone as the other.
_CHECKPOINTS = ("open_clip_model.safetensors", "model.safetensors", INDEX_FILE)
_MAX_INDEX_BYTES = 16 * 1024 * 1024


class _Index(msgspec.Struct):
    """Other keys, such as `metadata`, are not ours to judge."""

    weight_map: dict[str, str]


def in_folder(folder: Path) -> Path:
    """The checkpoint in a folder as the hub lays it out: one file, or an index."""
    for name in _CHECKPOINTS:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: is a folder without {' or '.join(_CHECKPOINTS)}; give the checkpoint file inside it")


def is_index(path: Path) -> bool:
    return path.name.endswith(".safetensors.index.json")


def parts(path: Path) -> list[Path]:
    """All files of a checkpoint, the index first: one where it is not in several."""
    return [path, *sorted(set(read_index(path).values()))] if is_index(path) else [path]


def read_index(path: Path) -> dict[str, Path]:
    """Which file beside the index each tensor is in. Raises InputError for an index that names any other place."""
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise InputError(f"{path}: larger than any index of a checkpoint")
        content: Any = msgspec.json.decode(path.read_bytes(), type=_Index)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not an index of a checkpoint ({error})") from error
    found = {}
    for key, name in content.weight_map.items():
        if Path(name).name != name or "\\" in name or "\0" in name or not name.endswith(".safetensors"):
            raise InputError(f"{path}: places tensor {key!r} in {name!r}, which is no safetensors file beside it")
        found[key] = path.parent / name
    missing = sorted(file.name for file in set(found.values()) if not file.is_file())
    if missing or not found:
        raise InputError(f"{path}: {f'{missing[0]} is missing beside it' if missing else 'lists no tensors'}")
    return found
