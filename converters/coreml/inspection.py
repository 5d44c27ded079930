"""What is inside an `.mlpackage`, read without Core ML."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.values import DTYPES, tensor_type


def inspect_package(path: Path) -> dict[str, Any]:
    """Operations by type, weights by data type (values and bytes in `weight.bin`), program version."""
    package = Package(path)
    function = package.model.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    ops: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for operation in block.operations:
        if operation.type != "const":
            ops[operation.type] += 1
        for value in operation.attributes.values():
            if value.WhichOneof("value") != "blobFileValue":
                continue
            kind = tensor_type(value.type, operation.type)
            elements[kind.dtype.lower()] += kind.elements
            size[kind.dtype.lower()] += kind.elements * DTYPES[kind.dtype].numpy.itemsize if kind.dtype in DTYPES else 0
    weights = {name: {"values": elements[name], "bytes": size[name]} for name in sorted(elements)}
    metadata = dict(sorted(package.model.description.metadata.userDefined.items()))
    return {
        "specification_version": package.model.specificationVersion,
        "opset": function.opset,
        "ops": dict(ops.most_common()),
        "weights": weights,
        "metadata": metadata,
    }
