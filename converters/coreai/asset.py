"""Writing an `.aimodel` whose bytes depend on its content alone.

coreai-core 1.0.0b3 draws names for functions and large constants by chance, and dates every asset. Here both are numbered in
the order of the program, and the date is left out, so that equal recipes give equal hashes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from converters.coreai.metadata import write_metadata
from edgeclip.reference.coreai_graph import CALLED


def write_asset(program: Any, metadata: dict[str, str], path: Path) -> None:
    """Save an `AIProgram` as an asset at `path`."""
    module = program._module._mlir_module
    _name_functions(module)
    _name_constants(module)
    program.save_asset(path)
    write_metadata(path, metadata)


def constants(module: Any) -> list[Any]:
    """All operations that hold constants, in the order of the program."""
    from coreai._compiler.ir import WalkResult

    found = []

    def visit(operation: Any) -> Any:
        if operation.name == "coreai.constant":
            found.append(operation)
        return WalkResult.ADVANCE

    module.operation.walk(visit)
    return found


def _name_functions(module: Any) -> None:
    """`layer_norm_mzvtoixk` -> `layer_norm_0`, where it is defined and where it is called."""
    from coreai._compiler.ir import Attribute, StringAttr

    names: dict[str, str] = {}
    with module.context:
        for function in module.body.operations:
            name = function.attributes["sym_name"].value
            if "priv" in function.attributes:  # private: no app calls it
                names[name] = f"{name.rpartition('_')[0]}_{len(names)}"
                function.attributes["sym_name"] = StringAttr.get(names[name])
        for function in module.body.operations:
            for operation in function.regions[0].blocks[0].operations:
                if "callee" in operation.attributes:
                    said = str(operation.attributes["callee"])
                    renamed = CALLED.sub(lambda match: f"@{names.get(match[1], match[1])}", said)
                    operation.attributes["callee"] = Attribute.parse(renamed)


def _name_constants(module: Any) -> None:
    """Large constants again, under names in place of numbers."""
    from coreai._compiler._mlir_libs._coreaiIR import _bindings
    from coreai._compiler.ir import DenseResourceElementsAttr

    bindings: Any = _bindings
    large = [one for one in constants(module) if DenseResourceElementsAttr.isinstance(one.attributes["value"])]
    for number, operation in enumerate(large):
        kind = operation.results[0].type
        content = np.zeros(math.ceil(math.prod(kind.shape) * kind.element_type.width / 8), np.uint8)
        bindings.compiler.copy_constant_value_to_array(constant_op=operation, destination=content)
        with operation.context, operation.location:
            operation.attributes["value"] = DenseResourceElementsAttr.get_from_buffer(content, f"weight_{number}", kind)
