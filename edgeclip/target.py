"""What a conversion target is. A target is one package below `converters` and one row in `edgeclip.plugins`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgeclip.errors import UsageError
from edgeclip.recipe import Recipe, TargetOptions
from edgeclip.registry import unknown
from edgeclip.spec import INPUT_NAME, OUTPUT_NAME, ModelSpec, TensorSpec, Tower

if TYPE_CHECKING:
    from edgeclip.models.towers import ExportedTower


@dataclass(frozen=True)
class Interface:
    """What an artifact takes and gives, as the manifest states it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Target(Protocol):
    """Lowers exported towers to artifacts, and tells what is inside one.

    `schemes`, `backends` and `os_floors` begin with the default; `runtimes` are names of `edgeclip.plugins.RUNTIMES` that run
    its artifacts, the preferred one first.
    """

    name: str
    suffix: str
    schemes: tuple[str, ...]
    backends: tuple[str, ...]
    os_floors: tuple[str, ...]
    runtimes: tuple[str, ...]

    def lower(self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path) -> None:
        """Write the artifact to `path`, deterministically. Raises ConversionError."""

    def interface(self, spec: ModelSpec, tower: Tower) -> Interface:
        """The inputs and outputs that every artifact of this target has for a tower."""

    def inspect(self, path: Path) -> dict[str, Any]:
        """Ops and weights by type, delegates and the like, as plain JSON values."""


def tower_interface(spec: ModelSpec, tower: Tower, picture: Literal["tensor", "image"]) -> Interface:
    """The contract that all targets share; `picture` is how the image tower takes its input."""
    name, shape = INPUT_NAME[tower], spec.input_shape(tower)
    if tower == "image":
        given = TensorSpec(name=name, shape=shape, dtype="float32", kind=picture)
    else:
        given = TensorSpec(name=name, shape=shape, dtype="int32")
    return Interface((given,), (TensorSpec(name=OUTPUT_NAME, shape=(1, spec.embed_dim), dtype="float32"),))


def choose(target: Target, options: TargetOptions) -> tuple[str, str | None, str | None]:
    """(scheme, backend, OS floor) from options and defaults; what the target cannot do is an error that lists what it can."""
    scheme = _pick(f"scheme for {target.name}", options.scheme, target.schemes)
    assert scheme is not None
    backend = _pick(f"backend for {target.name}", options.backend, target.backends)
    min_os = _pick(f"OS floor for {target.name}", options.min_os, target.os_floors)
    return scheme, backend, min_os


def _pick(kind: str, wanted: str | None, known: tuple[str, ...]) -> str | None:
    if wanted is None:
        return known[0] if known else None
    if not known:
        raise UsageError(f"{kind}: there is nothing to choose, drop {wanted!r}")
    if wanted not in known:
        raise unknown(kind, wanted, known)
    return wanted
