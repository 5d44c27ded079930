"""Which weight is stored in which form, and carrying that out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.coreml.compression.forms import FORMS, at_least, lossless_entries
from converters.coreml.compression.kmeans import lookup_table
from converters.coreml.compression.weights import Weight, find_weights
from edgeclip.errors import ConversionError, UsageError
from edgeclip.recipe import Recipe

Plan = dict[str, str]  # name of a constant -> form

_SCHEME_FORMS = {"fp32": None, "fp16": "fp16", "w8a8": "w8"}  # the others are forms themselves
# Depthwise kernels are a hundredth of the weights, and channels of very different size would share a table or lose half of
# their few taps: mobileclip-demo's image tower as pal6 goes from cosine 0.983 to 0.997 by this.
_DEPTHWISE = {"pal6": "w8", "pal4": "w8", "pal4-lut8": "w8", "w4": "w8", "prune50": "fp16", "prune50-w8": "w8"}
_PASSES = ("prune", "palettize", "linear", "joint")


def form_of(scheme: str) -> str | None:
    """The form in which a scheme stores weights; None where they stay as they are."""
    return _SCHEME_FORMS.get(scheme, scheme)


def needed_os(*names: str) -> str:
    """The first OS that reads what these schemes and forms make."""
    return max(_needed_by(name) for name in names)


def _needed_by(name: str | None) -> str:
    if name == "w8a8":
        return "iOS17"  # `quantize` and `dequantize` of activations
    form = None if name is None else form_of(name)
    return FORMS[form].min_os if form is not None and form in FORMS else "iOS16"


def check_floor(recipe: Recipe) -> None:
    """Raise UsageError where the OS floor cannot read what the scheme, or the token table, is stored as."""
    assert recipe.min_os is not None
    if recipe.scheme == "fp32" and recipe.token_table is not None:
        raise UsageError("--token-table: fp32 stores every weight as it is; choose another scheme")
    listed = {form: FORMS[form].name for form in (recipe.layers or {}).values()}
    chosen = [("--scheme", recipe.scheme), ("--token-table", recipe.token_table), *(("--layers", form) for form in listed)]
    for option, name in chosen:
        needed = _needed_by(name)
        if not at_least(recipe.min_os, needed):
            raise UsageError(f"{option} {name}: needs {needed} or later; use --min-os {needed}")


def plan_for(recipe: Recipe, weights: Mapping[str, Weight]) -> Plan:
    """The plan of a fixed scheme, or of a table of layers that was given.

    The token table follows its own setting, where there is one.
    """
    form = form_of(recipe.scheme)
    if recipe.layers is not None:
        return _given(recipe, weights)
    plan = {} if form is None else {name: _DEPTHWISE.get(form, form) if w.is_depthwise else form for name, w in weights.items()}
    if recipe.token_table is not None:
        plan |= {name: recipe.token_table for name, weight in weights.items() if weight.is_token_table}
    return plan


def _given(recipe: Recipe, weights: Mapping[str, Weight]) -> Plan:
    assert recipe.layers is not None
    for name in recipe.layers:
        if name not in weights:
            raise UsageError(f"--layers: the program has no weight {name!r}; the table belongs to another model or layout")
    if missing := weights.keys() - recipe.layers.keys():
        raise UsageError(f"--layers: the table lacks the weight {min(missing)!r}")
    return dict(recipe.layers)


def carry_out(plan: Plan, weights: Mapping[str, Weight], model: Any, min_os: str) -> Any:
    """Compress a coremltools model as planned."""
    import coremltools.optimize.coreml as cto

    configs: dict[str, dict[str, Any]] = {name: {} for name in _PASSES}
    for name, form in plan.items():
        entries = lossless_entries(weights[name]) if form != "fp16" else None
        steps = _lossless(entries) if entries else FORMS[form].steps(weights[name], min_os)
        for index, (kind, config) in enumerate(steps):
            configs[kind][name if index == 0 else _after(name, steps[0][0])] = config
    run = {
        "prune": cto.prune_weights,
        "palettize": cto.palettize_weights,
        "linear": cto.linear_quantize_weights,
        "joint": lambda model, config: cto.linear_quantize_weights(model, config, joint_compression=True),
    }
    for kind, named in configs.items():
        if named:
            model = run[kind](model, cto.OptimizationConfig(op_name_configs=named))
    return model


def _lossless(entries: int) -> tuple[tuple[str, Any], ...]:
    import coremltools.optimize.coreml as cto

    config = cto.OpPalettizerConfig(
        mode="custom", lut_function=lambda values: lookup_table(values, entries), granularity="per_tensor", weight_threshold=0
    )
    return (("palettize", config),)


def _after(name: str, kind: str) -> str:
    """The name that a pass gives the constexpr it makes of a constant."""
    return {"palettize": f"{name}_palettized", "prune": f"{name}_sparsified"}[kind]


def check_stored(plan: Plan, path: Path) -> None:
    """Raise ConversionError where coremltools left a weight as it was: it says so in its log only."""
    compressed = {name: form for name, form in plan.items() if form != "fp16"}
    left = find_weights(path) if compressed else {}
    for name, form in compressed.items():
        if name in left:
            raise ConversionError(f"coreml: {name} could not be stored as {form}; --token-table or --layers can leave it out")
