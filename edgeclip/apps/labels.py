"""Making a label bank: prompt ensembles of many labels through a bundle's text tower, so that an app needs none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeclip.apps.label_bank import MAX_BYTES, Dtype, LabelBank, write_label_bank
from edgeclip.bundle_writer import reporting_disk
from edgeclip.classify import choose_runtime
from edgeclip.data.prompts import DEFAULT_TEMPLATES, check_labels, check_templates
from edgeclip.data.tokenizer import load_tokenizer
from edgeclip.errors import BundleError, UsageError
from edgeclip.manifest import Bundle
from edgeclip.progress import Progress, silent
from edgeclip.registry import unknown
from edgeclip.spec import Tower
from edgeclip.text_classifier import class_embeddings, class_prompts
from edgeclip.whole_file import check_writable

PRECISIONS: dict[str, Dtype] = {"fp16": "F16", "fp32": "F32"}
_VALUE_BYTES: dict[str, int] = {"fp16": 2, "fp32": 4}
_PROMPTS_AT_ONCE = 256
_NEEDED: tuple[Tower, ...] = ("text",)
_MAX_PROMPTS = 5_000_000


@dataclass(frozen=True)
class LabelsResult:
    """What was written, and the runtime that encoded it."""

    path: Path
    bank: LabelBank
    size_bytes: int
    runtime: str


def make_label_bank(
    bundle_path: Path,
    labels: Sequence[str],
    out: Path,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    precision: str = "fp16",
    runtime: str | None = None,
    progress: Progress = silent,
) -> LabelsResult:
    """Encode every label in every template and write their means, of length 1, to `out`.

    precision: of the stored embeddings, a name of `PRECISIONS`. runtime: as in `edgeclip.classify.classify`; only the text
    tower is needed.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    check_labels(labels, "--labels")
    check_templates(templates, "--templates")
    count = len(labels) * len(templates)
    if count > _MAX_PROMPTS:
        raise UsageError(
            f"--labels: {len(labels)} labels in {len(templates)} templates are {count} prompts, over {_MAX_PROMPTS}"
        )
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; give the name of a file")
    bundle = Bundle.open(bundle_path)
    manifest = bundle.manifest
    if (needed := len(labels) * manifest.embedding.dim * _VALUE_BYTES[precision]) > MAX_BYTES:
        raise UsageError(
            f"--labels: {len(labels)} labels take {needed} bytes in {precision}, and apps read {MAX_BYTES}; give fewer labels"
        )
    engine, artifacts = choose_runtime(bundle, runtime, _NEEDED)
    with reporting_disk(out):
        check_writable(out)
    artifact, tokenizer = artifacts["text"], load_tokenizer(bundle)
    embeddings = np.empty((len(labels), manifest.embedding.dim), np.float32)
    step = max(1, _PROMPTS_AT_ONCE // len(templates))
    with (
        progress(f"encoding {count} prompts in {engine.name}") as task,
        engine.open(bundle, artifact, engine.modes(artifact.scheme)[0]) as runner,
    ):
        for start in range(0, len(labels), step):
            part = labels[start : start + step]
            rows = runner.encode(tokenizer(class_prompts(part, templates)))
            if rows.shape[1:] != embeddings.shape[1:] or not np.isfinite(rows).all():
                raise BundleError(f"{bundle.path}: {artifact.label} in {engine.name} gives no embeddings (overflow?)")
            embeddings[start : start + len(part)] = class_embeddings(rows, [len(templates)] * len(part))
            task.advance((start + len(part)) * len(templates), count, "prompts")
    bank = LabelBank(
        space_id=manifest.embedding.space_id,
        labels=tuple(labels),
        templates=tuple(templates),
        scoring=manifest.scoring,
        embeddings=embeddings,
    )
    with reporting_disk(out):
        write_label_bank(out, bank, PRECISIONS[precision])
    return LabelsResult(out, bank, out.stat().st_size, engine.name)
