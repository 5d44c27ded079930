"""`edgeclip.json`: the manifest of a bundle, as types that refuse what they do not know.

The file is a contract with apps and is read from untrusted places: unknown keys, wrong types, wrong hashes and paths
that leave the bundle are errors. Writing a bundle is `edgeclip.bundle_writer`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from edgeclip.errors import BundleError
from edgeclip.spec import Licence, Preprocess, Scoring, TensorSpec, Tokenizer, Tower

MANIFEST_FILE = "edgeclip.json"
SCHEMA: Final = "edgeclip.bundle/1"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Size = Annotated[int, Meta(ge=0)]


class Weights(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the weights came from: `demo`, `seeded:N`, `hub:REPO/FILE` or `file:NAME`."""

    source: Annotated[str, Meta(pattern=r"^(demo|seeded:\d{1,9}|hub:[^/:]+/[^/:]+/.+|file:.+)\Z")]
    sha256: Sha256
    licence: Licence


class Embedding(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What comes out. Two bundles may share a search index only if their `space_id` is equal."""

    dim: Annotated[int, Meta(ge=1)]
    l2_normalized: bool
    space_id: str


class LeftBehind(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Operations of one kind that no delegate took, and the partitioner's reason."""

    op: str
    count: Annotated[int, Meta(ge=1)]
    why: str


Percent = Annotated[float, Meta(ge=0, le=100)]


class Artifact(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One converted tower. `sha256` of a folder is that of its listing, see `tree_sha256`.

    layers: how each named weight is stored, where that differs between weights; scheme `auto`, where a target has it, takes it
    back (`edgeclip convert --layers`).
    calibration: the hash of the inputs that the scheme looked at. min_cosine: what scheme `auto` promises of every embedding.
    kept_fp32: what a smaller type would ruin. libraries: of the runtime's, that an app has to link besides it and the backend.
    passes: -NAME for a graph pass that was left out, +NAME for an inexact one.
    method: which of the file's methods the tower is. checked: `run`, it was run where it was converted; `lowered`, nothing
    there could run it. delegates: how many of each kind, and delegated_percent of the operations (delegated_macs_percent of the
    multiply-accumulates) are in them; left: the others.
    """

    tower: Tower
    target: str
    backend: str | None
    scheme: str
    path: str
    sha256: Sha256
    size_bytes: Size
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    min_os: str | None
    seed: int = 0
    layout: str | None = None
    token_table: str | None = None
    convention: str | None = None
    calibration: Sha256 | None = None
    min_cosine: Annotated[float, Meta(ge=0, le=1)] | None = None
    layers: dict[str, str] | None = None
    kept_fp32: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    method: str = "forward"
    checked: Literal["run", "lowered"] = "run"
    delegates: dict[str, int] = {}
    delegated_percent: Percent | None = None
    delegated_macs_percent: Percent | None = None
    left: tuple[LeftBehind, ...] = ()

    @property
    def key(self) -> tuple[str, str, str | None, str]:
        """What identifies an artifact within its bundle."""
        return (self.tower, self.target, self.backend, self.scheme)

    @property
    def label(self) -> str:
        """For people: `coreml fp16 image`, `executorch/xnnpack w8 text`."""
        target = f"{self.target}/{self.backend}" if self.backend else self.target
        return f"{target} {self.scheme} {self.tower}"


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Any other file of the bundle: tokenizer, golden embeddings, licence."""

    path: str
    sha256: Sha256
    size_bytes: Size


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `edgeclip.json`."""

    schema: Literal["edgeclip.bundle/1"]
    model: str
    weights: Weights
    image: Preprocess
    text: Tokenizer
    embedding: Embedding
    scoring: Scoring
    artifacts: tuple[Artifact, ...]
    tools: dict[str, str]
    golden: str
    files: tuple[FileEntry, ...] = ()

    def to_json(self) -> bytes:
        """Indented JSON with a final newline; the same manifest gives the same bytes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_manifest(path: Path) -> Manifest:
    """Parse and check a manifest file."""
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path}: larger than any manifest")
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BundleError(f"{path.parent}: not a bundle (no {MANIFEST_FILE}); make one with `edgeclip convert`") from None
    except NotADirectoryError:
        raise BundleError(f"{path.parent}: not a bundle folder") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path}: not a valid manifest: {error}") from error
    artifacts = manifest.artifacts
    # Methods of one file are artifacts of their own, which agree on the file.
    stored = {(artifact.path, artifact.target, artifact.sha256, artifact.size_bytes) for artifact in artifacts}
    paths = [entry[0] for entry in stored] + [entry.path for entry in manifest.files]
    for relative in (*paths, manifest.golden):
        check_relative(relative, path)
    distinct = {artifact.key for artifact in artifacts}, {(artifact.path, artifact.method) for artifact in artifacts}
    if len(set(paths)) != len(paths) or any(len(names) != len(artifacts) for names in distinct):
        raise BundleError(f"{path}: two entries for one path or artifact")
    return manifest


