"""Which artifacts of a bundle an app can run, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from edgeclip.apps.platform import Abilities, Platform
from edgeclip.errors import BundleError, UsageError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.spec import TOWERS

_FLOOR = re.compile(r"(?P<system>[A-Za-z]+)(?P<version>\d{1,3}(\.\d{1,3})?)")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # it names a folder


@dataclass(frozen=True)
class Selection:
    """What goes into an app. left_out: artifacts that do not, each with the reason. warnings: for the user to read."""

    artifacts: tuple[Artifact, ...]
    left_out: tuple[tuple[Artifact, str], ...]
    warnings: tuple[str, ...]


def select(
    bundle: Bundle,
    platform: Platform,
    abilities: Abilities,
    labels: bool = False,
    targets: Collection[str] = (),
    schemes: Collection[str] = (),
) -> Selection:
    """Choose what the app runs of a bundle.

    labels: a label bank takes the text tower's place. targets, schemes: of these only. Raises UsageError, with all reasons,
    where a tower is missing that the app needs.
    """
    for target in targets:
        if target not in platform.targets:
            raise UsageError(f"--target {target}: {platform.title} apps run {' and '.join(platform.targets)}")
    if not _MODEL.fullmatch(bundle.manifest.model):
        raise BundleError(f"{bundle.path}: the model's name {bundle.manifest.model!r} cannot name a folder of an app")
    chosen, left_out = [], []
    for artifact in bundle.manifest.artifacts:
        reason = _not_asked_for(artifact, platform, targets, schemes) or _reason_against(artifact, bundle, platform, abilities)
        if reason is None:
            chosen.append(artifact)
        else:
            left_out.append((artifact, reason))
    if labels:
        pictures = {artifact.path for artifact in chosen if artifact.tower == "image"}
        not_needed = [artifact for artifact in chosen if artifact.path not in pictures]
        chosen = [artifact for artifact in chosen if artifact.path in pictures]
        left_out += [(artifact, "a label bank takes its place") for artifact in not_needed]
    _check_towers(bundle, platform, abilities, chosen, left_out, labels)
    chosen.sort(key=lambda artifact: (platform.targets.index(artifact.target), TOWERS.index(artifact.tower), artifact.path))
    return Selection(tuple(chosen), tuple(left_out), tuple(_warnings(bundle, chosen)))


def _check_towers(
    bundle: Bundle,
    platform: Platform,
    abilities: Abilities,
    chosen: list[Artifact],
    left_out: list[tuple[Artifact, str]],
    labels: bool,
) -> None:
    """An app needs an image tower, and a text tower or a label bank."""
    if too_early := _below_kit(platform, abilities):
        raise UsageError(too_early)
    present = {artifact.tower for artifact in chosen}
    missing = [tower for tower in TOWERS if tower not in present and not (labels and tower == "text")]
    if not missing:
        return
    held = ", ".join(artifact.label for artifact in bundle.manifest.artifacts) or "nothing"
    reasons = "; ".join(f"{artifact.label}: {reason}" for artifact, reason in left_out if artifact.tower in missing)
    add = f"edgeclip convert {bundle.manifest.model} --target {platform.targets[0]} --out {bundle.path}"
    if reasons:
        raise UsageError(f"{bundle.path}: the {platform.title} app cannot run its {' and '.join(missing)} tower: {reasons}")
    instead = "; or --labels BANK, made by `edgeclip labels`, in its place" if missing == ["text"] else ""
    raise UsageError(f"{bundle.path}: has no {' and '.join(missing)} tower (it holds {held}); add it: {add}{instead}")


def _below_kit(platform: Platform, abilities: Abilities) -> str | None:
    """An app that says it runs on earlier systems than its own parts do."""
    app, kit = abilities.os, abilities.kit_os
    if app is None or kit is None or app.version >= kit.version:
        return None
    return (
        f"{app.file}: the app is for {platform.title} {app}, below what it requires:"
        f" {kit.file} says {platform.title} {kit}; raise it to that"
    )


def _not_asked_for(artifact: Artifact, platform: Platform, targets: Collection[str], schemes: Collection[str]) -> str | None:
    """Why an artifact is none of those that the user wants in the app, or None."""
    if artifact.target not in platform.targets:
        return f"{platform.title} apps run {' and '.join(platform.targets)}"
    for option, value, wanted in (("--target", artifact.target, targets), ("--scheme", artifact.scheme, schemes)):
        if wanted and value not in wanted:
            return f"{' '.join(f'{option} {one}' for one in wanted)} leaves it out"
    return None


def _reason_against(artifact: Artifact, bundle: Bundle, platform: Platform, abilities: Abilities) -> str | None:
    """Why the app cannot run an artifact of a target of its own, or None."""
    return _TARGET_CHECKS[artifact.target](artifact, bundle, platform, abilities) or _later_os(artifact, platform, abilities)


def _later_os(artifact: Artifact, platform: Platform, abilities: Abilities) -> str | None:
    if artifact.min_os is None:
        return None
    floor = _FLOOR.fullmatch(artifact.min_os)
    if floor is None or floor["system"].lower() != platform.name:
        return f"it is for {artifact.min_os}, not for {platform.title}"
    app = abilities.os
    if app is None:
        return f"it needs {artifact.min_os}, and the app does not say from which {platform.title} it runs"
    wanted = tuple(map(int, floor["version"].split(".")))
    if wanted <= app.version:
        return None
    return (
        f"it needs {artifact.min_os}, the app is for {platform.title} {app} and later ({app.file});"
        f" convert with an earlier --min-os, or raise the app's"
    )


def _executorch_differs(artifact: Artifact, bundle: Bundle, platform: Platform, abilities: Abilities) -> str | None:
    """What an ExecuTorch program needs of the app: the runtime of its exporter's release, its delegate, its kernels."""
    pin = abilities.executorch
    if pin is None:
        return f"the app does not link ExecuTorch ({platform.links})"
    made_by = _release(bundle.manifest.tools.get("executorch", ""))
    if made_by is None:
        return "the manifest does not say which ExecuTorch made it; convert again"
    if made_by != pin.version:
        made = ".".join(map(str, made_by))
        return (
            f"ExecuTorch {made} made it, the app has {pin} ({pin.file});"
            f" convert again with executorch=={pin}, or set the app's to {made}"
        )
    if artifact.backend not in abilities.backends:
        known = ", ".join(sorted(abilities.backends)) or "none"
        return f"the app has no {artifact.backend} backend ({platform.links}: {known})"
    if lacking := sorted(set(artifact.libraries) - abilities.libraries):
        return f"it needs {', '.join(lacking)}, which the app does not link ({platform.links})"
    return None


def _runs_as_it_is(artifact: Artifact, bundle: Bundle, platform: Platform, abilities: Abilities) -> str | None:
    return None


_TARGET_CHECKS: dict[str, Callable[[Artifact, Bundle, Platform, Abilities], str | None]] = {
    "coreml": _runs_as_it_is,  # it is part of the system
    "executorch": _executorch_differs,
}


def _release(version: str) -> tuple[int, ...] | None:
    """The numbers of a release: (1, 4, 1) of `1.4.1+cpu`."""
    try:
        return Version(version).release
    except InvalidVersion:
        return None


def _warnings(bundle: Bundle, chosen: list[Artifact]) -> Iterator[str]:
    licence = bundle.manifest.weights.licence
    if not licence.commercial_use:
        yield (
            f"the weights of {bundle.manifest.model} are under {licence.name}: no commercial use, so not in an app that is"
            f" sold or earns money ({licence.url})"
        )
    for artifact in chosen:
        if artifact.checked == "lowered":
            yield f"{artifact.label} was never run: nothing could run it where it was converted"
