"""What tests of phones share: a home for the stand-ins, and a bundle whose artifacts only they can run."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgeclip.bundle_writer import BundleWriter
from edgeclip.manifest import Artifact, Embedding, FileEntry, Manifest, Weights, content_sha256, file_sha256, size_bytes
from edgeclip.models import MODELS
from edgeclip.spec import Scoring, TensorSpec, Tower

STANDINS = Path(__file__).parent / "standins"
SERIAL = "R58M45ABCDE"
SIZE, DIM, CONTEXT = 8, 16, 5

# An 8-core phone with one prime, three big and four little cores, as cpufreq describes it; Android 14 on it.
CLUSTERS = (1_785_600, 1_785_600, 1_785_600, 1_785_600, 2_419_200, 2_419_200, 2_419_200, 2_841_600)
PROPERTIES = {
    "ro.product.manufacturer": "samsung",
    "ro.product.model": "SM-G991B",
    "ro.soc.manufacturer": "Samsung",
    "ro.soc.model": "Exynos 2100",
    "ro.hardware": "exynos2100",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a,armeabi",
}
EMULATOR = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "sdk_gphone64_arm64",
    "ro.hardware": "ranchu",
    "ro.boot.qemu": "1",
    "ro.build.version.release": "15",
    "ro.product.cpu.abilist": "arm64-v8a",
}
# Fields and order of AOSP's BatteryService.dumpInternal.
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3270000
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4352
  temperature: 274
  technology: Li-ion
"""
# As ThermalManagerService.dump of AOSP prints it.
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 4
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=38.5, mType=0, mName=CPU, mStatus=0}
HAL Ready: true
"""
DF = "Filesystem     1K-blocks     Used Available Use% Mounted on\n/dev/block/dm-44 111730556 47236348  64363136  43% /data\n"
IPHONE = {
    "identifier": "5B4C4E0B-1111-4000-8000-00000000A001",
    "connectionProperties": {"pairingState": "paired", "transportType": "wired", "tunnelState": "connected"},
    "deviceProperties": {"name": "Test iPhone", "osVersionNumber": "18.1", "developerModeStatus": "enabled"},
    "hardwareProperties": {
        "platform": "iOS",
        "deviceType": "iPhone",
        "marketingName": "iPhone 15 Pro",
        "productType": "iPhone16,1",
        "udid": "00008130-001234560E12001C",
    },
}
UDID = "00008130-001234560E12001C"
SIMULATORS = {
    "com.apple.CoreSimulator.SimRuntime.iOS-18-2": [
        {"udid": "AAAA-1", "name": "iPhone 16", "state": "Booted", "isAvailable": True, "deviceTypeIdentifier": "x"},
        {"udid": "AAAA-2", "name": "iPhone 16 Pro", "state": "Shutdown", "isAvailable": True},
    ],
    "com.apple.CoreSimulator.SimRuntime.iOS-17-0": [
        {"udid": "AAAA-3", "name": "iPhone SE", "state": "Shutdown", "isAvailable": False}
    ],
}


@dataclass(frozen=True)
class Home:
    """Where the stand-ins keep what they know: each attribute of the device is a file."""

    path: Path

    def set(self, name: str, content: str) -> None:
        (self.path / name).write_text(content)

    def get(self, name: str) -> str:
        file = self.path / name
        return file.read_text() if file.exists() else ""

    @property
    def scratch(self) -> Path:
        """The device's folder for programs of adb's user."""
        return self.path / "root" / "data" / "local" / "tmp"


def make_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A phone, an iPhone and two simulators, all in order, and the stand-ins first on PATH."""
    home = Home(path)
    monkeypatch.setenv("STANDIN_HOME", str(path))
    monkeypatch.setenv("STANDIN_EXECUTORCH", next(iter(importlib.util.find_spec("executorch").submodule_search_locations)))
    for name in ("adb", "xcrun"):
        program = path / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {STANDINS / name}.py "$@"\n')  # starts in 15 ms
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path / 'bin'}:{os.environ['PATH']}")
    home.scratch.mkdir(parents=True)
    (path / "answers").mkdir()
    set_cores(home, CLUSTERS)
    set_properties(home, PROPERTIES)
    for name, content in {
        "scenario": "fine",
        "release": "1.5",
        "devices": f"{SERIAL}\tdevice\n",
        "dumpsys-battery": BATTERY,
        "dumpsys-thermalservice": THERMAL,
        "df": DF,
        "simulators.json": json.dumps({"devices": SIMULATORS}),
    }.items():
        home.set(name, content)
    set_iphones(home, IPHONE)
    return home


