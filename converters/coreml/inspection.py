"""What is inside an `.mlpackage`, read without Core ML."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from converters.coreml.neural_engine.graph import main_block
from converters.coreml.storage import stored_weights
from edgeclip.reference.mil.package import Package


def inspect_package(path: Path) -> dict[str, Any]:
    """Operations by type, weights by stored data type, program version."""
    package = Package(path)
    function, block = main_block(package)
    ops = Counter(operation.type for operation in block.operations if operation.type != "const")
    return {
        "specification_version": package.model.specificationVersion,
        "opset": function.opset,
        "ops": dict(ops.most_common()),
        **stored_weights(block.operations).as_json(),
        "metadata": dict(sorted(package.model.description.metadata.userDefined.items())),
    }
