"""Published checkpoints on the Hugging Face hub: what is cached, and fetching; a download that breaks off is resumed.

`cached_path` looks into the hub's cache folders itself, because importing `huggingface_hub` costs more time than
`edgeclip models` may take.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

from edgeclip.errors import HubError
from edgeclip.manifest import file_sha256
from edgeclip.progress import Task
from edgeclip.spec import HubFile


def endpoint() -> str:
    """The hub's address; `HF_ENDPOINT` names a mirror."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def url(file: HubFile) -> str:
    """The address of a published file, for people and download tools."""
    return f"{endpoint()}/{file.repo}/resolve/main/{file.filename}"


def cached_path(file: HubFile) -> Path | None:
    """The newest complete copy in the hub's cache, or None. Loads nothing but the standard library."""
    folder = _cache_folder() / f"models--{file.repo.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text().strip()
    except OSError:
        return None
    path = folder / "snapshots" / revision / file.filename
    return path if re.fullmatch(r"[0-9a-f]{40}", revision) and path.is_file() else None


def _cache_folder() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache)
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(home).expanduser() / "hub"


def fetch(file: HubFile, task: Task) -> Path:
    """Download a published file, or find it in the cache; reports to `task`, resumes, and checks the content's hash.

    Raises HubError with what happened, the address, and what to do by hand.
    """
    import huggingface_hub
    from huggingface_hub import errors

    transport_errors: tuple[type[Exception], ...] = (OSError, *_transport_errors())
    options: dict[str, Any] = {
        "library_name": "edgeclip",
        "cache_dir": _cache_folder(),
        "endpoint": endpoint(),
        "tqdm_class": _bar(task),
    }
    try:
        path = Path(huggingface_hub.hf_hub_download(file.repo, file.filename, **options))
    except errors.GatedRepoError as error:
        raise _failed(file, "access is restricted; accept its terms on the hub and log in (`hf auth login`)") from error
    except errors.RepositoryNotFoundError as error:
        raise _failed(file, "the hub has no such repository, or wants a login (401/404)") from error
    except errors.LocalEntryNotFoundError as error:
        status = _status(error.__cause__)
        answer = "cannot be reached" if status is None else f"answered {status}"
        raise _failed(file, f"the hub {answer}, and the file is not cached") from error
    except errors.EntryNotFoundError as error:
        raise _failed(file, "the hub has no such file (404)") from error
    except errors.HfHubHTTPError as error:
        login = ": log in (`hf auth login`)" if _status(error) in (401, 403) else ""
        raise _failed(file, f"the hub answered {_status(error)}{login}") from error
    except transport_errors as error:
        raise _failed(file, f"the download broke off ({type(error).__name__}); run again") from error
    _check_content(path, file)
    return path


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, if it came to one."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _bar(task: Task) -> type[Any]:
    """A tqdm class that reports to `task` instead of drawing."""
    from tqdm.std import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # huggingface_hub's own addition
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            if self.total:
                task.advance(self.n, self.total)
            return True

    return Bar


def _transport_errors() -> tuple[type[Exception], ...]:
    """Errors of the HTTP library below huggingface_hub, which differs between its versions."""
    kinds: list[type[Exception]] = []
    for name in ("httpx", "httpx2", "requests"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        kinds += [getattr(module, kind) for kind in ("HTTPError", "RequestException") if hasattr(module, kind)]
    return tuple(kinds)


def _check_content(path: Path, file: HubFile) -> None:
    """The cache names large files by their SHA-256; a copy that does not hash to its name is damaged."""
    expected = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", expected) and file_sha256(path) != expected:
        raise _failed(file, f"the cached copy is damaged; delete {path.resolve()}")


def _failed(file: HubFile, reason: str) -> HubError:
    return HubError(
        f"cannot fetch {file.filename} of {file.repo}: {reason}; or download {url(file)} and pass --weights {file.filename}"
    )
