"""Whether what is there already is what a sweep would make: whole, of the same weights, by the same recipe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgeclip.calibration import Calibration
from edgeclip.data.tokenizer import load_tokenizer
from edgeclip.errors import BundleError
from edgeclip.manifest import MANIFEST_FILE, Artifact, Bundle, FileEntry
from edgeclip.models.weights import stated_by
from edgeclip.recipe import MIN_DELEGATED, Recipe, TargetOptions
from edgeclip.spec import ModelSpec, Tower

# What recipe and manifest both say of an artifact, and how the command line calls it.
_CHOICES = {
    "backend": "--backend",
    "scheme": "--scheme",
    "min_os": "--min-os",
    "layout": "--layout",
    "token_table": "--token-table",
    "convention": "--convention",
    "seed": "--seed",
    "passes": "graph passes",
}


@dataclass(frozen=True)
class Finding:
    """What has to be made. why: what is wrong with what is there, None if nothing is. replaces: whether it goes.

    damage: of content. Whatever else of the bundle is damaged has to be made in the same conversion.
    """

    why: str | None = None
    replaces: bool = False
    damage: bool = False


class Standing:
    """What is at the place of a bundle; `asked` are the targets and towers that the sweep wants in it."""

    def __init__(
        self, path: Path, spec: ModelSpec, weights: str, calibration: Calibration, asked: Collection[tuple[str, Tower]]
    ) -> None:
        self.path = path
        self.spec = spec
        self._weights = weights
        self._calibration = calibration
        self._asked = set(asked)

    def finding(self, options: TargetOptions, recipes: Mapping[Tower, Recipe], force: bool) -> Finding | None:
        """What has to be done for a target; None if all of it is there."""
        bundle = self._bundle
        if bundle is None:
            return Finding()
        if isinstance(bundle, BundleError):
            return Finding(f"its {MANIFEST_FILE} is damaged", replaces=True)
        if (other := self._other_weights(bundle)) is not None:
            artifacts = bundle.manifest.artifacts
            # Others' work goes only where it is asked for: without `replaces` the conversion refuses.
            return Finding(other, replaces=force or self._asked >= {(one.target, one.tower) for one in artifacts})
        ours = {one.tower: one for one in bundle.manifest.artifacts if one.target == options.target and one.tower in recipes}
        if force:
            return Finding("--force", replaces=True) if ours else Finding()
        if (broken := self._broken_file) is not None:
            return Finding(broken, replaces=True, damage=True)
        if (broken := next(self._broken(bundle, ours.values()), None)) is not None:
            return Finding(broken, replaces=True, damage=True)
        if not ours:
            return Finding()
        for tower, recipe in recipes.items():
            if tower not in ours:
                return Finding(f"lacks the {tower} tower", replaces=True)
            if (differs := self._differs(ours[tower], recipe, options)) is not None:
                return Finding(f"{tower} tower: {differs}", replaces=True)
        return None

    def size_bytes(self, target: str) -> int:
        """Of all that is there of a target."""
        bundle = self._bundle
        assert isinstance(bundle, Bundle)
        return sum({one.path: one.size_bytes for one in bundle.manifest.artifacts if one.target == target}.values())

    @cached_property
    def _bundle(self) -> Bundle | BundleError | None:
        if not (self.path / MANIFEST_FILE).exists():
            return None  # and if anything else is there, the conversion refuses
        try:
            return Bundle.open(self.path)
        except BundleError as error:
            return error

    def _other_weights(self, bundle: Bundle) -> str | None:
        manifest = bundle.manifest
        if manifest.model != self.spec.name:
            return f"holds {manifest.model}"
        stated, held = stated_by(self.spec, self._weights), manifest.weights
        if held.sha256 == stated.sha256 or (stated.sha256 is None and held.source == stated.source):
            return None
        return f"its weights ({held.source}) are not those of {stated.source}"

    @cached_property
    def _broken_file(self) -> str | None:
        """What is wrong with the tokenizer, the golden embeddings or the licence, which every conversion writes anew."""
        bundle = self._bundle
        assert isinstance(bundle, Bundle)
        return next(self._broken(bundle, bundle.manifest.files), None)

    def _broken(self, bundle: Bundle, entries: Collection[Artifact] | Collection[FileEntry]) -> Iterator[str]:
        for entry in entries:
            try:
                bundle.verified_path(entry)
            except BundleError:
                there = (bundle.path / entry.path).exists()
                yield f"{entry.path} {'is damaged' if there else 'is missing'}"
            except OSError as error:
                yield f"{entry.path} cannot be read ({error.strerror})"

    def _differs(self, artifact: Artifact, recipe: Recipe, options: TargetOptions) -> str | None:
        """How an artifact was made otherwise than it would be now."""
        for name, option in _CHOICES.items():
            held, wanted = getattr(artifact, name), getattr(recipe, name)
            if held != wanted:
                return f"made with {option} {_shown(held)}, not {_shown(wanted)}"
        if (artifact.method != "forward") != recipe.single_file:
            return f"made {'without' if recipe.single_file else 'with'} --single-file"
        if artifact.calibration is not None and artifact.calibration != self._samples_sha256(artifact):
            return "made with other calibration samples"
        least = MIN_DELEGATED if options.min_delegated is None else options.min_delegated
        if artifact.delegated_percent is not None and round(artifact.delegated_percent, 1) < least:
            return f"{artifact.delegated_percent:.1f} % of it are in delegates, not {least:g}"
        if recipe.scheme == "auto":
            return _other_goal(artifact, options)
        return None

    def _samples_sha256(self, artifact: Artifact) -> str:
        bundle = self._bundle
        assert isinstance(bundle, Bundle)
        return self._calibration.sha256(artifact.tower, self.spec.preprocess, lambda: load_tokenizer(bundle))


def _other_goal(artifact: Artifact, options: TargetOptions) -> str | None:
    if options.goal.max_mb is not None:
        return "what --max-mb it was made for is not recorded"
    if artifact.min_cosine != options.goal.floor:
        return f"made with --min-cosine {_shown(artifact.min_cosine)}, not {_shown(options.goal.floor)}"
    return None


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
