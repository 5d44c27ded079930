"""Make `import torchvision` work beside a CPU build of torch.

torchvision's wheel on the package index is built for CUDA torch. Beside a CPU torch its C++ extension does not load, and
its Python part then fails with `operator torchvision::nms does not exist` while it registers fake kernels. timm and open_clip
import torchvision, and we use none of its operators, so declaring the schemas is enough.

Remove this module when torchvision guards its fake-kernel registration, or the index carries a CPU wheel for it.
"""

from __future__ import annotations

import sys

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[object] = []  # a Library's declarations live as long as the object does


def declare_torchvision_ops() -> None:
    """Declare the operators torchvision expects, unless it is loaded or a real build brings them."""
    if _declared or "torchvision" in sys.modules:
        return
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
