"""Whether a label bank belongs to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeclip.errors import InputError
from edgeclip.manifest import Bundle

if TYPE_CHECKING:
    from edgeclip.apps.label_bank import LabelBank


def matching_bank(path: Path, bundle: Bundle, option: str) -> LabelBank:
    """Read a label bank. Raises InputError where it is not of the bundle's space. option: what the error names."""
    from edgeclip.apps.label_bank import read_label_bank

    bank, embedding = read_label_bank(path), bundle.manifest.embedding
    for what, has, wanted in (
        ("space", bank.space_id, embedding.space_id),
        ("embeddings of", bank.embeddings.shape[1], embedding.dim),
    ):
        if has != wanted:
            raise InputError(
                f"{option} {path}: is of {what} {has}, {bundle.path} of {wanted};"
                f" make it anew with `edgeclip labels {bundle.path}`"
            )
    return bank
