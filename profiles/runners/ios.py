"""`ios:UDID`: Core ML packages on an iPhone or iPad, through coremltools' remote device classes and `xcrun devicectl`.

coremltools (9.0, `models.ml_program.experimental`, its macOS wheel only) builds its app `modelrunner` with xcodebuild, installs
and starts it, and passes models, inputs and outputs as files through devicectl; the app clocks the load and each prediction on
the device. `MLModelAsyncWrapper` is used rather than `MLModelBenchmarker`, which is a loop around it: it also gives the
outputs, so that every timed prediction is held against the original's embedding.

What follows from coremltools' sources, and is said in `device.details`:
- the app makes a multi-array of every input, so a package that takes a picture is measured as a copy whose input is declared
  as the tensor that its program takes anyway; turning a pixel buffer into it is not in the time;
- predictions are apart by the exchange of files (half a second and more), so that processors may clock down in between;
- times per operation are shares of the whole by the compute plan's estimated costs: not measured, and not given here.

Written from those sources and tested against stand-ins for xcrun and coremltools' classes: not run on a device.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeclip.errors import DeviceError, MissingPackageError, NotRunnableError, UsageError
from edgeclip.manifest import Artifact, Bundle
from profiles.device import Request
from profiles.results import Device, Latency, MeasuredRow, Profile, described
from profiles.runners import xcode
from profiles.runners.commands import printable
from profiles.runners.executor_runner import plausible_ms
from profiles.runners.phone_row import check_embedding, chosen, nothing_ran, unsteady
from profiles.stats import StopRule, median

if TYPE_CHECKING:
    import numpy as np

TEAM, PROVISIONING, APPLICATION = "EDGECLIP_IOS_TEAM", "EDGECLIP_IOS_PROFILE", "EDGECLIP_IOS_BUNDLE_ID"
_APPLICATION = "com.coremltools.modelrunnerd"  # coremltools' own name for its app
_BUILD_S, _LOAD_S, _PREDICT_S = 1800.0, 600.0, 120.0
_LOADS = 3
_WALL_S = 300.0  # for the predictions of one artifact, nearly all of it copying
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Toolkit:
    """What is used of coremltools, by its names there."""

    get_devices: Callable[[], list[Any]]
    credentials: Callable[..., Any]
    wrapper: Callable[..., Any]
    open_model: Callable[[Path], tuple[Any, str]]


def coremltools_toolkit() -> Toolkit:
    """The real one."""
    if shutil.which("devicectl") is None:
        raise MissingPackageError(
            'devicectl is not on PATH, where coremltools looks for it: export PATH="$PATH:$(dirname $(xcrun --find devicectl))"'
        )
    import coremltools as ct
    from coremltools.models.ml_program.experimental.async_wrapper import MLModelAsyncWrapper
    from coremltools.models.ml_program.experimental.remote_device import AppSigningCredentials
    from coremltools.models.ml_program.experimental.remote_device import Device as RemoteDevice

    def open_model(path: Path) -> tuple[Any, str]:
        model = ct.models.MLModel(str(path), skip_model_load=True)
        return model.get_spec(), model.weights_dir

    return Toolkit(RemoteDevice.get_devices, AppSigningCredentials, MLModelAsyncWrapper.from_spec_or_path, open_model)


class IosDevice:
    """Measures on what devicectl reaches."""

    def __init__(self, toolkit: Callable[[], Toolkit] = coremltools_toolkit) -> None:
        self._toolkit = toolkit

    def profile(self, request: Request) -> Profile:
        xcode.check_system()
        artifacts, not_run = chosen(request, "coreml", None, "on an iPhone")
        signing = _signing(os.environ)
        device = xcode.choose_device(request.argument)
        toolkit = self._toolkit()
        application = signing.get("bundle_identifier") or _APPLICATION
        try:
            rows, cosines = asyncio.run(_measure_all(toolkit, device, signing, request, artifacts, not_run))
        finally:
            # an identifier of the user's may be that of another app, which is theirs
            left = _uninstalled(device, application) if application == _APPLICATION else f"{application}: not removed"
        if not rows:
            raise nothing_ran(request.bundle, not_run)
        hardware, properties = device.hardware_properties, device.device_properties
        return Profile(
            device=Device(
                id=f"ios:{device.udid}",
                kind="measured",
                name=hardware.marketing_name or hardware.product_type or hardware.device_type,
                details={
                    "os": f"iOS {properties.os_version_number}",
                    "product": hardware.product_type,
                    "compute_units": "ALL",
                    "golden_cosine": cosines,
                    "input": "tensors; making one of a pixel buffer is not in the time",
                    "pace": "predictions are apart by an exchange of files, so that processors may clock down in between",
                    **({"left_behind": left} if left else {}),
                },
            ),
            rows=tuple(rows),
            not_run=not_run,
        )


def _signing(environment: Mapping[str, str]) -> dict[str, str]:
    """How coremltools' app is signed: iOS starts no program that is not."""
    team, provisioning = environment.get(TEAM), environment.get(PROVISIONING)
    application = environment.get(APPLICATION)
    if not team and not (provisioning and application):
        raise UsageError(
            f"ios: set {TEAM} to your development team (10 characters), or {PROVISIONING} to a provisioning profile's UUID and "
            f"{APPLICATION} to its bundle identifier: the app that runs the model on the device has to be signed"
        )
    chosen_values = {
        "development_team": team,
        "provisioning_profile_uuid": provisioning,
        "bundle_identifier": application,
    }
    return {name: value for name, value in chosen_values.items() if value}


