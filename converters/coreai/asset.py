"""Writing an `.aimodel` whose bytes depend on its content alone.

coreai-core 1.0.0b3 draws names for functions and large constants by chance, and dates every asset. Here both are numbered in
the order of the program, and the date is left out, so that equal recipes give equal hashes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.coreai.metadata import write_metadata
from converters.coreai.stored import DECOMPRESSIONS, content
from edgeclip.reference.coreai_graph import CALLED


def write_asset(program: Any, metadata: dict[str, str], path: Path) -> None:
    """Save an `AIProgram` as an asset at `path`."""
    module = program._module._mlir_module
    _drop_unread(module)
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


def _drop_unread(module: Any) -> None:
    """Erase constants that nothing reads: what weights were before they were compressed, and forms that were only tried."""
    for constant in constants(module):
        for tried in {use.owner for use in constant.results[0].uses if use.owner.name in DECOMPRESSIONS}:
            if not any(True for _ in tried.results[0].uses):
                tried.erase()
    for constant in constants(module):
        if not any(True for _ in constant.results[0].uses):
            constant.erase()


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
    from coreai._compiler.ir import DenseResourceElementsAttr

    large = [one for one in constants(module) if DenseResourceElementsAttr.isinstance(one.attributes["value"])]
    for number, operation in enumerate(large):
        held, kind = content(operation), operation.results[0].type
        with operation.context, operation.location:
            operation.attributes["value"] = DenseResourceElementsAttr.get_from_buffer(held, f"weight_{number}", kind)
