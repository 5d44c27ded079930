"""Reading a checkpoint file: from untrusted bytes to the state dict of one model, strictly."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from edgeclip.errors import InputError
from edgeclip.models.layouts import LAYOUTS, Layout, is_optional, normalise_key
from edgeclip.models.pair import EncoderPair
from edgeclip.spec import ModelSpec

_WRAPPERS = ("state_dict", "model", "module")  # keys under which training scripts store the weights
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_DEEPEST = 4  # wrappers inside each other
_SHOWN = 3


def load_checkpoint(path: Path, spec: ModelSpec) -> EncoderPair:
    """Read `path`, whatever its published layout, into `spec`'s model.

    Raises InputError if the file is no checkpoint, or not one of this model; the message names the tensor.
    """
    tensors = read_tensors(path)
    layout = recognise(tensors, path)
    if spec.family not in layout.families:
        raise InputError(f"{path}: {layout.name} layout, which {spec.name} is not published in{_better(tensors, layout)}")
    pair = spec.build(spec).eval()
    problems = _problems(tensors, layout, pair)
    if problems:
        shown = "; ".join(problems[:_SHOWN]) + (f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else "")
        raise InputError(f"{path}: not a checkpoint of {spec.name}: {shown}{_better(tensors, layout)}")
    for key, value in tensors.items():
        if value.is_floating_point() and not layout.ignored.fullmatch(key) and not torch.isfinite(value.float()).all():
            raise InputError(f"{path}: tensor {key!r} has values that are not finite in float32")
    pair.load_state_dict(_assembled(tensors, layout, pair))
    return pair


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a `.safetensors`, `.pt` or `.bin` file, wrappers removed. Pickles load with `weights_only`."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the checkpoint file inside it")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    is_safetensors = path.suffix == ".safetensors" or head[8:9] == b"{"
    content = _read_safetensors(path) if is_safetensors else _read_pickle(path)
    tensors: dict[str, Tensor] = {}
    for key, value in _unwrapped(content, path).items():
        if normalise_key(key) in tensors:
            raise InputError(f"{path}: tensor {normalise_key(key)!r} is there twice, once as {key!r}")
        tensors[normalise_key(key)] = value
    return tensors


# What readers raise on bytes that no writer wrote, as fuzzing them shows.
_DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    *(SafetensorError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile),
)


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except _DAMAGE as error:
        raise InputError(f"{path}: not a checkpoint, or a truncated or damaged safetensors file ({_line(error)})") from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except _DAMAGE as error:
        if culprit := re.search(r"GLOBAL (\S+)", str(error)):
            raise InputError(f"{path}: holds more than tensors and would run code on loading ({culprit[1]}); refused") from None
        if "TorchScript" in str(error):
            raise InputError(f"{path}: TorchScript archives are not supported; save its state_dict") from None
        raise InputError(f"{path}: not a checkpoint, or truncated") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
            if tensors:
                return tensors
            break
        content = inner
    raise InputError(f"{path}: holds no tensors")


def recognise(tensors: Mapping[str, Tensor], path: Path) -> Layout:
    """The published layout of a state dict."""
    for layout in LAYOUTS:
        if layout.recognise(tensors):
            return layout
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise InputError(f"{path}: no known layout (first tensor {next(iter(tensors))!r}); known: {known}")


def _problems(tensors: Mapping[str, Tensor], layout: Layout, pair: EncoderPair) -> list[str]:
    """Every missing, misshapen or extra tensor, as the file names it."""
    problems: list[str] = []
    used: set[str] = set()
    for name, value in pair.state_dict().items():
        source = layout.source(name)
        used.update(source.keys)
        shape = source.packing.shape(value.shape)
        for key in source.keys:
            if key in tensors:
                problems += _differences(key, tensors[key], value.dtype, shape)
            elif not is_optional(name):
                problems.append(f"tensor {key!r} is missing")
    extra = sorted(key for key in tensors.keys() - used if not layout.ignored.fullmatch(key))
    return problems + [f"tensor {key!r} is not one of the model's" for key in extra]


def _differences(key: str, found: Tensor, dtype: torch.dtype, shape: torch.Size) -> list[str]:
    if found.is_nested or found.is_meta or found.is_quantized or found.layout != torch.strided:
        return [f"tensor {key!r} is no plain array of numbers"]
    if found.is_floating_point() != dtype.is_floating_point or (dtype.is_floating_point and found.dtype not in _FLOATS):
        return [f"tensor {key!r} is {found.dtype}, expected {dtype}"]
    if found.shape != shape:
        return [f"tensor {key!r} is {list(found.shape)}, expected {list(shape)}"]
    return []


def _assembled(tensors: Mapping[str, Tensor], layout: Layout, pair: EncoderPair) -> dict[str, Tensor]:
    state = {}
    for name, current in pair.state_dict().items():
        source = layout.source(name)
        if not source.keys:
            state[name] = torch.zeros_like(current)
        elif all(key in tensors for key in source.keys):
            state[name] = source.packing.assemble(*(tensors[key].to(current.dtype) for key in source.keys))
        else:
            state[name] = current
    return state


def _better(tensors: Mapping[str, Tensor], layout: Layout) -> str:
    """Which model of the table the file does fit, if any."""
    from edgeclip.models import MODELS

    for spec in MODELS.values():
        if spec.family in layout.families:
            with torch.device("meta"):
                pair = spec.build(spec)
            if not _problems(tensors, layout, pair):
                return f"; it fits {spec.name}"
    return ""
