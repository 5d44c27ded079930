"""`ios:UDID` and `sim:NAME` against stand-ins for xcrun and coremltools' remote classes; the check for a Mac is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeclip.errors import DeviceError, EdgeclipError, MissingPackageError, NotRunnableError, UsageError
from edgeclip.golden import read_golden
from edgeclip.manifest import Bundle
from profiles.device import Request
from profiles.runners import ios, ios_simulator, xcode
from tests.profiles import phones
from tests.profiles.phones import IPHONE, UDID, Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A Mac with an iPhone and simulators, as far as xcrun tells."""
    monkeypatch.setattr(xcode, "check_system", lambda: None)
    monkeypatch.setenv(ios.TEAM, "ABCDE12345")
    monkeypatch.delenv(ios_simulator.RUNNER_VARIABLE, raising=False)
    return phones.make_home(tmp_path / "home", monkeypatch)


@pytest.fixture
def request_(tmp_path: Path, home: Home) -> Request:
    """A bundle of both towers, to be run for a short time."""
    phones.write_phone_bundle(tmp_path / "bundle", home)
    return Request(bundle=Bundle.open(tmp_path / "bundle"), argument=UDID, most_s=0.05)


def _with(request: Request, **changes) -> Request:
    return Request(**{**vars(request), **changes})


class FakeModel:
    """As coremltools' MLModelAsyncWrapper of a remote model: durations in nanoseconds, outputs by name."""

    def __init__(self, kit: FakeCoreml, spec: SimpleNamespace, device: object) -> None:
        self.kit, self.spec, self.device = kit, spec, device
        self.load_duration_in_nano_seconds = self.last_predict_duration_in_nano_seconds = None

    async def load(self) -> None:
        self.kit.raise_if("load")
        self.load_duration_in_nano_seconds = 120_000_000 if not self.kit.loads else 30_000_000
        self.kit.loads += 1

    async def unload(self) -> None:
        self.kit.unloads += 1

    async def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.kit.raise_if("predict")
        self.kit.predictions += 1
        (value,) = inputs.values()
        self.last_predict_duration_in_nano_seconds = self.kit.duration or 1_500_000 + 1_000 * (self.kit.predictions % 7)
        return {"final_emb_1": self.kit.embedding(value)}


class FakeCoreml:
    """As much of coremltools as `Toolkit` names."""

    def __init__(self, bundle: Bundle, fails: str = "", duration: object = None) -> None:
        golden = read_golden(bundle)
        pixels = golden.images.transpose(0, 3, 1, 2).astype(np.float32)
        self.known = [
            *zip(pixels, golden.image_embeddings, strict=True),
            *zip(golden.text_ids, golden.text_embeddings, strict=True),
        ]
        self.fails, self.duration = fails, duration
        self.loads = self.unloads = self.predictions = self.stopped = 0
        self.signed: dict[str, str] = {}

    def raise_if(self, step: str) -> None:
        if self.fails == step:
            raise RuntimeError(f"{step} failed:\n[Error Code 4] no")

    def embedding(self, value: np.ndarray) -> np.ndarray:
        for given, wanted in self.known:
            if value.shape[1:] == given.shape and np.array_equal(value[0], given):
                assert value.dtype == given.dtype
                return wanted[None] if self.fails != "numbers" else -wanted[None]
        raise AssertionError("an input that is not golden")

    def toolkit(self) -> ios.Toolkit:
        async def prepare(credentials, working_directory):
            assert working_directory.is_dir()
            self.raise_if("prepare")
            return SimpleNamespace(udid=UDID, session=SimpleNamespace(stop=self._stop))

        device = SimpleNamespace(udid=UDID, prepare_for_model_debugging=prepare)
        return ios.Toolkit(
            get_devices=lambda: [device] if self.fails != "unseen" else [],
            credentials=lambda **values: self.signed.update(values),
            wrapper=lambda spec_or_path, weights_dir, device: FakeModel(self, spec_or_path, device),
            open_model=lambda path: (_spec(path), str(path)),
        )

    def _stop(self) -> None:
        self.stopped += 1


