"""`--device iphone-12-pro-max` and the like: estimates for phones that are not here."""

from __future__ import annotations

from msgspec import to_builtins

from edgeclip.errors import NotRunnableError
from edgeclip.manifest import Artifact
from edgeclip.plugins import OPERATIONS, PLACEMENTS
from profiles.device import Request, nothing_of, takes
from profiles.estimates.device_file import DeviceFile, read_device
from profiles.estimates.neural_engine import Constants, constants, estimate
from profiles.results import Device, EstimatedRow, Profile, described

_NOTE = "estimated from the operations of the file and published figures of the device; nothing was run"
_UNCALIBRATED = "estimates of this device are calibrated on Core ML; nothing published tells how fast {target} is on it"


class Phone:
    """The device that `Request.argument` names, from `profiles/devices`."""

    def profile(self, request: Request) -> Profile:
        file = read_device(request.argument)
        takes(request, request.argument)
        found = constants(file)
        rows, not_run = [], {}
        for artifact in request.bundle.manifest.artifacts:
            if artifact.target not in PLACEMENTS:
                not_run[artifact.label] = _UNCALIBRATED.format(target=artifact.target)
                continue
            with request.progress(f"estimating {artifact.label}"):
                try:
                    rows.append(_row(request, artifact, found))
                except NotRunnableError as error:
                    not_run[artifact.label] = str(error)
        if not rows:
            raise nothing_of(request.bundle, "estimated", not_run)
        device = Device(id=request.argument, kind="estimated", name=file.name, details=_details(file))
        return Profile(device=device, rows=tuple(rows), bundle=str(request.bundle.path), not_run=not_run)


def _row(request: Request, artifact: Artifact, device: Constants) -> EstimatedRow:
    path = request.bundle.verified_path(artifact)
    operations = OPERATIONS[artifact.target].load()(path, artifact.method)
    segments = PLACEMENTS[artifact.target].load()(path)["summary"]["segments"]
    found = estimate(operations, segments, device)
    return EstimatedRow(
        **described(artifact, request.bundle.manifest.model),
        latency_ms=found.latency_ms,
        error_percent=device.error_percent,
        load_cold_ms=artifact.size_bytes / 1e6 * device.load_ms_per_mb,
        bounds=found.bounds,
        operators_ms=found.operators_ms,
    )


def _details(file: DeviceFile) -> dict[str, object]:
    """Every constant with its source, and how the figures came about."""
    constant = {name: value for name, value in to_builtins(file).items() if value is not None}
    return {"note": _NOTE, "load_note": "reading the file; Core ML also compiles it once, which can take seconds", **constant}


DEVICE = Phone()
