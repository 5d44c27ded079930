"""Reading TOML files of tables that people write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from edgeclip.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES: Final = 256 * 1024


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; an InputError names it."""
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise InputError(f"{path}: cannot be read (not a file)")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than any table of ours")
        tables: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    return tables
