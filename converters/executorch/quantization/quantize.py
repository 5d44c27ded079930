"""One tower's way to integers: its token table first, then a form for each unit, then the pairs that XNNPACK reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from converters.exactness.search import most_exact_of_size, refine, uniform
from converters.executorch.passes.editor import Editor
from converters.executorch.quantization.embedding import LIBRARY, has_table, store_tables, table_values
from converters.executorch.quantization.half import to_half
from converters.executorch.quantization.plan import carry_out, integers
from converters.executorch.quantization.pointwise import to_linear
from converters.executorch.quantization.schemes import SCHEMES, TABLE_FORMS, Scheme
from converters.executorch.quantization.simulation import Simulation
from converters.executorch.quantization.units import Unit, find_units
from edgeclip.errors import BudgetError, ConversionError, UsageError
from edgeclip.recipe import Goal, Recipe
from edgeclip.target import Context, Lowered


@dataclass
class _Tower:
    """What is edited, for one recipe. table: the token table's form; None, none is stored in integers."""

    editor: Editor
    recipe: Recipe
    context: Context | None
    table: str | None = None
    samples: Sequence[Tensor] = field(default=())
    originals: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def look(self) -> None:
        """Get the calibration samples."""
        if self.context is None:
            raise UsageError(f"--scheme {self.recipe.scheme}: needs calibration samples")
        self.samples = [torch.from_numpy(np.ascontiguousarray(row[None])) for row in self.context.samples()]
        self.originals = self.context.originals()

    def simulation(self, units: Sequence[Unit] = ()) -> Simulation:
        return Simulation(self.editor, units, self.samples, self.originals)

    @property
    def goal(self) -> Goal:
        return Goal() if self.context is None else self.context.goal

    @property
    def share(self) -> float:
        assert self.context is not None  # `look` comes first
        return self.context.share


def quantize(
    program: ExportedProgram, example: tuple[Tensor, ...], recipe: Recipe, context: Context | None = None
) -> tuple[ExportedProgram, Lowered]:
    """Apply a recipe's scheme, and say what was decided; float schemes leave all but the token table as it is."""
    if recipe.scheme == "fp16":
        editor = Editor(program)
        to_half(editor)
        return editor.finish(example), Lowered()
    scheme = SCHEMES.get(recipe.scheme)
    if scheme is None and recipe.token_table in (None, "fp32"):
        return program, Lowered()
    tower = _Tower(Editor(program), recipe, context)
    if scheme is None:
        _store_table(tower, recipe.token_table)
        return tower.editor.finish(example), Lowered(libraries=_libraries(tower))
    tower.look()
    _store_table(tower, recipe.token_table or _chosen_table(program, tower, scheme))
    to_linear(tower.editor)
    units = find_units(tower.editor)
    simulation = tower.simulation(units)
    smallest = uniform(units, scheme.forms)
    plan = _given(recipe, units) or _found(tower, simulation, scheme, smallest)
    floor = _promise(tower, simulation, plan)
    static = integers(tower.editor, plan).static
    carry_out(tower.editor, plan, simulation.ranges if static else {})
    return tower.editor.finish(example), Lowered(
        layers=_table(tower, plan),
        kept_fp32=tuple(sorted(unit.name for unit, form in plan.items() if form == "fp32" != smallest[unit])),
        calibrated=True,
        min_cosine=floor,
        libraries=_libraries(tower),
    )


_FILLED = 0.97  # of a size that is asked for: scales take the rest
_DESCRIBED = 250  # bytes that a file has for each operation of a tower, about
_TABLE_SHARE = 0.7  # of the loss that a floor allows, which a token table may take: it is half of a text tower's bytes
_TOKENS = "token_embedding"  # the name of the table in a table of layers


def _store_table(tower: _Tower, form: str | None) -> None:
    if form not in (None, "fp32") and store_tables(tower.editor, form):
        tower.table = form


def _libraries(tower: _Tower) -> tuple[str, ...]:
    return () if tower.table is None else (LIBRARY,)


def _floor(tower: _Tower, scheme: Scheme) -> float | None:
    """The smallest cosine that a plan may come to; None where the size is what counts."""
    if scheme.floor is not None:
        return scheme.floor
    return None if tower.goal.floor is None else 1 - tower.share * (1 - tower.goal.floor)


