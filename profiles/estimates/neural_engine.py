"""A Core ML package on an iPhone: a roofline over its own operations.

On the Neural Engine an operation takes its multiply-adds at the calibrated rate and its weights, as they are stored, at the
calibrated bandwidth; values between operations stay on the chip, and everything but products is free: it is part of what the
calibration found for whole towers. Handing over is counted once: the published text towers switch between the CPU (token
lookup, end token) and the Neural Engine too, and their latencies leave no room for a second time. The range does.

What the Neural Engine refuses runs on the CPU: the longer of its multiply-adds by the peak of two cores and its memory traffic.
That is nowhere checked, so its range is wide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from edgeclip.errors import UsageError
from edgeclip.operations import Operation
from profiles.estimates.device_file import DeviceFile, read_device
from profiles.results import EstimatedLatency

# The CPU's matrix units may be several times as fast as its vectors, and a fallback may copy more than it has to.
FALLBACK_FACTOR = 3.0
_FLOAT16_BYTES = 2


@dataclass(frozen=True)
class Constants:
    """What an estimate needs of a device, in milliseconds. error_percent: mean and worst."""

    dispatch_ms: float
    ms_per_gmac: float
    ms_per_mb: float
    cpu_ms_per_gmac: float
    cpu_ms_per_mb: float
    load_ms_per_mb: float
    error_percent: tuple[float, float]

    def __post_init__(self) -> None:
        if not 0 <= self.error_percent[1] < 100:
            raise ValueError("an estimator that is off by 100 % and more gives no range")


@dataclass(frozen=True)
class Estimate:
    """bounds: milliseconds by cause; operators_ms: by type of operation. Both add up to the latency."""

    latency_ms: EstimatedLatency
    bounds: dict[str, float]
    operators_ms: dict[str, float]


def constants(device: DeviceFile) -> Constants:
    """Of a calibrated device what was fitted; of another, that times the ratios of what is published of both."""
    compute = memory = factor = 1.0
    base = device
    if device.scaled is not None:
        base = read_device(device.scaled.device)
        tops = "neural_engine_tera_operations_per_s"
        compute = getattr(base, tops).value / getattr(device, tops).value
        memory = base.memory_gb_per_s.value / device.memory_gb_per_s.value
        factor = device.scaled.error_factor.value
    found = base.calibrated
    if found is None:
        raise UsageError(f"device {device.name}: what it is scaled from is not calibrated itself")
    return Constants(
        dispatch_ms=found.dispatch_ms.value,
        ms_per_gmac=found.ms_per_gmac.value * compute,
        ms_per_mb=found.ms_per_mb.value * memory,
        cpu_ms_per_gmac=1e3 / device.cpu_gmacs_per_s.value,
        cpu_ms_per_mb=1 / device.memory_gb_per_s.value,
        load_ms_per_mb=1e3 / device.storage_read_mb_per_s.value,
        error_percent=(found.error_mean_percent.value * factor, found.error_worst_percent.value * factor),
    )


def estimate(operations: Sequence[Operation], segments: Sequence[str], device: Constants) -> Estimate:
    """segments: the units in the order in which they take over.

    The range: what is calibrated by its worst error e (an estimate is off by estimate / truth - 1, so that the truth is between
    estimate / (1 + e) and estimate / (1 - e)), upwards as if the Neural Engine read compressed weights as float16 and
    were handed a program each time it takes over; the rest by FALLBACK_FACTOR.
    """
    bounds: dict[str, float] = defaultdict(float)
    operators: dict[str, float] = defaultdict(float)
    widest_ms = 0.0
    for operation in operations:
        if operation.unit == "ne":
            parts = {"compute": _compute(operation, device), "memory": operation.weight_bytes / 1e6 * device.ms_per_mb}
            uncompressed = max(operation.weight_bytes, _FLOAT16_BYTES * operation.weight_values)
            widest_ms += parts["compute"] + uncompressed / 1e6 * device.ms_per_mb
        else:
            parts = {"fallback": _fallback(operation, device)}
        for cause, taken in parts.items():
            bounds[cause] += taken
        operators[operation.name] += sum(parts.values())
    handed_over = segments.count("ne")
    bounds["dispatch"] = operators["dispatch"] = device.dispatch_ms * min(1, handed_over)
    widest_ms += device.dispatch_ms * handed_over
    calibrated = bounds["compute"] + bounds["memory"] + bounds["dispatch"]
    worst = device.error_percent[1] / 100
    latency = EstimatedLatency(
        p50=calibrated + bounds["fallback"],
        low=calibrated / (1 + worst) + bounds["fallback"] / FALLBACK_FACTOR,
        high=widest_ms / (1 - worst) + bounds["fallback"] * FALLBACK_FACTOR,
    )
    return Estimate(latency, dict(bounds), dict(sorted(operators.items(), key=lambda one: -one[1])))


def _compute(operation: Operation, device: Constants) -> float:
    return operation.macs / 1e9 * device.ms_per_gmac


def _fallback(operation: Operation, device: Constants) -> float:
    traffic = operation.weight_bytes + operation.activation_bytes
    return max(operation.macs / 1e9 * device.cpu_ms_per_gmac, traffic / 1e6 * device.cpu_ms_per_mb)
