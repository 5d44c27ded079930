"""What a conversion target is. A target is one package below `converters` and one row in `edgeclip.plugins`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from edgeclip.errors import UsageError
from edgeclip.progress import Progress, silent
from edgeclip.recipe import Goal, Recipe, TargetOptions
from edgeclip.registry import unknown
from edgeclip.spec import INPUT_NAME, OUTPUT_NAME, ModelSpec, TensorSpec, Tower

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgeclip.manifest import LeftBehind
    from edgeclip.models.towers import ExportedTower


@dataclass(frozen=True)
class Interface:
    """What an artifact takes and gives, as the manifest states it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Delegation:
    """Delegates by name, how much of the operations and of the multiply-accumulates they take, and the other operations."""

    delegates: Mapping[str, int]
    ops_percent: float
    macs_percent: float
    left: tuple[LeftBehind, ...]


@dataclass(frozen=True)
class Lowered:
    """What a lowering decided besides the artifact: how each weight is stored, which results stay in float32.

    calibrated: whether it looked at the calibration samples. min_cosine: what scheme `auto` promises. libraries: what an app
    has to link besides the runtime and the backend. method: of the file. delegation: how much of it runs in delegates, for
    targets that have them.
    """

    layers: Mapping[str, str] | None = None
    kept_fp32: tuple[str, ...] = ()
    calibrated: bool = False
    min_cosine: float | None = None
    libraries: tuple[str, ...] = ()
    method: str = "forward"
    delegation: Delegation | None = None


@dataclass(frozen=True)
class Context:
    """What schemes that look at data need: calibration inputs of the tower and the original's embeddings of them.

    Both are made on first use. samples() -> as runners take them, (N, 3, H, W) float32 in [0, 1] or (N, L) int32;
    originals() -> (N, D) float32. drawn: whether they are pictures that no user has. goal: of scheme `auto`, for this
    artifact. cache: a folder where long work keeps what it found, to resume after an interruption.
    """

    samples: Callable[[], np.ndarray]
    originals: Callable[[], np.ndarray]
    drawn: bool = False
    goal: Goal = field(default_factory=Goal)
    cache: Path | None = None
    progress: Progress = silent

    @property
    def share(self) -> float:
        """How much of the loss that a floor allows may show on the calibration samples.

        Unseen ones fare a little worse; and photographs lose up to four times what the drawn pictures do (tinyclip-demo).
        """
        return 0.3 if self.drawn else 0.8


@dataclass(frozen=True)
class Part:
    """A tower on its way into a file: what `Target.lower` is given."""

    exported: ExportedTower
    recipe: Recipe
    metadata: Mapping[str, str]
    context: Context | None = None


class Target(Protocol):
    """Lowers exported towers to artifacts, and tells what is inside one.

    The tuples of names begin with the default and are empty where there is nothing to choose; `runtimes` are names of
    `edgeclip.plugins.RUNTIMES` that run its artifacts, the preferred one first. token_tables: how the token embedding table
    can be stored; None, the default, is as the scheme has it. passes: -NAME for each graph pass that can be left out, +NAME
    for each that is applied only where it is asked for.
    """

    name: str
    suffix: str
    schemes: tuple[str, ...]
    backends: tuple[str, ...]
    os_floors: tuple[str, ...]
    layouts: tuple[str, ...]
    token_tables: tuple[str, ...]
    conventions: tuple[str, ...]
    passes: tuple[str, ...]
    runtimes: tuple[str, ...]

    def schemes_with(self, backend: str | None) -> tuple[str, ...]:
        """What a backend can do, the default first; `schemes` is that of the default backend."""

    def needed_os(self, scheme: str, forms: Collection[str] = ()) -> str | None:
        """The earliest OS floor that a scheme, and weights in these forms, can have; None where there are no floors."""

    def check(self, recipe: Recipe) -> None:
        """Raise UsageError where options of the recipe do not go together."""

    def rewrite(self, layout: str | None) -> Callable[[nn.Module], nn.Module] | None:
        """What is done to a prepared tower before it is exported; None if it is exported as it is."""

    def lower(
        self, exported: ExportedTower, recipe: Recipe, metadata: Mapping[str, str], path: Path, context: Context | None = None
    ) -> Lowered:
        """Write the artifact to `path`, deterministically. Raises ConversionError."""

    def interface(self, spec: ModelSpec, tower: Tower, convention: str | None) -> Interface:
        """The inputs and outputs that every artifact of this target has for a tower."""

    def file_stem(self, spec: ModelSpec, tower: Tower, convention: str | None) -> str:
        """The name of a tower's artifact, without suffix."""

    def stated_scheme(self, path: Path) -> str | None:
        """The scheme that an artifact says it was made with; None where its format has no room for that."""

    def inspect(self, path: Path, method: str = "forward") -> dict[str, Any]:
        """Ops and weights by type, delegates and the like, as plain JSON values."""