class FakeType:
    """A feature type of a model's description, as far as it is asked."""

    FLOAT32 = 65568

    def __init__(self, picture: bool) -> None:
        self.kind = "imageType" if picture else "multiArrayType"
        self.multiArrayType = SimpleNamespace(shape=[], dataType=None, FLOAT32=self.FLOAT32)

    def WhichOneof(self, name: str) -> str:  # noqa: N802
        return self.kind

    def ClearField(self, name: str) -> None:  # noqa: N802
        assert name == self.kind
        self.kind = "multiArrayType"


def _spec(path: Path) -> SimpleNamespace:
    """A model whose input is a picture where the path says so."""
    return SimpleNamespace(description=SimpleNamespace(input=[SimpleNamespace(type=FakeType("image" in path.name))]))


def test_core_ml_is_measured(home, request_):
    kit = FakeCoreml(request_.bundle)
    profile = ios.IosDevice(kit.toolkit).profile(request_)
    assert (profile.device.id, profile.device.name, profile.device.emulated) == (f"ios:{UDID}", "iPhone 15 Pro", False)
    assert [(row.tower, row.runtime, row.threads) for row in profile.rows] == [
        ("image", "coreml", None),
        ("text", "coreml", None),
    ]
    for row in profile.rows:
        assert row.latency_ms.p50 == pytest.approx(1.503, abs=0.004)
        assert row.latency_ms.n >= 19
        assert row.load_warm_ms == 30.0
        assert row.peak_memory_mb is None
        assert row.operators_ms == {}
    assert profile.rows[0].load_cold_ms == 120.0
    assert set(profile.not_run) == {"executorch/xnnpack fp32 image", "executorch/xnnpack fp32 text"}
    assert list(profile.device.details["golden_cosine"].values()) == pytest.approx([1.0, 1.0])
    assert kit.signed == {"development_team": "ABCDE12345"}
    assert kit.loads == kit.unloads == 6
    assert kit.stopped == 1
    assert f"device uninstall app --device {IPHONE['identifier']} com.coremltools.modelrunnerd" in home.get("calls")


@pytest.mark.slow
@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_picture_is_declared_as_the_tensor_that_the_program_takes(tiny_bundle, tower):
    import coremltools as ct

    bundle = Bundle.open(tiny_bundle)
    artifact = next(one for one in bundle.manifest.artifacts if (one.tower, one.target) == (tower, "coreml"))
    spec = ct.models.MLModel(str(bundle.verified_path(artifact)), skip_model_load=True).get_spec()
    given, _ = ios._golden(bundle, artifact)
    ios.take_tensors(spec, given[0].shape)
    declared = spec.description.input[0].type.multiArrayType
    (taken,) = spec.mlProgram.functions["main"].inputs
    assert list(declared.shape) == [one.constant.size for one in taken.type.tensorType.dimensions] == list(given[0].shape)
    assert declared.dataType == {"image": declared.FLOAT32, "text": declared.INT32}[tower]
    assert taken.type.tensorType.dataType == {"image": ct.proto.MIL_pb2.FLOAT32, "text": ct.proto.MIL_pb2.INT32}[tower]
    ct.models.MLModel(
        spec, weights_dir=str(bundle.locate(artifact.path) / "Data/com.apple.CoreML/weights"), skip_model_load=True
    )


def test_a_phone_whose_tunnel_sleeps_is_woken(home, request_):
    phones.set_iphones(home, phones.changed(IPHONE, "connectionProperties", tunnelState="disconnected"))
    assert ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(request_).rows


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        ("connectionProperties", {"pairingState": "unpaired"}, "does not trust this Mac"),
        ("connectionProperties", {"tunnelState": "unavailable"}, "out of reach"),
        ("connectionProperties", {"tunnelState": "connecting"}, "not connected"),
        ("deviceProperties", {"developerModeStatus": "disabled"}, "developer mode is off"),
    ],
)
def test_a_phone_that_is_not_ready(home, request_, section, values, says):
    phones.set_iphones(home, phones.changed(IPHONE, section, **values))
    with pytest.raises(DeviceError, match=says):
        ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(request_)


