"""The interface of a function: its inputs and outputs as an app sees them."""

from __future__ import annotations

from typing import Any

from edgeclip.errors import BundleError
from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.steps import Flexible, Interface
from edgeclip.reference.mil.values import MAX_SIZE, TensorType

_COLORS = {10: "GRAYSCALE", 20: "RGB", 30: "BGR"}  # FeatureTypes.proto, ImageFeatureType.ColorSpace


def interface_of(package: Package, function: str) -> Any:
    """The description with a function's inputs and outputs: the model's own, or one of a package of several functions."""
    description = package.model.description
    if not description.functions:
        return description
    for described in description.functions:
        if described.name == function:
            return described
    raise BundleError(f"{package.path}: function {function!r} has no interface")


def interface(feature: Any, tensor: TensorType, is_input: bool, where: str) -> Interface:
    """An input or output; `tensor` is its type in the program. BundleError where the two contradict each other."""
    if feature.type.WhichOneof("Type") != "imageType":
        flexible = _flexible(feature.type.multiArrayType, tensor, where) if is_input and tensor.is_flexible else None
        return Interface(feature.name, tensor, flexible=flexible)
    color = _COLORS.get(feature.type.imageType.colorSpace, "unknown")
    if color not in ("RGB", "BGR"):
        raise BundleError(f"{where}: {color} pictures are not supported")
    if tensor.dtype not in ("FLOAT16", "FLOAT32") or len(tensor.shape) != 4 or tensor.shape[:2] != (1, 3) or tensor.is_flexible:
        raise BundleError(f"{where}: {tensor.dtype} {list(tensor.shape)} is no picture")
    return Interface(feature.name, tensor, color)


def _flexible(array: Any, tensor: TensorType, where: str) -> Flexible:
    """FeatureTypes.proto, ArrayFeatureType: ranges of sizes, the upper bound -1 where there is none, or a list of shapes."""
    shapes = tuple(tuple(shape.shape) for shape in array.enumeratedShapes.shapes)
    ranges = tuple((size.lowerBound, None if size.upperBound < 0 else size.upperBound) for size in array.shapeRange.sizeRanges)
    if not shapes and not ranges:
        raise BundleError(f"{where}: it does not say which shapes {list(tensor.shape)} stands for")
    flexible = Flexible(ranges, shapes)
    if any(low > MAX_SIZE or (high is not None and high < low) for low, high in ranges) or not all(
        tensor.fits(shape) for shape in (shapes or (flexible.smallest,))
    ):
        raise BundleError(f"{where}: shapes {flexible} contradict {list(tensor.shape)}")
    return flexible
