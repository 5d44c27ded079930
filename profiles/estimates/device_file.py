"""A device's constants: one TOML file for each in `profiles/devices`, every number with where it is from.

A device whose latencies are published is calibrated on them (`scripts/calibrate_devices.py` writes the fit into its file).
Others are scaled from a calibrated one by what is published of both, and their ranges are wider.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from edgeclip.errors import InputError
from edgeclip.registry import unknown

FOLDER = Path(__file__).parent.parent / "devices"


class Constant(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number; its unit is in the name of the field that holds it. source: an address, or how it follows from others."""

    value: float
    source: str

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError("a device constant is more than 0")
        if len(self.source) < 10:
            raise ValueError("a device constant has a source")


class Calibrated(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `published.calibrate` found. Errors are of rows left out of the fit that predicts them."""

    table: str
    rows: int
    parameters: int
    dispatch_ms: Constant
    ms_per_gmac: Constant
    ms_per_mb: Constant
    error_mean_percent: Constant
    error_worst_percent: Constant


class Scaled(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The calibrated device that this one is scaled from, and by how much its errors are widened."""

    device: str
    error_factor: Constant


class DeviceFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device. Either `calibrated` or `scaled`."""

    name: str
    chip: str
    neural_engine_tera_operations_per_s: Constant
    memory_gb_per_s: Constant
    cpu_gmacs_per_s: Constant
    storage_read_mb_per_s: Constant
    calibrated: Calibrated | None = None
    scaled: Scaled | None = None

    def __post_init__(self) -> None:
        if (self.calibrated is None) == (self.scaled is None):
            raise ValueError("a device is either calibrated or scaled")


def names(folder: Path = FOLDER) -> list[str]:
    """The devices that have a file."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_device(name: str, folder: Path = FOLDER) -> DeviceFile:
    """Raises UsageError for a device without a file, InputError for a file that is not as it should be."""
    path = folder / f"{name}.toml"
    if name not in names(folder):
        raise unknown("device", name, names(folder))
    try:
        return msgspec.toml.decode(path.read_bytes(), type=DeviceFile)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: not a description of a device ({error})") from error
