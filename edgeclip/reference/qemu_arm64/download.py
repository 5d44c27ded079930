"""Downloads that are checked, kept, and said clearly when there is no network."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from edgeclip.errors import HubError
from edgeclip.manifest import file_sha256

_TIMEOUT_S = 60
_CHUNK = 1 << 20


def fetch_bytes(url: str) -> bytes:
    """What is at an address. Raises HubError."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            content: bytes = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error
    return content


def fetch(url: str, path: Path, sha256: str, received: Callable[[float], None]) -> None:
    """Download to `path`, unless it is there with that hash. What fails half-way leaves no file."""
    if path.is_file() and file_sha256(path) == sha256:
        received(path.stat().st_size)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    digest, count = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, partial.open("wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                count += len(chunk)
                received(count)
        if digest.hexdigest() != sha256:
            raise HubError(f"{url}: has another hash than it should ({digest.hexdigest()}, not {sha256}): try again later")
        partial.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _unreachable(url: str, error: Exception) -> HubError:
    why = error.reason if isinstance(error, urllib.error.URLError) else error
    return HubError(f"{url}: cannot be fetched ({why}): is there a network? Proxies are taken from https_proxy")