@runtime_checkable
class JoiningTarget(Protocol):
    """A target that can put both towers into one file."""

    def join(self, parts: Sequence[Part], path: Path) -> tuple[Lowered, ...]:
        """As `Target.lower`, for several towers at once: each is a method of the file, named in what is returned."""


def tower_interface(
    spec: ModelSpec,
    tower: Tower,
    picture: Literal["tensor", "image"],
    input_name: str | None = None,
    output_name: str = OUTPUT_NAME,
) -> Interface:
    """The contract that all targets share; `picture` is how the image tower takes its input."""
    name, shape = input_name or INPUT_NAME[tower], spec.input_shape(tower)
    if tower == "image":
        given = TensorSpec(name=name, shape=shape, dtype="float32", kind=picture)
    else:
        given = TensorSpec(name=name, shape=shape, dtype="int32")
    return Interface((given,), (TensorSpec(name=output_name, shape=(1, spec.embed_dim), dtype="float32"),))


def resolved(target: Target, options: TargetOptions, model: str, weights: str, tower: Tower) -> Recipe:
    """The recipe of one artifact from options and defaults; what the target cannot do is an error that lists what it can."""
    backend = _pick(f"backend for {target.name}", options.backend, target.backends)
    where = target.name if options.backend is None else f"{target.name}/{backend}"
    scheme = _pick(f"scheme for {where}", options.scheme, target.schemes_with(backend))
    assert scheme is not None
    _check_delegation(target, options)
    passes = {_pick(f"graph pass of {target.name}", name, target.passes) for name in options.passes or ()}
    recipe = Recipe(
        model=model,
        weights=weights,
        target=target.name,
        backend=backend,
        scheme=scheme,
        min_os=_floor(target, options, scheme),
        layout=_pick(f"layout for {target.name}", options.layout, target.layouts),
        token_table=None if options.token_table is None else _table(target, options.token_table),
        convention=_pick(f"convention for {target.name}", options.convention, target.conventions),
        layers=None if options.layers is None else options.layers.get(tower),
        seed=options.seed,
        passes=tuple(sorted(name for name in passes if name is not None)),
        single_file=bool(options.single_file),
    )
    if options.goal != Goal() and scheme != "auto":
        raise UsageError(f"--min-cosine and --max-mb are goals of --scheme auto, not of {scheme}")
    if options.seed and scheme != "auto":
        raise UsageError(f"--seed belongs to --scheme auto, not to {scheme}")
    if options.layers is not None and tower not in options.layers:
        raise UsageError(f"--layers: has no table for the {tower} tower; add --tower {' --tower '.join(options.layers)}")
    if options.layers is not None and options.token_table is not None:
        raise UsageError("--token-table: the table of --layers says how the token table is stored, change it there")
    target.check(recipe)
    return recipe


def _check_delegation(target: Target, options: TargetOptions) -> None:
    """What only a target with delegates, or with several methods a file, can be asked for."""
    if options.single_file and not isinstance(target, JoiningTarget):
        raise UsageError(f"--single-file: a file of {target.name} holds one tower; drop it")
    wanted = options.min_delegated
    if wanted is None:
        return
    if not target.backends:
        raise UsageError(f"--min-delegated: {target.name} has no delegates; drop it")
    if not 0 <= wanted <= 100:
        raise UsageError(f"--min-delegated {wanted:g}: give a percentage from 0 to 100")


def _floor(target: Target, options: TargetOptions, scheme: str) -> str | None:
    """The floor that was asked for; else the default, or a later one if the scheme needs it."""
    chosen = _pick(f"OS floor for {target.name}", options.min_os, target.os_floors)
    forms = {form for table in (options.layers or {}).values() for form in table.values()}
    forms |= set() if options.token_table is None else {options.token_table}
    needed = target.needed_os(scheme, forms)
    return max(chosen, needed) if options.min_os is None and chosen and needed else chosen


def _table(target: Target, wanted: str) -> str | None:
    return _pick(f"token table for {target.name}", wanted, target.token_tables)


def _pick(kind: str, wanted: str | None, known: tuple[str, ...]) -> str | None:
    if wanted is None:
        return known[0] if known else None
    if not known:
        raise UsageError(f"{kind}: there is nothing to choose, drop {wanted!r}")
    if wanted not in known:
        raise unknown(kind, wanted, known)
    return wanted
