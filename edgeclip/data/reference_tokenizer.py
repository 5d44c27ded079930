"""open_clip's own tokenizer: the reference that ours is verified against."""

from __future__ import annotations

import numpy as np

from edgeclip.spec import Tokenizer


def reference_ids(texts: list[str], spec: Tokenizer) -> np.ndarray:
    """Tokenize with open_clip: -> (N, context_length) int32."""
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    from open_clip.tokenizer import SimpleTokenizer

    ids = SimpleTokenizer(context_length=spec.context_length)(texts)
    return np.asarray(ids, np.int32)