def _uninstalled(device: xcode.AppleDevice, application: str) -> str | None:
    """Remove coremltools' app; what is wrong, if that could not be done."""
    try:
        xcode.uninstall(device, application)
    except DeviceError as error:
        return f"{application}: {error}"
    return None


async def _measure_all(
    toolkit: Toolkit,
    device: xcode.AppleDevice,
    signing: Mapping[str, str],
    request: Request,
    artifacts: list[Artifact],
    not_run: dict[str, str],
) -> tuple[list[MeasuredRow], dict[str, float]]:
    rows: list[MeasuredRow] = []
    cosines: dict[str, float] = {}
    place = f"ios:{device.udid}"
    with tempfile.TemporaryDirectory() as folder:
        remote = next((one for one in _told(toolkit.get_devices, place) if one.udid == device.udid), None)
        if remote is None:
            raise DeviceError(f"{place}: coremltools does not see it")
        with request.progress(f"building and starting coremltools' app on {place}"):
            credentials = toolkit.credentials(**signing)
            preparing = remote.prepare_for_model_debugging(credentials=credentials, working_directory=Path(folder))
            ready = await _within(preparing, _BUILD_S, f"{place}: coremltools' app could not be built or started")
        try:
            for artifact in artifacts:
                path = request.bundle.verified_path(artifact)
                with request.progress(f"{artifact.label} on {place}"):
                    try:
                        row, cosine = await _measure(toolkit, ready, request, artifact, path, place)
                    except NotRunnableError as error:
                        not_run[artifact.label] = str(error)
                        continue
                rows.append(row)
                cosines[artifact.label] = cosine
        finally:
            ready.session.stop()
    return rows, cosines