def check_relative(relative: str, manifest: Path) -> None:
    """Refuse a path that is not plainly below the bundle."""
    parts = PurePosixPath(relative).parts
    plain = parts and "\\" not in relative and ":" not in relative and "\0" not in relative
    if not plain or relative.startswith("/") or ".." in parts or str(PurePosixPath(relative)) != relative:
        raise BundleError(f"{manifest}: path {relative!r} leaves the bundle or is not plain")


class Bundle:
    """An opened bundle. Nothing of it is trusted until `verified_path` has checked the hash."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read the manifest of a bundle folder."""
        from edgeclip.bundle_writer import is_staging

        if is_staging(path):
            raise BundleError(f"{path}: an unfinished conversion, not a bundle; delete it")
        return cls(path, read_manifest(path / MANIFEST_FILE))

    def locate(self, relative: str) -> Path:
        """A path of the manifest on disk; links that lead out of the bundle are refused."""
        path = self.path / relative
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise BundleError(f"{self.path / MANIFEST_FILE}: path {relative!r} leaves the bundle")
        if not path.exists():
            raise BundleError(f"{path}: missing; the manifest lists it. Convert the model again")
        return path

    def verified_path(self, entry: Artifact | FileEntry) -> Path:
        """The path of an artifact or file whose content has the hash that the manifest states."""
        path = self.locate(entry.path)
        if content_sha256(path) != entry.sha256:
            raise BundleError(f"{path}: content differs from the hash in {MANIFEST_FILE}; convert the model again")
        return path

    def verified_file(self, relative: str) -> Path:
        """As `verified_path`, for one of the manifest's `files` by its path."""
        for entry in self.manifest.files:
            if entry.path == relative:
                return self.verified_path(entry)
        raise BundleError(f"{self.path / MANIFEST_FILE}: lists no file {relative!r}")


def content_sha256(path: Path) -> str:
    """The hash of a file, or of a folder's listing."""
    return tree_sha256(path) if path.is_dir() else file_sha256(path)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def tree_sha256(path: Path) -> str:
    """SHA-256 over one line `sha256  relative/path` per file, sorted by path: what `sha256sum` prints, hashed again.

    Links inside are refused: what they lead to could change behind the hash.
    """
    lines = []
    for file in tree_files(path):
        lines.append(f"{file_sha256(file)}  {file.relative_to(path).as_posix()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tree_files(path: Path) -> list[Path]:
    """All files below a folder, or the file itself, sorted by their relative path."""
    if not path.is_dir():
        return [path]
    entries = sorted(path.rglob("*"), key=lambda entry: entry.relative_to(path).as_posix())
    for entry in entries:
        if entry.is_symlink():
            raise BundleError(f"{entry}: links are not allowed inside an artifact")
    return [entry for entry in entries if entry.is_file()]


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    return sum(file.stat().st_size for file in tree_files(path))
