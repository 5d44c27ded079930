"""Templates of a few files and bundles of a few bytes: all that scaffolding looks at, and no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeclip.bundle_writer import BundleWriter
from edgeclip.golden import Golden, write_golden
from edgeclip.manifest import Artifact, Embedding, FileEntry, Manifest, Weights, content_sha256, size_bytes
from edgeclip.models import MODELS
from edgeclip.spec import Licence, Scoring

PROJECT = """\
name: EdgeClipDemo
options:
  deploymentTarget:
    iOS: "17.0"  # what ExecuTorch's package asks for
packages:
  EdgeClipKit: {path: ../EdgeClipKit}
  EdgeClipExecuTorch: {path: ../EdgeClipExecuTorch}
  executorch:
    branch: swiftpm-1.4.1
targets:
  EdgeClipDemo:
    dependencies:
      - package: executorch
        product: backend_coreml
      - package: executorch
        product: backend_xnnpack
      - product: kernels_quantized
"""
PACKAGE = """\
// swift-tools-version:5.9
let package = Package(
  name: "EdgeClipKit",
  platforms: [.iOS(.v16), .macOS(.v13)],  // .iOS(.v12) would be too early
  targets: [.target(name: "EdgeClipKit")]
)
"""
EXECUTORCH_PACKAGE = """\
let package = Package(
  name: "EdgeClipExecuTorch",
  platforms: [.iOS(.v17)],
  dependencies: [.package(url: "https://github.com/pytorch/executorch.git", branch: "swiftpm-1.4.1")]
)
"""
CATALOG = """\
[versions]
executorch = "1.4.1"

[libraries]
executorch-android = { module = "org.pytorch:executorch-android", version.ref = "executorch" }
"""

TEMPLATES = {
    "ios": {
        "EdgeClipDemo/project.yml": PROJECT,
        "EdgeClipDemo/Sources/App.swift": "struct App {}\n",
        "EdgeClipDemo/Sources/Search.swift": "struct Search {}\n",
        "EdgeClipDemo/Generated/BundleInfo.swift": "enum BundleInfo {}\n",
        "EdgeClipKit/Package.swift": PACKAGE,
        "EdgeClipExecuTorch/Package.swift": EXECUTORCH_PACKAGE,
        "EdgeClipKit/.gitignore": ".build\n",
        "EdgeClipKit/.build/debug/junk.o": "left by a build",
    },
    "android": {
        "gradle/libs.versions.toml": CATALOG,
        "gradlew": "#!/bin/sh\n",
        "demo/src/main/kotlin/dev/edgeclip/demo/App.kt": "class App\n",
        "demo/src/main/kotlin/dev/edgeclip/demo/BundleInfo.kt": "object BundleInfo\n",
        "local.properties": "sdk.dir=/opt/sdk\n",
    },
}


def write_templates(root: Path) -> Path:
    """Templates of both platforms, with what building them would leave."""
    for platform, files in TEMPLATES.items():
        for relative, text in files.items():
            path = root / platform / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (root / "android/gradlew").chmod(0o755)
    return root


@dataclass(frozen=True)
class Made:
    """An artifact to be written: what its manifest says besides what follows from it."""

    target: str
    tower: str
    backend: str | None = None
    scheme: str = "fp16"
    min_os: str | None = None
    libraries: tuple[str, ...] = ()
    checked: str = "run"


COREML = tuple(Made("coreml", tower, min_os="iOS17") for tower in ("image", "text"))
XNNPACK = tuple(Made("executorch", tower, backend="xnnpack", scheme="fp32") for tower in ("image", "text"))


def write_bundle(
    destination: Path,
    made: tuple[Made, ...] = (*COREML, *XNNPACK),
    model: str = "tinyclip-demo",
    space_id: str = "space-1",
    executorch: str = "1.4.1",
    content: str = "weights",
    commercial_use: bool = True,
) -> Manifest:
    """A bundle whose files hold nothing of a model."""
    spec = MODELS["tinyclip-demo"]
    licence = Licence(name="A licence", url="https://example.org/licence", commercial_use=commercial_use)
    with BundleWriter(destination, force=True) as writer:
        for relative in ("tokenizer/vocab.json", "tokenizer/merges.txt", "LICENSE.txt"):
            (writer.folder / relative).parent.mkdir(exist_ok=True)
            (writer.folder / relative).write_text(f"{relative} of {content}")
        write_golden(writer.folder / "golden.npz", _golden())
        files = tuple(
            FileEntry(path=path.relative_to(writer.folder).as_posix(), sha256=content_sha256(path), size_bytes=size_bytes(path))
            for path in sorted(writer.folder.rglob("*"))
            if path.is_file()
        )
        manifest = Manifest(
            schema="edgeclip.bundle/1",
            model=model,
            weights=Weights(source="demo", sha256="0" * 64, licence=licence),
            image=spec.preprocess,
            text=spec.tokenizer,
            embedding=Embedding(dim=4, l2_normalized=True, space_id=space_id),
            scoring=Scoring(kind="softmax", logit_scale=100.0),
            artifacts=tuple(_artifact(writer.folder, one, content) for one in made),
            tools={"executorch": executorch},
            golden="golden.npz",
            files=files,
        )
        writer.commit(manifest)
    return manifest


def _golden() -> Golden:
    rows = np.eye(2, 4, dtype=np.float32)
    return Golden(np.zeros((2, 64, 64, 3), np.uint8), rows, np.array(["a", "b"]), np.zeros((2, 77), np.int32), rows)


def _artifact(folder: Path, made: Made, content: str) -> Artifact:
    suffix = ".mlpackage" if made.target == "coreml" else ".pte"
    path = folder / made.target / f"{made.backend or 'ml'}_{made.tower}{suffix}"
    path.parent.mkdir(exist_ok=True)
    if made.target == "coreml":
        (path / "Data").mkdir(parents=True)
        (path / "Manifest.json").write_text("{}")
        (path / "Data" / "weights.bin").write_text(f"{content} {made.tower}")
    else:
        path.write_text(f"{content} {made.tower}")
    return Artifact(
        tower=made.tower,  # type: ignore[arg-type]
        target=made.target,
        backend=made.backend,
        scheme=made.scheme,
        path=path.relative_to(folder).as_posix(),
        sha256=content_sha256(path),
        size_bytes=size_bytes(path),
        inputs=(),
        outputs=(),
        min_os=made.min_os,
        libraries=made.libraries,
        checked=made.checked,  # type: ignore[arg-type]
    )


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder by their path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