def test_which_phone(home, request_):
    other = {**phones.changed(IPHONE, "hardwareProperties", udid="OTHER"), "identifier": "X"}
    phones.set_iphones(home, IPHONE, other)
    with pytest.raises(UsageError, match=f"ios:{UDID}, ios:OTHER"):
        ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(_with(request_, argument=""))
    with pytest.raises(DeviceError, match="it knows: 00008130"):
        ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(_with(request_, argument="nobody"))
    phones.set_iphones(home)
    with pytest.raises(DeviceError, match="none"):
        ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(_with(request_, argument=""))


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("no-xcode", "xcode-select"),
        ("locked", "unlock"),
        ("bad-json", "not its JSON"),
        ("silent", "wrote no answer"),
    ],
)
def test_what_goes_wrong_with_xcrun(home, request_, scenario, says):
    home.set("scenario", scenario)
    with pytest.raises(DeviceError, match=says) as caught:
        ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(request_)
    assert "\n" not in str(caught.value)


def test_devicectl_that_failed_politely(home, request_):
    phones.set_iphones(home, IPHONE, outcome="failed")
    with pytest.raises(DeviceError, match="outcome 'failed'"):
        ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(request_)


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        ("unseen", "coremltools does not see it"),
        ("prepare", "could not be built or started: prepare failed: [Error Code 4] no"),
        ("load", "does not load: load failed"),
        ("predict", "does not run: predict failed"),
        ("numbers", "computes something else there"),
    ],
)
def test_what_goes_wrong_with_coremltools(home, request_, fails, says):
    kit = FakeCoreml(request_.bundle, fails)
    with pytest.raises(EdgeclipError, match=re.escape(says)) as caught:
        ios.IosDevice(kit.toolkit).profile(request_)
    assert "\n" not in str(caught.value)
    assert kit.stopped == (fails not in ("unseen", "prepare"))
    assert "uninstall" in home.get("calls")


@pytest.mark.parametrize("duration", ["1.5", 1.5, float("nan"), 0.5, -3, True, 10**18])
def test_a_time_that_is_none_is_never_taken(home, request_, duration):
    with pytest.raises(DeviceError):
        ios.IosDevice(FakeCoreml(request_.bundle, duration=duration).toolkit).profile(request_)


def test_a_bug_of_ours_is_not_taken_for_the_phone(home, request_, monkeypatch):
    kit = FakeCoreml(request_.bundle)
    monkeypatch.setattr(FakeModel, "predict", lambda self, inputs: inputs["no such input"])
    with pytest.raises(KeyError):
        ios.IosDevice(kit.toolkit).profile(request_)
    assert kit.stopped == 1


def test_the_app_has_to_be_signed(home, request_, monkeypatch):
    monkeypatch.delenv(ios.TEAM)
    with pytest.raises(UsageError, match=ios.TEAM):
        ios.IosDevice(FakeCoreml(request_.bundle).toolkit).profile(request_)
    monkeypatch.setenv(ios.PROVISIONING, "uuid")
    monkeypatch.setenv(ios.APPLICATION, "org.example.runner")
    kit = FakeCoreml(request_.bundle)
    found = ios.IosDevice(kit.toolkit).profile(request_)
    assert kit.signed == {"provisioning_profile_uuid": "uuid", "bundle_identifier": "org.example.runner"}
    assert "uninstall" not in home.get("calls")  # it may be another app's identifier
    assert found.device.details["left_behind"] == "org.example.runner: not removed"


def test_coremltools_looks_for_devicectl_itself(home):
    with pytest.raises(MissingPackageError, match="xcrun --find devicectl"):
        ios.coremltools_toolkit()


