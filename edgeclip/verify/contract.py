"""What a bundle's manifest states, held against the model and against the files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import structs

from edgeclip.data.reference_tokenizer import reference_ids
from edgeclip.golden import Golden, read_golden
from edgeclip.golden_json import GOLDEN_JSON, golden_json, read_golden_json
from edgeclip.manifest import Artifact, Bundle, FileEntry, size_bytes
from edgeclip.models.weights import LoadedModel
from edgeclip.pipeline import scoring
from edgeclip.plugins import TARGETS
from edgeclip.reference.torch_runtime import original_runner
from edgeclip.spec import TOWERS, TensorSpec
from edgeclip.target import Target

_GOLDEN_TOLERANCE = 1e-4  # other processors add up in another order


def contract_differences(bundle: Bundle, loaded: LoadedModel) -> Iterator[str]:
    """Statements of the manifest that are not true of the model: apps act on them, so each is a failure."""
    manifest, spec = bundle.manifest, loaded.spec
    pairs = (
        ("image", manifest.image, spec.preprocess),
        ("text", manifest.text, structs.replace(spec.tokenizer, vocabulary=manifest.text.vocabulary)),  # no app acts on that
        ("scoring", manifest.scoring, scoring(loaded)),
        ("weights.licence", manifest.weights.licence, loaded.licence),
    )
    for section, stated, true in pairs:
        for name in true.__struct_fields__:
            got, wanted = getattr(stated, name), getattr(true, name)
            if got != wanted:
                yield f"{section}.{name} is {got}, the model has {wanted}"
    if manifest.embedding.dim != spec.embed_dim:
        yield f"embedding.dim is {manifest.embedding.dim}, the model has {spec.embed_dim}"
    if not manifest.embedding.l2_normalized:
        yield "embedding.l2_normalized is false, the artifacts normalise"
    for artifact in manifest.artifacts:
        target: Target = TARGETS[artifact.target].load()
        yield from _option_differences(bundle, artifact, target)
        true_interface = target.interface(spec, artifact.tower, artifact.convention)
        for name, stated_tensors, true_tensors in (
            ("inputs", artifact.inputs, true_interface.inputs),
            ("outputs", artifact.outputs, true_interface.outputs),
        ):
            if stated_tensors != true_tensors:
                yield f"{name} of {artifact.path} are stated as {_plain(stated_tensors)}, they are {_plain(true_tensors)}"


def _option_differences(bundle: Bundle, artifact: Artifact, target: Target) -> Iterator[str]:
    """Options of an artifact that its target does not have, or that belong to another scheme."""
    for name, stated, known in (
        ("backend", artifact.backend, target.backends),
        ("scheme", artifact.scheme, _schemes(artifact, target)),
        ("layout", artifact.layout, target.layouts),
        ("convention", artifact.convention, target.conventions),
        ("token_table", artifact.token_table, target.token_tables),
    ):
        if stated is not None and stated not in known:
            yield f"{name} of {artifact.path} is {stated}, {artifact.target} knows {', '.join(known) or 'none'}"
    chosen, promised = artifact.scheme == "auto", artifact.min_cosine is not None
    if chosen != promised or (chosen and artifact.layers is None):
        yield f"min_cosine of {artifact.path} goes with scheme auto, and both with layers"
    own = target.stated_scheme(bundle.verified_path(artifact))
    if own is not None and own != artifact.scheme:
        yield f"scheme of {artifact.path} is {artifact.scheme}, the artifact itself says {own}"


def _schemes(artifact: Artifact, target: Target) -> tuple[str, ...]:
    """Those of the artifact's backend, as far as there is such a backend."""
    return target.schemes_with(artifact.backend if artifact.backend in target.backends else None)


def _plain(tensors: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{tensor.name} {tensor.kind} {tensor.dtype} {list(tensor.shape)}" for tensor in tensors)


def file_differences(bundle: Bundle, loaded: LoadedModel) -> Iterator[str]:
    """Sizes that are not as stated, and golden embeddings that are not the original's. Raises on a wrong hash."""
    entries: list[Artifact | FileEntry] = [*bundle.manifest.artifacts, *bundle.manifest.files]
    for entry in entries:
        size = size_bytes(bundle.verified_path(entry))
        if size != entry.size_bytes:
            yield f"size_bytes of {entry.path} is {entry.size_bytes}, it has {size}"
    golden = read_golden(bundle)
    if not np.array_equal(golden.text_ids, reference_ids(golden.texts.tolist(), loaded.tokenizer)):
        yield f"{bundle.manifest.golden}: token ids differ from the reference tokenizer's"
        return
    for tower in TOWERS:
        stored, given = golden.embeddings(tower), golden.inputs(tower)
        original = original_runner(loaded, tower).encode(given)
        if stored.shape != original.shape or not np.abs(stored - original).max() <= _GOLDEN_TOLERANCE:
            yield f"{bundle.manifest.golden}: {tower} embeddings differ from the original's"
    yield from twin_differences(bundle, golden)


def twin_differences(bundle: Bundle, golden: Golden) -> Iterator[str]:
    """What `golden.json` has otherwise than `golden.npz`, and artifacts of which it asks less than `verify`."""
    twin = read_golden_json(bundle)
    if twin is None:
        return
    true = golden_json(golden, bundle.manifest.artifacts)
    for name in ("images", "texts"):
        if getattr(twin, name) != getattr(true, name):
            yield f"{GOLDEN_JSON}: {name} are not those of {bundle.manifest.golden}"
    if twin.min_cosine.keys() != true.min_cosine.keys():
        yield f"{GOLDEN_JSON}: min_cosine is of other artifacts"
    for path, floor in true.min_cosine.items():
        if (stated := twin.min_cosine.get(path, floor)) < floor:
            yield f"{GOLDEN_JSON}: min_cosine of {path} is {stated:g}, its scheme's {floor:g}"