async def _measure(
    toolkit: Toolkit, ready: Any, request: Request, artifact: Artifact, path: Path, place: str
) -> tuple[MeasuredRow, float]:
    spec, weights = toolkit.open_model(path)
    given, originals = _golden(request.bundle, artifact)
    take_tensors(spec, given[0].shape)

    async def load() -> tuple[Any, float]:
        model = toolkit.wrapper(spec_or_path=spec, weights_dir=weights, device=ready)
        await _within(model.load(), _LOAD_S, f"{place}: {artifact.path} does not load")
        return model, _nanoseconds(model.load_duration_in_nano_seconds, f"{place}: the load of {artifact.path}")

    loads = []
    for _ in range(_LOADS):
        model, spent = await load()
        loads.append(spent)
        if len(loads) < _LOADS:
            await _within(model.unload(), _LOAD_S, f"{place}: {artifact.path} does not unload")
    rule = StopRule(most_s=request.most_s, least_s=0.0, most=100)
    times: list[float] = []
    lowest, ends = 1.0, time.monotonic() + _WALL_S
    while len(times) < 2 or not (rule.enough(times[1:], 0.0) or rule.over(len(times), sum(times) / 1e3)):
        if time.monotonic() > ends and len(times) > rule.least:
            break
        number = len(times) % len(given)
        predicting = model.predict({artifact.inputs[0].name: given[number]})
        outputs = await _within(predicting, _PREDICT_S, f"{place}: {artifact.path} does not run")
        times.append(_nanoseconds(model.last_predict_duration_in_nano_seconds, f"{place}: a prediction of {artifact.path}"))
        if artifact.outputs[0].name not in outputs:
            raise DeviceError(f"{place}: {artifact.path} gave {', '.join(outputs)}, not {artifact.outputs[0].name}")
        found = outputs[artifact.outputs[0].name].astype("float32").reshape(1, -1)
        lowest = min(lowest, check_embedding(found, originals[number][None], artifact))
    await _within(model.unload(), _LOAD_S, f"{place}: {artifact.path} does not unload")
    timed = times[1:]
    return (
        MeasuredRow(
            **described(artifact, request.bundle.manifest.model),
            runtime="coreml",
            threads=None,
            load_cold_ms=loads[0],
            load_warm_ms=median(loads[1:]),
            first_ms=times[0],
            latency_ms=Latency.of(timed),
            peak_memory_mb=None,
            noisy=unsteady(timed, rule.within),
        ),
        lowest,
    )


def take_tensors(spec: Any, shape: tuple[int, ...]) -> None:
    """Declare a picture input as the float32 tensor that the program takes for it: values 0 to 255, (1, 3, H, W)."""
    kind = spec.description.input[0].type
    if kind.WhichOneof("Type") != "imageType":
        return
    kind.ClearField("imageType")
    kind.multiArrayType.shape.extend(shape)
    kind.multiArrayType.dataType = kind.multiArrayType.FLOAT32


def _golden(bundle: Bundle, artifact: Artifact) -> tuple[np.ndarray, np.ndarray]:
    """Golden inputs with a batch axis each, and their embeddings. A picture is 0 to 255, as in a pixel buffer."""
    import numpy as np

    from edgeclip.golden import read_golden

    golden = read_golden(bundle)
    if artifact.tower == "image":
        given = golden.images.transpose(0, 3, 1, 2).astype(np.float32)
        if artifact.inputs[0].kind != "image":
            given /= np.float32(255)
    else:
        given = golden.text_ids.astype(artifact.inputs[0].dtype)
    return given[:, None], golden.embeddings(artifact.tower)


async def _within(work: Awaitable[_Result], within_s: float, problem: str) -> _Result:
    """The result of what coremltools does, or one line of what went wrong."""
    try:
        return await asyncio.wait_for(work, within_s)
    except asyncio.TimeoutError:
        raise DeviceError(f"{problem}: no answer within {within_s:g} s") from None
    except Exception as error:
        if not _of_coremltools(error):
            raise
        raise DeviceError(f"{problem}: {printable(str(error)) or type(error).__name__}") from error


def _told(ask: Callable[[], _Result], problem: str) -> _Result:
    try:
        return ask()
    except Exception as error:
        if not _of_coremltools(error):
            raise
        raise DeviceError(f"{problem}: {printable(str(error))}") from error


def _of_coremltools(error: Exception) -> bool:
    """Whether coremltools says by it that a device did not do something: its own classes, and what it raises without one."""
    plain = type(error) in (Exception, RuntimeError, ValueError, TypeError)
    return plain or isinstance(error, OSError) or type(error).__module__.startswith("coremltools.")


def _nanoseconds(value: object, what: str) -> float:
    """Milliseconds of a duration that the app reports."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise DeviceError(f"{what} came back without a time")
    return plausible_ms(value / 1e6)


DEVICE = IosDevice()