def _chosen_table(program: ExportedProgram, tower: _Tower, scheme: Scheme) -> str | None:
    """The smallest form, of the scheme's own and those that are more exact, that leaves the layers enough of the floor."""
    if not has_table(tower.editor):
        return None
    if tower.recipe.layers is not None:
        form = tower.recipe.layers.get(_TOKENS, TABLE_FORMS[-1])
        if form not in TABLE_FORMS:
            raise ConversionError(f"--layers: {_TOKENS} cannot be {form!r}; known: {', '.join(TABLE_FORMS)}")
        return form
    floor = _floor(tower, scheme)
    if floor is None:  # of the two that cost little, the exact one where it leaves the layers int8
        assert tower.goal.max_mb is not None
        layers = sum(unit.size_bytes("w8") for unit in find_units(tower.editor))
        return "w8" if table_values(tower.editor) + layers <= _FILLED * tower.goal.max_mb * 1e6 else "w4"
    for form in TABLE_FORMS[TABLE_FORMS.index(scheme.token_table or TABLE_FORMS[0]) : -1]:
        trial = _Tower(Editor(program), tower.recipe, tower.context, None, tower.samples, tower.originals)
        _store_table(trial, form)
        if trial.simulation().cosines({}).min() >= 1 - _TABLE_SHARE * (1 - floor):
            return form
    return TABLE_FORMS[-1]


def _found(tower: _Tower, simulation: Simulation, scheme: Scheme, start: Mapping[Unit, str]) -> dict[Unit, str]:
    """The plan of a scheme, as exact as its floor asks for. start: the least exact."""
    goal, label = tower.goal, f"executorch {tower.recipe.scheme}"
    if tower.recipe.scheme == "auto" and goal.floor is None:
        assert goal.max_mb is not None
        return most_exact_of_size(
            simulation, start, scheme.forms, _FILLED * goal.max_mb * 1e6 - _besides(tower, simulation.units), "executorch"
        )
    floor = _floor(tower, scheme)
    assert floor is not None
    if scheme.floor is not None and tower.table in SCHEMES:  # a smaller token table than the scheme's has its own floor
        floor = min(floor, SCHEMES[tower.table].floor or floor)
    assert tower.context is not None
    with tower.context.progress(f"choosing what stays more exact: {label}") as task:
        plan, cosine = refine(simulation, start, scheme.forms, floor, task)
    if cosine < floor and tower.recipe.scheme != "auto":  # of auto, `_promise` says so
        raise BudgetError(
            f"executorch: {tower.recipe.model}: scheme {tower.recipe.scheme} comes to cosine {cosine:.4f} on the calibration"
            f" samples even with its layers in float32, below {floor:g}; use another scheme or token table"
        )
    return plan


def _besides(tower: _Tower, units: Sequence[Unit]) -> int:
    """Bytes of a tower that are no weights of its units: all other constants, as they are stored, and the graph itself."""
    counted = {id(weight.untyped_storage()) for unit in units for weight in unit.weights}
    found = _DESCRIBED * len(tower.editor.graph.nodes)
    for node in tower.editor.graph.nodes:
        value = tower.editor.value(node)
        if value is not None and id(value.untyped_storage()) not in counted:
            found += value.numel() * value.element_size()
    return found


def _promise(tower: _Tower, simulation: Simulation, plan: Mapping[Unit, str]) -> float | None:
    """What the manifest promises of scheme `auto`. Raises BudgetError where the plan does not hold the goal."""
    if tower.recipe.scheme != "auto":
        return None
    cosine = float(simulation.cosines(plan).min())
    floor = tower.goal.floor if tower.recipe.layers is None else tower.goal.min_cosine
    if floor is not None and cosine < floor:
        raise BudgetError(f"executorch: {tower.recipe.model}: cosine {cosine:.6f} on the calibration samples, below {floor:g}")
    # without a floor, what is promised of other samples is at most four times the loss seen here
    return max(1 - 4 * (1 - cosine), 0.0) if floor is None else floor


def _table(tower: _Tower, plan: Mapping[Unit, str]) -> dict[str, str] | None:
    """How each unit is stored, where they differ or a choice was made."""
    table = {unit.name: form for unit, form in plan.items()}
    if tower.table is not None:
        table[_TOKENS] = tower.table
    return table if tower.recipe.scheme == "auto" or len(set(table.values())) > 1 else None


def _given(recipe: Recipe, units: Sequence[Unit]) -> dict[Unit, str] | None:
    """The plan of a table of layers, which has to name all of them; a token table that it does not name is float."""
    if recipe.layers is None:
        return None
    known = {unit.name: unit for unit in units}
    plan = {}
    for name, form in recipe.layers.items():
        if name == _TOKENS:
            continue
        if name not in known:
            raise ConversionError(f"--layers: {recipe.model} has no layer {name!r}; it has {', '.join(known)}")
        if form not in known[name].forms:
            raise ConversionError(f"--layers: {name} cannot be {form!r}; known: {', '.join(known[name].forms)}")
        plan[known[name]] = form
    if missing := [name for name in known if name not in recipe.layers]:
        raise ConversionError(f"--layers: the table lacks {', '.join(missing)} of {recipe.model}")
    return plan