def set_properties(home: Home, properties: dict[str, str]) -> None:
    """What getprop answers."""
    home.set("properties", "".join(f"{name}={value}\n" for name, value in properties.items()))


def set_cores(home: Home, speeds: tuple[int, ...], allowed: tuple[int, ...] | None = None) -> None:
    """Cores with these top frequencies in kHz; without any, those of an emulator, which has no cpufreq."""
    for number, (speed, now) in enumerate(zip(speeds, allowed or speeds, strict=True)):
        folder = home.path / "root" / "sys" / "devices" / "system" / "cpu" / f"cpu{number}" / "cpufreq"
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in (("cpuinfo_max_freq", speed), ("scaling_max_freq", now), ("scaling_governor", "schedutil")):
            (folder / name).write_text(f"{value}\n")


def set_iphones(home: Home, *phones: dict[str, object], outcome: str = "success") -> None:
    """What devicectl lists."""
    home.set("devices.json", json.dumps({"info": {"outcome": outcome, "jsonVersion": 2}, "result": {"devices": phones}}))


def changed(phone: dict[str, object], section: str, **values: str) -> dict[str, object]:
    """A phone with other properties in one section."""
    before = phone[section]
    assert isinstance(before, dict)
    return {**phone, section: {**before, **values}}


def write_runner(path: Path, machine: int = 183) -> Path:
    """A file that starts as an ELF program for that machine (e_machine); the stand-in runs in its place."""
    path.write_bytes(
        b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + machine.to_bytes(2, "little") + b"runner" * 99
    )
    return path


def write_phone_bundle(
    folder: Path, home: Home, *, delegates: tuple[str, ...] = ("XnnpackBackend",), towers: tuple[Tower, ...] = ("image", "text")
) -> Manifest:
    """Towers for both targets, as noise; the stand-in runner knows the embedding of each golden input."""
    spec = MODELS["tinyclip-demo"]
    draw = np.random.default_rng(5)
    golden = {
        "images": draw.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8),
        "texts": np.array(["a", "b"]),
        "text_ids": draw.integers(0, 1000, (2, CONTEXT), dtype=np.int32),
    }
    for tower, count in (("image", 3), ("text", 2)):
        rows = draw.standard_normal((count, DIM)).astype(np.float32)
        golden[f"{tower}_embeddings"] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pixels = golden["images"].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    for given, wanted in ((pixels, golden["image_embeddings"]), (golden["text_ids"], golden["text_embeddings"])):
        for one, embedding in zip(given, wanted, strict=True):
            (home.path / "answers" / hashlib.sha256(one.tobytes()).hexdigest()).write_bytes(embedding.tobytes())
    with BundleWriter(folder, None) as writer:
        np.savez(writer.folder / "golden.npz", **golden)
        artifacts = []
        for tower in towers:
            for target, backend in (("executorch", "xnnpack"), ("coreml", None)):
                relative = f"{target}/{tower}.{'pte' if backend else 'mlpackage'}"
                path = writer.folder / relative
                (path.parent if backend else path).mkdir(parents=True, exist_ok=True)
                (path if backend else path / "Manifest.json").write_bytes(draw.bytes(3000))
                picture = TensorSpec(
                    name="image", shape=(1, 3, SIZE, SIZE), dtype="float32", kind="tensor" if backend else "image"
                )
                ids = TensorSpec(name="text", shape=(1, CONTEXT), dtype="int32")
                artifacts.append(
                    Artifact(
                        tower=tower,
                        target=target,
                        backend=backend,
                        scheme="fp32",
                        path=relative,
                        sha256=content_sha256(path),
                        size_bytes=size_bytes(path),
                        inputs=(picture if tower == "image" else ids,),
                        outputs=(TensorSpec(name="final_emb_1", shape=(1, DIM), dtype="float32"),),
                        min_os=None,
                        delegates=dict.fromkeys(delegates, 1) if backend else {},
                    )
                )
        stored = writer.folder / "golden.npz"
        manifest = Manifest(
            schema="edgeclip.bundle/1",
            model=spec.name,
            weights=Weights(source="demo", sha256="0" * 64, licence=spec.licence),
            image=spec.preprocess,
            text=spec.tokenizer,
            embedding=Embedding(dim=DIM, l2_normalized=True, space_id="s"),
            scoring=Scoring(kind="softmax", logit_scale=1.0),
            artifacts=tuple(artifacts),
            tools={},
            golden="golden.npz",
            files=(FileEntry(path="golden.npz", sha256=file_sha256(stored), size_bytes=stored.stat().st_size),),
        )
        writer.commit(manifest)
    return manifest
