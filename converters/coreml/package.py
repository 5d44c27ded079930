"""Writing an `.mlpackage` whose bytes depend on its content alone.

coremltools gives every package random identifiers and the date. Here the identifiers are derived from the content, map
fields are written in key order, and the date is left out, so that equal recipes give equal hashes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

_AUTHOR = "com.apple.CoreML"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://developer.apple.com/documentation/coreml/mlpackage")
_DATE_KEY = "com.github.apple.coremltools.conversion_date"
# What Core ML and Xcode show, by our name of it
_FIELDS = {"author": "author", "licence": "license", "description": "shortDescription", "version": "versionString"}


def write_package(model: Any, metadata: dict[str, str], path: Path) -> None:
    """Save a coremltools model as a package at `path`. `metadata` beyond the standard fields becomes user-defined entries."""
    spec = model.get_spec()
    for name, field in _FIELDS.items():
        setattr(spec.description.metadata, field, metadata.pop(name, ""))
    spec.description.metadata.userDefined.pop(_DATE_KEY, None)
    for name, value in metadata.items():
        spec.description.metadata.userDefined[f"edgeclip.{name}"] = value
    folder = path / "Data" / _AUTHOR
    folder.mkdir(parents=True)
    content = spec.SerializeToString(deterministic=True)
    (folder / "model.mlmodel").write_bytes(content)
    shutil.copytree(model.weights_dir, folder / "weights")
    (path / "Manifest.json").write_text(_package_manifest(hashlib.sha256(content).hexdigest()), "utf-8")


def _package_manifest(digest: str) -> str:
    model_id, weights_id = (str(uuid.uuid5(_NAMESPACE, f"{digest}/{item}")) for item in ("model", "weights"))
    items = {
        model_id: ("model.mlmodel", "CoreML Model Specification"),
        weights_id: ("weights", "CoreML Model Weights"),
    }
    content = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            identifier: {"author": _AUTHOR, "description": description, "name": name, "path": f"{_AUTHOR}/{name}"}
            for identifier, (name, description) in items.items()
        },
        "rootModelIdentifier": model_id,
    }
    # coremltools rewrites the file whenever it opens a package, with sorted keys: so written, it stays as it is.
    return json.dumps(content, indent=4, sort_keys=True) + "\n"
