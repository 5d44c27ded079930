"""Rows and profiles made up for tests of what is done with them."""

from __future__ import annotations

from typing import Any

from profiles.results import Device, EstimatedLatency, EstimatedRow, Latency, MeasuredRow, Profile

HERE = {"cpu": "Example 9000", "cores": 8, "architecture": "x86_64", "system": "Linux"}


def measured(p50: float = 10.0, spread: float = 0.01, **changes: Any) -> MeasuredRow:
    """An image tower's row; the interval of its median is `spread` to either side."""
    interval = (p50 * (1 - spread), p50 * (1 + spread))
    latency = Latency(p50=p50, p90=p50 * 1.1, p99=p50 * 1.2, min=p50 * 0.9, mean=p50, n=100, median_interval=interval)
    fields: dict[str, Any] = {
        "model": "m",
        "tower": "image",
        "target": "executorch",
        "backend": "xnnpack",
        "scheme": "fp32",
        "sha256": "a" * 64,
        "size_bytes": 40_000_000,
        "runtime": "executorch",
        "threads": 1,
        "load_cold_ms": 50.0,
        "load_warm_ms": 20.0,
        "first_ms": p50 * 2,
        "latency_ms": latency,
        "peak_memory_mb": 300.0,
    }
    return MeasuredRow(**{**fields, **changes})


def estimated(p50: float, low: float, high: float, **changes: Any) -> EstimatedRow:
    """As `measured`."""
    fields: dict[str, Any] = {
        "model": "m",
        "tower": "image",
        "target": "coreml",
        "backend": None,
        "scheme": "fp16",
        "sha256": "b" * 64,
        "size_bytes": 20_000_000,
        "latency_ms": EstimatedLatency(p50=p50, low=low, high=high),
        "error_percent": (8.0, 20.0),
    }
    return EstimatedRow(**{**fields, **changes})


def profile_of(*rows: Any, details: dict[str, Any] | None = None, identifier: str = "host") -> Profile:
    """A profile of these rows."""
    kind = "estimated" if isinstance(rows[0], EstimatedRow) else "measured"
    device = Device(id=identifier, kind=kind, name="Example", details=HERE if details is None else details)
    return Profile(device=device, rows=rows)