@pytest.mark.slow
def test_what_is_used_of_coremltools_exists():
    """Names and parameters, on any system; that they work needs a Mac and a phone."""
    import inspect

    from coremltools.models.ml_program.experimental import async_wrapper, remote_device

    preparing = inspect.signature(remote_device.Device.prepare_for_model_debugging).parameters
    assert {"credentials", "working_directory"} <= set(preparing)
    assert {"development_team", "provisioning_profile_uuid", "bundle_identifier"} == set(
        inspect.signature(remote_device.AppSigningCredentials).parameters
    )
    wrapper = async_wrapper.MLModelAsyncWrapper
    assert {"spec_or_path", "weights_dir", "device"} <= set(inspect.signature(wrapper.from_spec_or_path).parameters)
    assert {"load", "unload", "predict", "load_duration_in_nano_seconds", "last_predict_duration_in_nano_seconds"} <= set(
        dir(wrapper)
    )
    assert "Documents/modelrunnerd" in inspect.getsource(remote_device)
    assert f'"{ios._APPLICATION}"' in inspect.getsource(remote_device)


@pytest.mark.parametrize("device", [ios.DEVICE, ios_simulator.DEVICE])
def test_a_mac_is_needed(request_, monkeypatch, device):
    monkeypatch.undo()
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(NotRunnableError, match="from a Mac only"):
        device.profile(request_)


@pytest.fixture
def simulated(request_: Request, tmp_path: Path) -> Request:
    """The same bundle for a simulator, with a runner."""
    return _with(request_, argument="iPhone 16", runner=phones.write_runner(tmp_path / "executor_runner"))


def test_a_simulator_is_measured_and_labelled(home, simulated):
    profile = ios_simulator.DEVICE.profile(simulated)
    assert profile.device.emulated
    assert profile.device.id == "sim:AAAA-1"
    assert profile.device.name.startswith("iPhone 16 (simulator on ")
    assert profile.device.details["os"] == "iOS-18-2"
    assert [row.tower for row in profile.rows] == ["image", "text"]
    assert profile.rows[0].latency_ms.p50 == pytest.approx(5.0, rel=0.006)
    assert set(profile.not_run) == {"coreml fp32 image", "coreml fp32 text"}
    json.dumps(profile.as_json())


def test_the_only_booted_simulator_needs_no_name(home, simulated):
    assert ios_simulator.DEVICE.profile(_with(simulated, argument="")).device.id == "sim:AAAA-1"


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("iPhone 16 Pro", DeviceError, 'xcrun simctl boot "iPhone 16 Pro"'),
        ("iPhone SE", UsageError, "there are: iPhone 16, iPhone 16 Pro"),
        ("iPhone 3G", UsageError, "no such simulator"),
    ],
)
def test_a_simulator_that_cannot_be_used(home, simulated, name, kind, says):
    with pytest.raises(kind, match=re.escape(says)):
        ios_simulator.DEVICE.profile(_with(simulated, argument=name))


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("no-xcode", "xcode-select"),
        ("bad-json", "not its JSON"),
        ("killed", "want of memory"),
        ("crash", "crashed"),
        ("no-backend", "no XnnpackBackend"),
        ("no-log", "EXECUTORCH_ENABLE_LOGGING=ON"),
        ("two-clocks", "disagree"),
        ("wrong-numbers", "computes something else there"),
    ],
)
def test_what_goes_wrong_in_a_simulator(home, simulated, scenario, says):
    home.set("scenario", scenario)
    with pytest.raises(EdgeclipError, match=re.escape(says)) as caught:
        ios_simulator.DEVICE.profile(simulated)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_runner_for_the_simulator_is_asked_for(home, simulated):
    with pytest.raises(UsageError, match="SIMULATORARM64"):
        ios_simulator.DEVICE.profile(_with(simulated, runner=None))
