"""Bundles with made-up results: manifests without artifacts, for tests of what is shown of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeclip.manifest import Artifact, Manifest
from edgeclip.spec import TensorSpec
from profiles.results import (
    Device,
    EstimatedLatency,
    EstimatedRow,
    Latency,
    MeasuredRow,
    Profile,
    described,
)
from profiles.store import store
from tests.test_manifest import MANIFEST

HOST = Device(id="host", kind="measured", name="Example 9000", details={"governor": "performance"})
PHONE = Device(id="phone-14", kind="estimated", name="Example Phone 14")
EMULATOR = Device(id="android:emulator-5554", kind="measured", name="sdk_phone", emulated=True)


def artifact(tower: str, target: str, scheme: str, size_bytes: int, **changes: Any) -> Artifact:
    """An artifact whose hash tells it from others."""
    backend = "xnnpack" if target == "executorch" else None
    name = f"{target}/{tower}-{scheme}"
    tensor = TensorSpec(name="x", shape=(1, 3, 8, 8), dtype="float32", kind="tensor")
    fields: dict[str, Any] = {
        "tower": tower,
        "target": target,
        "backend": backend,
        "scheme": scheme,
        "path": name,
        "sha256": name.encode().hex().ljust(64, "0")[:64],
        "size_bytes": size_bytes,
        "inputs": (tensor,),
        "outputs": (tensor,),
        "min_os": None,
    }
    return Artifact(**{**fields, **changes})


SIX = (
    artifact("image", "coreml", "fp16", 4_000_000),
    artifact("image", "executorch", "fp32", 8_000_000, delegates={"XnnpackBackend": 1}, delegated_percent=100.0),
    artifact("image", "executorch", "w8", 2_000_000),
    artifact("text", "coreml", "fp16", 10_000_000),
    artifact("text", "executorch", "fp32", 20_000_000),
    artifact("text", "executorch", "w8", 5_000_000),
)


def write_bundle(folder: Path, artifacts: Sequence[Artifact] = SIX, **changes: Any) -> Path:
    """A folder with a manifest of these artifacts; `changes` are to the manifest's JSON."""
    folder.mkdir(parents=True)
    entries = [msgspec.to_builtins(entry) for entry in artifacts]
    manifest = {**MANIFEST, "artifacts": entries, **changes}
    content = msgspec.convert(manifest, Manifest).to_json()
    (folder / "edgeclip.json").write_bytes(content)
    return folder


def check(entry: Artifact, cosine: float | None, **changes: Any) -> dict[str, Any]:
    """A row of `verify.json`."""
    fields = ("tower", "target", "backend", "scheme", "sha256")
    row = {name: getattr(entry, name) for name in fields}
    row |= {"runtime": entry.target, "mode": "native", "samples": 24, "cosine_min": cosine, "cosine_mean": cosine}
    row |= {"max_abs_error": 1e-4, "rank_agreement": 0.999, "between_input_cosine": 0.1, "length_error": 1e-6}
    row |= {"threshold": {"cosine_min": 0.99, "reason": "made up", "max_abs_error": None}, "failures": [], "error": None}
    return {**row, "passed": cosine is not None and cosine >= 0.99, **changes}


def write_verified(folder: Path, rows: Sequence[Mapping[str, Any]], **changes: Any) -> None:
    """`verify.json` with these rows."""
    whole = {"passed": all(row["passed"] for row in rows), "rows": list(rows), "first_divergence": None, "contract": []}
    (folder / "verify.json").write_text(json.dumps({**whole, **changes}))


def measured(entry: Artifact, p50: float, **changes: Any) -> MeasuredRow:
    """A measurement of an artifact of model `tinyclip-demo`."""
    latency = Latency(
        p50=p50, p90=1.1 * p50, p99=1.3 * p50, min=0.9 * p50, mean=p50, n=100, median_interval=(0.99 * p50, 1.01 * p50)
    )
    fields: dict[str, Any] = {
        **described(entry, "tinyclip-demo"),
        "runtime": entry.target,
        "threads": 1,
        "load_cold_ms": 50.0,
        "load_warm_ms": 20.0,
        "first_ms": 2 * p50,
        "latency_ms": latency,
        "peak_memory_mb": 300.0,
        "operators_ms": {"Conv2d": 0.75 * p50, "Gelu": 0.25 * p50},
    }
    return MeasuredRow(**{**fields, **changes})


def estimated(entry: Artifact, p50: float, **changes: Any) -> EstimatedRow:
    """An estimate for it."""
    fields: dict[str, Any] = {
        **described(entry, "tinyclip-demo"),
        "latency_ms": EstimatedLatency(p50=p50, low=0.8 * p50, high=1.3 * p50),
        "error_percent": (8.0, 20.0),
        "bounds": {"compute": 0.6 * p50, "memory": 0.4 * p50},
        "operators_ms": {"conv": p50},
    }
    return EstimatedRow(**{**fields, **changes})


def write_full(folder: Path, **changes: Any) -> Path:
    """Six artifacts, all verified, measured on a host and an emulator, and estimated for a phone."""
    write_bundle(folder, **changes)
    cosines = (0.99999, 0.9999999999, 0.997, 0.99995, 0.9999999999, 0.995)
    write_verified(folder, [check(entry, cosine) for entry, cosine in zip(SIX, cosines, strict=True)])
    times = {("fp32", 1): 8.0, ("fp32", 2): 4.5, ("w8", 1): 5.0, ("w8", 2): 3.0}
    quick = [
        measured(entry, times[entry.scheme, threads], threads=threads)
        for entry in SIX
        if entry.target == "executorch"
        for threads in (1, 2)
    ]
    slow = [measured(entry, 90.0, runtime="mil", reference=True, operators_ms={}) for entry in SIX if entry.target == "coreml"]
    noisy = measured(SIX[5], 2.0, threads=4, noisy=("load average 3.1 on 2 processors",))
    store(folder, Profile(device=HOST, rows=(*quick, *slow, noisy), tools={"executorch": "1.4.1"}))
    store(folder, Profile(device=EMULATOR, rows=(measured(SIX[1], 7.0),)))
    store(folder, Profile(device=PHONE, rows=(estimated(SIX[0], 1.5), estimated(SIX[3], 1.6))))
    return folder
