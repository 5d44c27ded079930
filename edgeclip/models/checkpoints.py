"""Reading a checkpoint file: from untrusted bytes to the state dict of one model, strictly."""

from __future__ import annotations

import pickle
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
    pair.load_state_dict(_assembled(tensors, layout, pair))
    for name, value in pair.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{path}: tensor {layout.source(name).keys[0]!r} has values that are not finite")
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
    content = _read_safetensors(path) if head[8:9] == b"{" else _read_pickle(path)
    tensors = _unwrapped(content, path)
    return {normalise_key(key): value for key, value in tensors.items()}


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: truncated or damaged safetensors file ({error})") from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported operand" in str(error) or "weights_only" in str(error):
            raise InputError(
                f"{path}: holds more than tensors and would run code on loading; refused{_culprit(error)}"
            ) from None
        raise InputError(f"{path}: not a checkpoint, or truncated") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        if "TorchScript" in str(error):
            raise InputError(f"{path}: TorchScript archives are not supported; save its state_dict") from None
        raise InputError(f"{path}: not a checkpoint, or truncated") from error


def _culprit(error: Exception) -> str:
    """The name of the function a pickle wanted to call, from torch's message."""
    marker = "GLOBAL "
    text = str(error)
    return f" ({text.split(marker, 1)[1].split()[0]})" if marker in text else ""


def _unwrapped(content: object, path: Path) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
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
    for name, expected in pair.state_dict().items():
        source = layout.source(name)
        used.update(source.keys)
        missing = [key for key in source.keys if key not in tensors]
        if missing and not is_optional(name):
            problems.append(f"tensor {missing[0]!r} is missing")
        if missing:
            continue
        parts = [tensors[key] for key in source.keys]
        if any(part.is_floating_point() != expected.is_floating_point() for part in parts):
            problems.append(f"tensor {source.keys[0]!r} is {parts[0].dtype}, expected {expected.dtype}")
            continue
        try:
            shape = source.assemble(*(torch.empty(part.shape, device="meta") for part in parts)).shape
        except (RuntimeError, IndexError):
            shape = None
        if shape != expected.shape:
            problems.append(f"tensor {source.keys[0]!r} is {list(parts[0].shape)}, expected {list(expected.shape)}")
    extra = sorted(key for key in tensors.keys() - used if not layout.ignored.fullmatch(key))
    problems += [f"tensor {key!r} is not one of the model's" for key in extra]
    return list(dict.fromkeys(problems))  # one tensor of the file may feed several of the model


def _assembled(tensors: Mapping[str, Tensor], layout: Layout, pair: EncoderPair) -> dict[str, Tensor]:
    state = {}
    for name, current in pair.state_dict().items():
        source = layout.source(name)
        if all(key in tensors for key in source.keys):
            state[name] = source.assemble(*(tensors[key].to(current.dtype) for key in source.keys))
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
