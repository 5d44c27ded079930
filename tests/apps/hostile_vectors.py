"""Files that are not what they say: a core has to give an error for each, as Python does, and never trap.

Kinds, and what is at `path`, below `hostile/`:

    manifest    a bundle's folder; to be opened, and every file and artifact checked by its hash
    labels      a label bank
    index       a search index; to be opened
    golden      a `golden.json`
    tokenizer   a folder with a tokenizer's files and, as `spec.json`, the manifest's `text`; to be loaded
    text        a text file, UTF-8, too long for any tokenizer
    mangled     as `tokenizer`, but with damage that Python does not notice: an error or ids, whichever, but no trap
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.data.cleaning import MAX_TEXT_CHARS
from edgeclip.manifest import Bundle

Damage = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """One of `cases.json`."""

    name: str
    kind: str
    path: str
    why: str


def write_hostile_vectors(out: Path) -> None:
    """Write `hostile/` below `out`, from the sound vectors that are there."""
    folder = out / "hostile"
    folder.mkdir(exist_ok=True)
    makers = (_manifests, _labels, _indexes, _golden, _clip, _pieces, _texts)
    cases = [case for make in makers for case in make(folder, out)]
    assert len({case.name for case in cases}) == len(cases)
    (folder / "cases.json").write_text(json.dumps([vars(case) for case in cases], indent=1), "utf-8")


def _case(folder: Path, kind: str, name: str, why: str, file: str = "") -> tuple[Case, Path]:
    """A case, and the path to write: a file in a folder of its own, or that folder."""
    own = folder / f"{kind}-{name}"
    own.mkdir(parents=True)
    return Case(own.name, kind, f"{own.name}/{file}" if file else own.name, why), own / file if file else own


# Manifests ------------------------------------------------------------------------------------------------------------


def _manifests(folder: Path, out: Path) -> Iterator[Case]:
    sound = _small_bundle(out)
    for name, why, change in _STATEMENTS:
        case, path = _case(folder, "manifest", name, why)
        manifest = copy.deepcopy(sound)
        change(manifest)
        _write_bundle(path, manifest)
        yield case
    for name, why, damage in _MANIFEST_BYTES:
        case, path = _case(folder, "manifest", name, why)
        _write_bundle(path, sound)
        content = damage((path / "edgeclip.json").read_bytes())
        (path / "edgeclip.json").write_bytes(content)
        yield case
    for name, why, break_it in _BUNDLE_FILES:
        case, path = _case(folder, "manifest", name, why)
        _write_bundle(path, sound)
        break_it(path)
        yield case


def _small_bundle(out: Path) -> dict[str, Any]:
    """The manifest of the sound bundle, over artifacts of a few bytes."""
    manifest: dict[str, Any] = json.loads(Bundle.open(out / "bundle").manifest.to_json())
    for name in ("artifacts", "files"):
        manifest[name] = [entry for entry in manifest[name] if entry["path"] in _WRITABLE]
    for entry in manifest["artifacts"] + manifest["files"]:
        content = _content(entry["path"])
        entry.update(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return manifest


def _content(path: str) -> bytes:
    return f"what {path} holds\n".encode() * 20


def _write_bundle(path: Path, manifest: dict[str, Any]) -> None:
    for relative in _WRITABLE:
        (path / relative).parent.mkdir(parents=True, exist_ok=True)
        (path / relative).write_bytes(_content(relative))
    (path / "edgeclip.json").write_text(json.dumps(manifest), "utf-8")


_WRITABLE = ("executorch/tinyclip_demo_image.pte", "executorch/tinyclip_demo_text.pte", "golden.npz", "LICENSE.txt")


def _set(*keys: str | int, value: Any) -> Damage:
    """A change of one place in a manifest."""

    def change(manifest: Any) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


def _drop(*keys: str | int) -> Damage:
    def change(manifest: Any) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        del manifest[keys[-1]]

    return change


_LEAVING = ("../outside.pte", "/etc/passwd", "a/../../b", "a\\b", "C:x", "./a", "a//b", "", ".", "a/", "nul\0byte")
_STATEMENTS: list[tuple[str, str, Damage]] = [
    ("schema-2", "a schema of the future", _set("schema", value="edgeclip.bundle/2")),
    ("schema-number", "a schema that is no text", _set("schema", value=1)),
    ("no-schema", "no schema", _drop("schema")),
    ("no-artifacts-key", "no artifacts", _drop("artifacts")),
    ("no-image", "no preprocessing", _drop("image")),
    ("unknown-key", "a key that is not known", _set("surprise", value=1)),
    ("unknown-key-inside", "a key that is not known, inside", _set("image", "surprise", value=1)),
    ("artifacts-object", "artifacts that are no list", _set("artifacts", value={})),
    ("image-null", "preprocessing that is null", _set("image", value=None)),
    ("size-huge", "an image side of 10^9", _set("image", "size", value=10**9)),
    ("size-negative", "an image side below zero", _set("image", "size", value=-64)),
    ("size-text", "an image side that is a text", _set("image", "size", value="64")),
    ("size-beyond-64-bits", "an image side of 2^70", _set("image", "size", value=2**70)),
    ("resize-unknown", "a way to resize that is not known", _set("image", "resize", value="stretch")),
    ("interpolation-unknown", "a filter that is not known", _set("image", "interpolation", value="lanczos")),
    ("color-unknown", "channels in another order", _set("image", "color", value="BGR")),
    ("mean-short", "a mean of two channels", _set("image", "mean", value=[0.5, 0.5])),
    ("context-huge", "a context of 10^9 tokens", _set("text", "context_length", value=10**9)),
    ("context-zero", "a context of no tokens", _set("text", "context_length", value=0)),
    ("eot-negative", "an end token below zero", _set("text", "eot", value=-1)),
    ("tokenizer-unknown", "a tokenizer that is not known", _set("text", "tokenizer", value="wordpiece")),
    ("clean-unknown", "a cleaning that is not known", _set("text", "clean", value="none")),
    ("dim-zero", "embeddings of no values", _set("embedding", "dim", value=0)),
    ("dim-negative", "embeddings of -1 values", _set("embedding", "dim", value=-1)),
    ("scoring-unknown", "a scoring that is not known", _set("scoring", "kind", value="cosine")),
    ("size-bytes-negative", "an artifact of -1 bytes", _set("artifacts", 0, "size_bytes", value=-1)),
    ("sha-short", "a hash that is none", _set("artifacts", 0, "sha256", value="abc")),
    ("sha-upper", "a hash in capitals", _set("artifacts", 0, "sha256", value="AB" * 32)),
    ("tower-unknown", "a tower that is not known", _set("artifacts", 0, "tower", value="audio")),
    ("shape-text", "a shape that is a text", _set("artifacts", 0, "inputs", 0, "shape", value="1x3x64x64")),
    ("dtype-unknown", "a type that is not known", _set("artifacts", 0, "inputs", 0, "dtype", value="complex64")),
    ("twice", "an artifact twice", lambda manifest: manifest["artifacts"].append(manifest["artifacts"][0])),
    ("file-twice", "a file twice", lambda manifest: manifest["files"].append(manifest["files"][0])),
    (
        "wrong-hash",
        "an artifact of another hash",
        _set("artifacts", 0, "sha256", value="0" * 64),
    ),
    ("file-wrong-hash", "a file of another hash", _set("files", 0, "sha256", value="0" * 64)),
    *(
        (f"leaves-{number}", f"an artifact at {path!r}", _set("artifacts", 0, "path", value=path))
        for number, path in enumerate(_LEAVING)
    ),
    *(
        (f"file-leaves-{number}", f"a file at {path!r}", _set("files", 0, "path", value=path))
        for number, path in enumerate(_LEAVING)
    ),
    *((f"golden-leaves-{number}", f"golden at {path!r}", _set("golden", value=path)) for number, path in enumerate(_LEAVING)),
]

_MANIFEST_BYTES: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("empty", "an empty manifest", lambda content: b""),
    ("cut", "half a manifest", lambda content: content[: len(content) // 2]),
    ("not-json", "no JSON", lambda content: b"bundle: yes\n"),
    ("array", "JSON that is no object", lambda content: b"[]"),
    ("deep", "JSON nested 100,000 deep", lambda content: b"[" * 100_000),
    ("deep-objects", "objects nested 100,000 deep", lambda content: b'{"a":' * 100_000),
    ("not-utf8", "a model's name that is not UTF-8", lambda content: content.replace(b"tinyclip-demo", b"tinyclip\xff\xfe", 1)),
    ("nan", "NaN, which is no JSON", lambda content: content.replace(b'"logit_scale": ', b'"logit_scale": NaN, "x": ', 1)),
    ("trailing", "more behind the manifest", lambda content: content + b"{}"),
    ("huge", "a manifest of 5 MB", lambda content: content + b" " * (5 << 20)),
    ("utf16", "a manifest in UTF-16", lambda content: content.decode().encode("utf-16")),
]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


_BUNDLE_FILES: list[tuple[str, str, Callable[[Path], object]]] = [
    ("no-manifest", "a folder without a manifest", lambda path: (path / "edgeclip.json").unlink()),
    ("no-artifact", "a bundle without its artifact", lambda path: (path / _WRITABLE[0]).unlink()),
    ("no-file", "a bundle without its licence", lambda path: (path / "LICENSE.txt").unlink()),
    ("artifact-cut", "a truncated artifact", lambda path: _cut(path / _WRITABLE[1])),
    ("artifact-empty", "an empty artifact", lambda path: (path / _WRITABLE[0]).write_bytes(b"")),
    ("artifact-folder", "a folder where an artifact is a file", lambda path: _to_folder(path / _WRITABLE[0])),
    ("file-cut", "a truncated file", lambda path: _cut(path / "golden.npz")),
    ("manifest-folder", "a folder where the manifest is", lambda path: _to_folder(path / "edgeclip.json")),
]


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


# Label banks ----------------------------------------------------------------------------------------------------------


def _labels(folder: Path, out: Path) -> Iterator[Case]:
    sound = (out / "labels" / "bank.safetensors").read_bytes()
    for name, why, damage in _BANK_BYTES:
        case, path = _case(folder, "labels", name, why, "labels.safetensors")
        path.write_bytes(damage(sound))
        yield case
    for name, why, change in _BANK_HEADERS:
        case, path = _case(folder, "labels", name, why, "labels.safetensors")
        (length,) = struct.unpack("<Q", sound[:8])
        header = json.loads(sound[8 : 8 + length])
        data = change(header) or sound[8 + length :]
        encoded = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
        yield case


_BANK_BYTES: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("empty", "an empty file", lambda content: b""),
    ("seven", "a file of seven bytes", lambda content: content[:7]),
    ("length-only", "a header's length and nothing else", lambda content: content[:8]),
    ("cut-header", "half a header", lambda content: content[:100]),
    ("cut", "data without its last byte", lambda content: content[:-1]),
    ("longer", "a byte behind the data", lambda content: content + b"\0"),
    ("length-huge", "a header of 2^63 bytes", lambda content: struct.pack("<Q", 2**63) + content[8:]),
    ("length-all-ones", "a header of 2^64 - 1 bytes", lambda content: b"\xff" * 8 + content[8:]),
    ("length-zero", "no header", lambda content: struct.pack("<Q", 0) + content[8:]),
    ("not-json", "a header that is no JSON", lambda content: struct.pack("<Q", 4) + b"abcd" + content[12:]),
    ("deep", "a header nested deep", lambda content: struct.pack("<Q", 100_000) + b"[" * 100_000),
]


def _meta(**changes: Any) -> Damage:
    return lambda header: header["__metadata__"].update(changes)


def _tensor(**changes: Any) -> Damage:
    return lambda header: header["embeddings"].update(changes)


def _filled(value: float) -> Damage:
    """All embeddings set to one value."""

    def change(header: Any) -> bytes:
        return np.full(header["embeddings"]["shape"], value, "<f2").tobytes()

    return change


def _first_nan(header: Any) -> bytes:
    rows, dim = header["embeddings"]["shape"]
    values = np.zeros((rows, dim), "<f2")
    values[:, 0] = 1
    values[0, 1] = np.nan
    return values.tobytes()


def _no_labels(header: Any) -> bytes:
    header["__metadata__"]["labels"] = "[]"
    header["embeddings"].update(shape=[0, header["embeddings"]["shape"][1]], data_offsets=[0, 0])
    return b""


def _without_data(header: Any) -> bytes:
    _no_labels(header)
    return b" "


_BANK_HEADERS: list[tuple[str, str, Damage]] = [
    ("nan", "an embedding with a NaN", _first_nan),
    ("infinite", "embeddings of infinity", _filled(np.inf)),
    ("zero", "embeddings of zeros", _filled(0.0)),
    ("long", "embeddings of another length than 1", _filled(1.0)),
    ("no-labels", "no labels", _without_data),
    ("schema-2", "a schema of the future", _meta(schema="edgeclip.labels/2")),
    ("labels-numbers", "labels that are numbers", _meta(labels="[1,2]")),
    ("labels-fewer", "fewer labels than embeddings", _meta(labels='["a","b"]')),
    ("labels-no-json", "labels that are no JSON", _meta(labels="a,b")),
    ("labels-object", "labels that are an object", _meta(labels="{}")),
    ("scoring-unknown", "a scoring that is not known", _meta(scoring='{"kind":"cosine","logit_scale":1.0}')),
    ("scoring-missing", "a scoring without a scale", _meta(scoring='{"kind":"softmax"}')),
    ("templates-without-place", "templates without a place for the label", _meta(templates='["a photo"]')),
    ("metadata-number", "metadata that is a number", _meta(space_id=5)),
    ("metadata-missing", "no metadata", lambda header: header.pop("__metadata__") and None),
    ("space-missing", "no space", lambda header: header["__metadata__"].pop("space_id") and None),
    ("tensor-missing", "no embeddings", lambda header: header.pop("embeddings") and None),
    ("tensor-more", "another tensor", lambda header: header.update(other=header["embeddings"])),
    ("dtype-unknown", "a type that is not known", _tensor(dtype="I8")),
    ("shape-overflow", "a shape of 2^80 values", _tensor(shape=[2**40, 2**40])),
    ("shape-negative", "a negative shape", _tensor(shape=[-44, -96])),
    ("shape-one", "a shape of one side", _tensor(shape=[4224])),
    ("offsets-beyond", "offsets behind the end", _tensor(data_offsets=[0, 2**40])),
    ("offsets-reversed", "an end before the beginning", _tensor(data_offsets=[64, 0])),
    ("offsets-shifted", "data that do not begin at 0", _tensor(data_offsets=[2, 66])),
]


# Indexes --------------------------------------------------------------------------------------------------------------


def _indexes(folder: Path, out: Path) -> Iterator[Case]:
    for name, why, break_it in _INDEX_DAMAGES:
        case, path = _case(folder, "index", name, why, "x.edgeindex")
        shutil.copytree(out / "index" / "appended.edgeindex", path)
        break_it(path)
        yield case


def _head(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        head = json.loads((path / "index.json").read_text())
        (path / "index.json").write_text(json.dumps(head | changes))

    return change


def _file(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(content)


def _shorter(name: str) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:-1])


_INDEX_DAMAGES: list[tuple[str, str, Callable[[Path], object]]] = [
    ("no-head", "no index.json", lambda path: (path / "index.json").unlink()),
    ("head-empty", "an empty index.json", _file("index.json", b"")),
    ("head-deep", "an index.json nested deep", _file("index.json", b"[" * 60_000)),
    (
        "head-huge",
        "an index.json of 1 MB",
        lambda path: _file("index.json", (path / "index.json").read_bytes() + b" " * (1 << 20))(path),
    ),
    ("schema-2", "a schema of the future", _head(schema="edgeclip.index/2")),
    ("unknown-key", "a key that is not known", _head(more=1)),
    ("rows-more", "more rows than there are", _head(rows=304)),
    ("rows-negative", "rows below zero", _head(rows=-1)),
    ("rows-overflow", "rows by values that overflow", _head(rows=2**61, dim=8)),
    ("rows-all", "more rows than fit into memory", _head(rows=2**31 - 1, dim=1)),
    ("rows-half", "half a row", _head(rows=1.5)),
    ("dim-zero", "rows of no values", _head(dim=0)),
    ("dim-huge", "rows of 2^40 values", _head(dim=2**40)),
    ("dim-more", "rows longer than they are", _head(dim=9)),
    ("rows-missing", "no embeddings.i8", lambda path: (path / "embeddings.i8").unlink()),
    ("scales-missing", "no scales.f32", lambda path: (path / "scales.f32").unlink()),
    ("ids-missing", "no ids.txt", lambda path: (path / "ids.txt").unlink()),
    ("rows-cut", "embeddings.i8 without its last byte", _shorter("embeddings.i8")),
    ("scales-cut", "scales.f32 without its last byte", _shorter("scales.f32")),
    ("ids-cut", "ids.txt without its last line end", _shorter("ids.txt")),
    ("ids-empty", "an empty ids.txt", _file("ids.txt", b"")),
    ("ids-blank", "ids that are empty", _file("ids.txt", b"\n" * 400)),
    ("ids-not-utf8", "ids that are not UTF-8", _file("ids.txt", b"\xff\xfe\n" * 400)),
    ("scales-nan", "scales that are NaN", _file("scales.f32", b"\xff" * 1300)),
    ("scales-infinite", "scales that are infinite", _file("scales.f32", struct.pack("<f", float("inf")) * 400)),
    ("scales-zero", "scales that are zero", _file("scales.f32", b"\0" * 1300)),
    ("scales-negative", "scales below zero", _file("scales.f32", struct.pack("<f", -1.0) * 400)),
]


# Golden files ---------------------------------------------------------------------------------------------------------


def _golden(folder: Path, out: Path) -> Iterator[Case]:
    sound = json.loads((out / "bundle" / "golden.json").read_text("utf-8"))
    for name, why, change in _GOLDEN_CHANGES:
        case, path = _case(folder, "golden", name, why, "golden.json")
        twin = copy.deepcopy(sound)
        change(twin)
        path.write_text(json.dumps(twin), "utf-8")
        yield case
    for name, why, content in (
        ("empty", "an empty file", b""),
        ("cut", "half a file", json.dumps(sound).encode()[:5000]),
        ("deep", "JSON nested deep", b"[" * 100_000),
        ("not-utf8", "bytes that are no text", b"\xff\xfe\xfd"),
        ("array", "JSON that is no object", b"[]"),
    ):
        case, path = _case(folder, "golden", name, why, "golden.json")
        path.write_bytes(content)
        yield case


_GOLDEN_CHANGES: list[tuple[str, str, Damage]] = [
    ("schema-2", "a schema of the future", _set("schema", value="edgeclip.golden/2")),
    ("unknown-key", "a key that is not known", _set("surprise", value=1)),
    ("no-texts", "texts that are missing", _drop("texts")),
    ("texts-empty", "no texts", _set("texts", value=[])),
    ("images-empty", "no images", _set("images", value=[])),
    ("rgb-no-base64", "pixels that are no base64", _set("images", 0, "rgb", value="!" * 400)),
    ("rgb-short", "fewer pixels than its size", _set("images", 0, "rgb", value=base64.b64encode(b"abc").decode())),
    ("width-zero", "a picture of no width", _set("images", 0, "width", value=0)),
    ("width-negative", "a picture of negative size", lambda twin: twin["images"][0].update(width=-64, height=-64)),
    ("width-overflow", "a picture of 2^62 pixels", lambda twin: twin["images"][0].update(width=2**31, height=2**31)),
    ("embedding-null", "an embedding with a null", _set("images", 0, "embedding", 0, value=None)),
    ("embedding-empty", "an embedding of no values", _set("texts", 0, "embedding", value=[])),
    ("embedding-longer", "an embedding longer than the others", lambda twin: twin["texts"][0]["embedding"].append(0.5)),
    ("ids-negative", "an id below zero", _set("texts", 0, "ids", 0, value=-1)),
    ("ids-huge", "an id of 2^40", _set("texts", 0, "ids", 0, value=2**40)),
    ("ids-half", "an id that is no whole number", _set("texts", 0, "ids", 0, value=0.5)),
    ("ids-shorter", "ids fewer than the others", lambda twin: twin["texts"][0]["ids"].pop()),
    ("floor-above-one", "a floor above 1", lambda twin: twin["min_cosine"].update(x=1.5)),
    ("floor-text", "a floor that is a text", lambda twin: twin["min_cosine"].update(x="0.9")),
]


# Tokenizers -----------------------------------------------------------------------------------------------------------


def _clip(folder: Path, out: Path) -> Iterator[Case]:
    sound = out / "tokens" / "clip"
    spec = json.loads((out / "tokens" / "clip.json").read_text())
    for name, why, file, damage in _CLIP_DAMAGES:
        case, path = _case(folder, "tokenizer", f"clip-{name}", why)
        for kept in ("vocab.json", "merges.txt"):
            content = (sound / kept).read_bytes()
            content = damage(content) if kept == file else content
            if content is not None:
                (path / kept).write_bytes(content)
        (path / "spec.json").write_text(json.dumps(spec | ({"eot": 5} if file == "spec" else {})))
        yield case


_CLIP_DAMAGES: list[tuple[str, str, str, Callable[[bytes], bytes | None]]] = [
    ("no-vocab", "no vocab.json", "vocab.json", lambda content: None),
    ("no-merges", "no merges.txt", "merges.txt", lambda content: None),
    ("vocab-empty", "an empty vocab.json", "vocab.json", lambda content: b""),
    ("vocab-cut", "half a vocab.json", "vocab.json", lambda content: content[: len(content) // 2]),
    ("vocab-array", "a vocab.json that is no object", "vocab.json", lambda content: b"[]"),
    ("vocab-deep", "a vocab.json nested deep", "vocab.json", lambda content: b'{"a":' * 100_000),
    ("vocab-text-ids", "ids that are texts", "vocab.json", lambda content: content.replace(b'"a": 64', b'"a": "64"', 1)),
    ("vocab-negative", "an id below zero", "vocab.json", lambda content: content.replace(b'"a": 64', b'"a": -64', 1)),
    ("vocab-huge", "an id of 2^40", "vocab.json", lambda content: content.replace(b'"a": 64', b'"a": 1099511627776', 1)),
    ("vocab-missing", "a token without an id", "vocab.json", lambda content: content.replace(b'"a": 64, ', b"", 1)),
    ("vocab-not-utf8", "a vocab.json that is not UTF-8", "vocab.json", lambda content: content.replace(b'"a"', b'"\xff"', 1)),
    ("merges-empty", "an empty merges.txt", "merges.txt", lambda content: b""),
    ("merges-header", "merges.txt without its first line", "merges.txt", lambda content: content.partition(b"\n")[2]),
    ("merges-three", "a merge of three", "merges.txt", lambda content: content.replace(b"\ni n\n", b"\ni n g\n", 1)),
    ("merges-one", "a merge of one", "merges.txt", lambda content: content.replace(b"\ni n\n", b"\nin\n", 1)),
    ("merges-unknown", "a merge that is no token", "merges.txt", lambda content: content + b"qzqzqz qzqzqz\n"),
    ("end-elsewhere", "an end token of another id than the manifest's", "spec", lambda content: content),
]


def _pieces(folder: Path, out: Path) -> Iterator[Case]:
    content = (out / "tokens" / "sentencepiece" / "spiece.model").read_bytes()
    spec = json.loads((out / "tokens" / "sentencepiece.json").read_text())
    for name, why, damage, changes in _PIECE_DAMAGES:
        case, path = _case(folder, "tokenizer", f"sentencepiece-{name}", why)
        (path / "spec.json").write_text(json.dumps(spec | changes))
        damaged = damage(content)
        if damaged is not None:
            (path / "spiece.model").write_bytes(damaged)
        yield case
    rng = np.random.RandomState(5)
    for number in range(24):
        case, path = _case(folder, "mangled", f"sentencepiece-{number}", "a model with some bytes of noise")
        mangled = bytearray(content)
        for place in rng.randint(0, len(mangled), 1 + number):
            mangled[place] = rng.randint(256)
        (path / "spec.json").write_text(json.dumps(spec))
        (path / "spiece.model").write_bytes(bytes(mangled))
        yield case


_PIECE_DAMAGES: list[tuple[str, str, Callable[[bytes], bytes | None], dict[str, Any]]] = [
    ("no-model", "no spiece.model", lambda content: None, {}),
    ("empty", "an empty model", lambda content: b"", {}),
    ("json", "JSON for a model", lambda content: b"{}", {}),
    ("zeros", "zeros for a model", lambda content: b"\0" * 100, {}),
    ("cut", "half a model", lambda content: content[: len(content) // 2], {}),
    ("length-huge", "a piece of 2^60 bytes", lambda content: b"\x0a" + b"\xff" * 8 + b"\x0f" + content, {}),
    ("varint-endless", "a number that does not end", lambda content: b"\xff" * 20 + content, {}),
    ("size", "fewer pieces than the manifest says", lambda content: content, {"vocab_size": 32000}),
    ("end-elsewhere", "an end token of another id than the manifest's", lambda content: content, {"eot": 5}),
]


def _texts(folder: Path, out: Path) -> Iterator[Case]:
    for name, text in (("ascii", "a" * (MAX_TEXT_CHARS + 1)), ("emoji", "😀" * (MAX_TEXT_CHARS + 1))):
        case, path = _case(folder, "text", name, f"{MAX_TEXT_CHARS + 1} characters", "text.txt")
        path.write_text(text, "utf-8")
        yield case
