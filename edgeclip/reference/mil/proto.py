"""The Core ML protobuf classes, without importing coremltools.

`import coremltools` takes seconds and prints warnings, because its `__init__` pulls in every converter. The generated
`*_pb2` modules below `coremltools/proto` need only protobuf, so they are loaded as a package of our own name.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from edgeclip.errors import MissingPackageError

_ALIAS = "edgeclip.reference.mil._coreml_proto"


@cache
def _package() -> None:
    found = importlib.util.find_spec("coremltools")
    if found is None or not found.submodule_search_locations:
        raise MissingPackageError("reading .mlpackage files needs coremltools: pip install coremltools==9.0")
    folder = str(Path(found.submodule_search_locations[0]) / "proto")
    spec = importlib.machinery.ModuleSpec(_ALIAS, loader=None, is_package=True)
    spec.submodule_search_locations = [folder]
    sys.modules[_ALIAS] = importlib.util.module_from_spec(spec)


def model_pb2() -> ModuleType:
    """`Model_pb2`: the outer model, with its interface description."""
    _package()
    return importlib.import_module(f"{_ALIAS}.Model_pb2")


def mil_pb2() -> ModuleType:
    """`MIL_pb2`: ML Program operations, values and types."""
    _package()
    return importlib.import_module(f"{_ALIAS}.MIL_pb2")
