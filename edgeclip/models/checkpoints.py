"""Reading a checkpoint file: from untrusted bytes to the state dict of one model, strictly."""

from __future__ import annotations

import functools
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
from edgeclip.models.layouts import LAYOUTS
from edgeclip.models.layouts.layout import Layout, is_optional, normalise_key
from edgeclip.models.pair import EncoderPair
from edgeclip.models.shards import is_index, read_index
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
    try:
        tensors = layout.prepared(tensors)
    except _DAMAGE as error:
        raise InputError(f"{path}: {_line(error)}") from error
    if layout.name not in spec.layouts:
        raise InputError(f"{path}: {layout.title} layout, which {spec.name} is not published in{_better(tensors, layout)}")
    in_shape, problems = _compared(tensors, layout, spec)
    if problems:
        shown = "; ".join(problems[:_SHOWN]) + (f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else "")
        raise InputError(f"{path}: not a checkpoint of {spec.name}: {shown}{_better(tensors, layout)}")
    for key, value in tensors.items():
        if value.is_floating_point() and not layout.ignored.fullmatch(key) and not torch.isfinite(value.float()).all():
            raise InputError(f"{path}: tensor {key!r} has values that are not finite in float32")
    pair = spec.build(in_shape).eval()
    # Float32 stays in the mapped file; the fresh weights go.
    pair.load_state_dict(_assembled(tensors, layout, pair), assign=True)
    return pair


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a `.safetensors`, `.pt` or `.bin` file, or of an index of the first, wrappers removed.

    Pickles load with `weights_only`. Files are mapped into memory, not read, where their format allows it.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the checkpoint file inside it")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if is_index(path):
        content: object = _read_shards(path)
    else:
        is_safetensors = path.suffix == ".safetensors" or head[8:9] == b"{"
        content = _read_safetensors(path) if is_safetensors else _read_pickle(path)
    tensors: dict[str, Tensor] = {}
    for key, value in _unwrapped(content, path).items():
        twin = tensors.get(normalise_key(key))
        if twin is not None and not _is_same(twin, value):
            raise InputError(f"{path}: tensor {normalise_key(key)!r} is there twice, once as {key!r}")
        tensors[normalise_key(key)] = value
    return tensors


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two entries of a file are one tensor under two names."""
    plain = all(each.layout == torch.strided and not each.is_meta and not each.is_nested for each in (one, other))
    return plain and one.shape == other.shape and one.stride() == other.stride() and one.data_ptr() == other.data_ptr()


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


def _read_shards(path: Path) -> Mapping[str, Tensor]:
    """The tensors of all files that an index names, each from where the index says it is."""
    index = read_index(path)
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(index.values())):
        held = _read_safetensors(file)
        wanted = {key for key, place in index.items() if place == file}
        if differing := sorted(wanted ^ held.keys()):
            where = "lacks" if differing[0] in wanted else "also has"
            raise InputError(f"{file}: {where} tensor {differing[0]!r}, other than {path.name} says")
        tensors.update(held)
    return tensors


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
    for layout in LAYOUTS.values():
        if layout.recognise(tensors):
            return layout
    known = ", ".join(layout.title for layout in LAYOUTS.values())
    raise InputError(f"{path}: no known layout (first tensor {next(iter(tensors))!r}); known: {known}")


def _compared(tensors: Mapping[str, Tensor], layout: Layout, spec: ModelSpec) -> tuple[ModelSpec, list[str]]:
    """The row in the shape of the file, and what keeps the file from being one of its checkpoints. Allocates nothing."""

    def shape_of(name: str) -> tuple[int, ...] | None:
        keys = layout.source(name).keys
        return tuple(tensors[keys[0]].shape) if len(keys) == 1 and keys[0] in tensors else None

    in_shape = spec if spec.fitted is None else spec.fitted(spec, shape_of)
    pair = _without_numbers(in_shape)
    problems = _problems(tensors, layout, pair.state_dict())
    if spec.fitted is not None and not problems:
        problems = _other_sizes(pair, spec)
    return in_shape, problems


def _without_numbers(spec: ModelSpec) -> EncoderPair:
    with torch.device("meta"):
        return spec.build(spec)


_SIZE_STEP = 0.75e6  # names of pruned models round parameters to millions


def _other_sizes(pair: EncoderPair, spec: ModelSpec) -> list[str]:
    """Towers of another size than the row's, where tensors alone do not tell which row they belong to."""
    towers = (("image", pair.visual, spec.image_params), ("text", pair.text, spec.text_params))
    counts = [(name, sum(p.numel() for p in tower.parameters()), wanted) for name, tower, wanted in towers]
    return [
        f"the {name} tower has {count / 1e6:.1f} M parameters, expected {wanted / 1e6:.1f} M"
        for name, count, wanted in counts
        if abs(count - wanted) > _SIZE_STEP
    ]


def _problems(tensors: Mapping[str, Tensor], layout: Layout, wanted: Mapping[str, Tensor]) -> list[str]:
    """Every missing, misshapen or extra tensor, as the file names it, for a model with the state dict `wanted`."""
    problems: list[str] = []
    used: set[str] = set()
    for name, value in wanted.items():
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
            state[name] = source.packing.assemble(*(tensors[key].to(current.dtype) for key in source.keys)).contiguous()
        else:
            state[name] = current
    return state


def _better(tensors: Mapping[str, Tensor], layout: Layout) -> str:
    """Which models of the table the file does fit, if any: several may have the same shapes."""
    from edgeclip.models import MODELS

    here = [spec for spec in MODELS.values() if layout.name in spec.layouts]
    fitting = [spec.name for spec in here if not _misfits(tensors, layout, spec)]
    return f"; it fits {' or '.join(fitting)}" if fitting else ""


def _misfits(tensors: Mapping[str, Tensor], layout: Layout, spec: ModelSpec) -> list[str]:
    return _compared(tensors, layout, spec)[1] if spec.fitted else _problems(tensors, layout, _skeleton(spec.name))


@functools.cache
def _skeleton(name: str) -> Mapping[str, Tensor]:
    """A model's state dict without numbers."""
    from edgeclip.models import MODELS

    return _without_numbers(MODELS[name]).state_dict()
