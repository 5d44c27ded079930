"""Reading a saved `.mlpackage`: the folder's own manifest, the model protobuf, and the weight files it names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeclip.errors import BundleError
from edgeclip.reference.mil.messages import printable, reason
from edgeclip.reference.mil.proto import model_pb2
from edgeclip.reference.mil.values import WeightFile

MAX_MODEL_BYTES = 256 * 1024 * 1024
_MODEL_PATH = "@model_path/"


class Package:
    """An `.mlpackage` folder, read without coremltools."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model_file = self._model_file()
        self.model = self._parse()
        self._weights: dict[str, WeightFile] = {}

    @property
    def size_bytes(self) -> int:
        """Of the model protobuf and the weight files that have been read from."""
        return self._model_bytes + sum(weights.size_bytes for weights in self._weights.values())

    def weights(self, file_name: str) -> WeightFile:
        """The weight file that a value names, e.g. `@model_path/weights/weight.bin`."""
        if file_name not in self._weights:
            what = f"{self.path}: weight file {printable(file_name)!r}"
            if not file_name.startswith(_MODEL_PATH):
                raise BundleError(f"{what} lies outside the package")
            path = self._inside(self.model_file.parent, file_name.removeprefix(_MODEL_PATH), what)
            try:
                self._weights[file_name] = WeightFile(path)
            except OSError as error:
                raise BundleError(f"{what} cannot be read ({reason(error)})") from error
        return self._weights[file_name]

    def _inside(self, folder: Path, name: str, what: str) -> Path:
        """The file that `name` means below `folder`, links followed; BundleError if it is none, or outside the package."""
        try:
            path = (folder / name).resolve()
            inside, is_file = path.is_relative_to(self.path.resolve()), path.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # name too long, links in circles, NUL or half a surrogate pair
            raise BundleError(f"{what} cannot be opened ({reason(error)})") from error
        if not inside:
            raise BundleError(f"{what} lies outside the package")
        if not is_file:
            raise BundleError(f"{what} is missing")
        return path

    def _model_file(self) -> Path:
        manifest = self.path / "Manifest.json"
        try:
            content = json.loads(manifest.read_text("utf-8"))
            item = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
        except FileNotFoundError:
            raise BundleError(f"{self.path}: not a Core ML package (no Manifest.json)") from None
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise BundleError(f"{manifest}: damaged ({reason(error)}); convert the model again") from error
        return self._inside(self.path / "Data", str(item), f"{self.path}: model file {printable(str(item))!r}")

    def _parse(self) -> Any:
        from google.protobuf.message import DecodeError

        model = model_pb2().Model()
        try:
            self._model_bytes = self.model_file.stat().st_size
            if self._model_bytes > MAX_MODEL_BYTES:
                raise BundleError(f"{self.model_file}: {self._model_bytes} bytes is no ML Program description")
            model.ParseFromString(self.model_file.read_bytes())
        except (OSError, DecodeError) as error:
            raise BundleError(f"{self.model_file}: damaged model ({reason(error)}); convert the model again") from error
        if model.WhichOneof("Type") != "mlProgram":
            raise BundleError(f"{self.model_file}: not an ML Program, but {model.WhichOneof('Type')}")
        return model
