"""Fetching from the hub, with a hub on this machine that does what the real one does, and what networks do."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgeclip.data.stand_in_pieces import stand_in_model
from edgeclip.errors import HubError, InputError
from edgeclip.models import MODELS
from edgeclip.models.hub import cached_path, fetch
from edgeclip.models.vocabulary import find_tokenizer
from edgeclip.models.weights import load_model
from edgeclip.progress import Task
from edgeclip.spec import HubFile

FILE = HubFile("someone/clip", "weights.bin")
COMMIT = "c" * 40
CONTENT = bytes(range(256)) * 100_000  # 26 MB: the hub's library writes 10 MB at a time


@dataclass
class Hub:
    """What the server answers, and what it was asked."""

    content: bytes = CONTENT
    status: int = 200
    error_code: str | None = None
    broken_after: int | None = None  # bytes, of as many downloads as `breaks` says
    breaks: int = 1
    sha256: str | None = None
    ranges: list[str | None] = field(default_factory=list)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _head(self, status: int, length: int) -> None:
            self.send_response(status)
            if hub.error_code:
                self.send_header("X-Error-Code", hub.error_code)
                self.send_header("X-Error-Message", hub.error_code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hub.sha256 or hashlib.sha256(hub.content).hexdigest()}"')
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def do_HEAD(self) -> None:
            self._head(hub.status, len(hub.content) if hub.status == 200 else 0)

        def do_GET(self) -> None:
            if hub.status != 200 or "/resolve/" not in self.path:
                self._head(hub.status if hub.status != 200 else 404, 0)
                return
            asked = self.headers.get("Range")
            hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
            rest = hub.content[start:]
            self._head(206 if asked else 200, len(rest))
            if hub.broken_after is not None:
                self.wfile.write(rest[: hub.broken_after])
                hub.breaks -= 1
                if hub.breaks <= 0:
                    hub.broken_after = None
                return
            self.wfile.write(rest)

        def log_message(self, *args: object) -> None:
            """Keep quiet."""

    return Handler


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[Hub]:
    """A hub that `fetch` asks, and an empty cache."""
    hub = Hub()
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts
        yield hub


class Recorder(Task):
    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def advance(self, done: float, total: float) -> None:
        self.steps.append((int(done), int(total)))


def test_a_file_is_fetched_once(hub):
    assert cached_path(FILE) is None
    progress = Recorder()
    path = fetch(FILE, progress)
    assert path.read_bytes() == CONTENT
    assert progress.steps[-1] == (len(CONTENT), len(CONTENT))
    assert cached_path(FILE) == path
    assert fetch(FILE, Task()) == path
    assert len(hub.ranges) == 1


def test_a_cached_file_needs_no_network(hub, monkeypatch):
    path = fetch(FILE, Task())
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch(FILE, Task()) == path


def test_a_broken_download_is_resumed(hub):
    hub.broken_after = 15_000_000
    assert fetch(FILE, Task()).read_bytes() == CONTENT
    assert len(hub.ranges) == 2
    assert hub.ranges[0] is None
    assert int(hub.ranges[1].removeprefix("bytes=").split("-")[0]) >= 10_000_000


def test_a_download_that_breaks_again_and_again_says_so(hub):
    hub.breaks, hub.broken_after = 100, 1_000_000
    with pytest.raises(HubError, match=r"the download broke off .*; run again; or download http"):
        fetch(FILE, Task())
    hub.breaks, hub.broken_after = 0, None
    assert fetch(FILE, Task()).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "EntryNotFound", "the hub has no such file (404)"),
        (404, "RepoNotFound", "no such repository, or wants a login (401/404)"),
        (401, None, "log in (`hf auth login`)"),
        (403, "GatedRepo", "accept its terms"),
        (500, None, "500"),
        (503, None, "503"),
    ],
)
def test_refusals(hub, status, code, expected):
    hub.status, hub.error_code = status, code
    with pytest.raises(HubError) as caught:
        fetch(FILE, Task())
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert "cannot fetch weights.bin of someone/clip" in message
    assert "/someone/clip/resolve/main/weights.bin and pass --weights weights.bin" in message
    assert cached_path(FILE) is None


def test_a_vocabulary_is_fetched_as_weights_are(hub):
    spec = MODELS["siglip-base-patch16-256"]
    hub.content = stand_in_model(spec.tokenizer.vocab_size)
    tokenizer = find_tokenizer(spec, "hub", None, Task())
    assert tokenizer.spec.vocabulary == "hub:google/siglip-base-patch16-256/spiece.model"
    assert cached_path(spec.vocabulary).read_bytes() == hub.content
    hub.status = 404  # from the cache, for a checkpoint file too
    assert find_tokenizer(spec, "weights.pt", None, Task()).spec == tokenizer.spec


def test_a_vocabulary_that_is_not_the_models(hub):
    spec = MODELS["siglip-base-patch16-256"]
    hub.content = stand_in_model(20_000)
    with pytest.raises(InputError, match="it has 20000 pieces, the model 32000 ids"):
        find_tokenizer(spec, "hub", None, Task())


def test_nobody_answers(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="the hub cannot be reached, and the file is not cached"):
        fetch(FILE, Task())


def test_content_that_is_not_what_its_name_says(hub):
    hub.sha256 = "0" * 64
    with pytest.raises(HubError, match="damaged; delete "):
        fetch(FILE, Task())


def test_from_the_command_line(hub, cli, tmp_path):
    hub.status, hub.error_code = 404, "EntryNotFound"
    result = cli("convert", "mobileclip-s0", "--target", "coreml", "--weights", "hub", "--out", tmp_path / "bundle")
    assert result.status == 2
    assert "mobileclip_s0.pt of apple/MobileCLIP-S0: the hub has no such file (404)" in result.error
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_a_fetched_checkpoint_is_loaded_and_listed_as_cached(hub, cli, tmp_path):
    from safetensors.torch import save_file

    from tests.support import independent

    spec = MODELS["tinyclip-vit-8m-16"]
    save_file(dict(independent.huggingface(spec).state_dict()), tmp_path / "model.safetensors")
    hub.content = (tmp_path / "model.safetensors").read_bytes()
    model = load_model(spec, "hub")
    assert model.source == f"hub:{spec.hub.repo}/{spec.hub.filename}"
    rows = {row["name"]: row for row in json.loads(cli("models", "--json").out)["models"]}
    assert rows["tinyclip-vit-8m-16"]["cached"]
    assert not rows["mobileclip-s0"]["cached"]


@pytest.mark.parametrize("weights", [(), ("--weights", "hub")])
def test_what_is_published_elsewhere_says_where(weights, cli, tmp_path):
    """Not asked of the hub: the address, and what to do with the file."""
    url = "https://github.com/wkcn/TinyCLIP-model-zoo/releases/download/checkpoints/TinyCLIP-ResNet-19M-Text-19M-LAION400M.pt"
    result = cli("convert", "tinyclip-resnet-19m", "--target", "executorch", *weights, "--out", tmp_path / "bundle")
    assert result.status == 2
    assert f"download {url} and pass --weights TinyCLIP-ResNet-19M-Text-19M-LAION400M.pt" in result.error
    rows = {row["name"]: row for row in cli("models", "--json").json["models"]}
    assert (rows["tinyclip-resnet-19m"]["weights"], rows["tinyclip-resnet-19m"]["cached"]) == (url, False)
