"""The constants of a generated file: what an app wants to know of its bundle before it has read the manifest.

The manifest in the bundle is the truth; these are for what is decided when the app is compiled, such as titles and notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgeclip.apps.platform import AppBundle
from edgeclip.spec import Tower

Value = str | int | bool | None


@dataclass(frozen=True)
class Constant:
    """One constant. name: in camel case. optional: whether it is None for some bundles."""

    name: str
    value: Value
    says: str
    optional: bool = False


def constants(app: AppBundle) -> Iterator[Constant]:
    """The constants of a bundle, in the order in which they are written."""
    manifest, licence = app.manifest, app.manifest.weights.licence
    yield Constant("model", manifest.model, "The model's name.")
    yield Constant("folder", app.folder, "Where the bundle is among the app's resources.")
    yield Constant("spaceId", manifest.embedding.space_id, "The embedding space; an index or label bank is of the same one.")
    yield Constant("embeddingDim", manifest.embedding.dim, "How many values an embedding has.")
    yield Constant("imageSize", manifest.image.size, "Sides of the image tower's input, in pixels.")
    yield Constant("imageArtifact", _path(app, "image"), "The image tower's file in the bundle.")
    yield Constant("textArtifact", _path(app, "text"), "The text tower's, if the app has one.", optional=True)
    yield Constant("labelBank", app.labels, "The label bank in the bundle, if the app has one.", optional=True)
    yield Constant("licence", licence.name, "The licence of the weights.")
    yield Constant("licenceUrl", licence.url, "Where it can be read.")
    yield Constant("commercialUse", licence.commercial_use, "Whether it lets an app be sold.")


def _path(app: AppBundle, tower: Tower) -> str | None:
    """Of the artifact that the platform prefers, which comes first."""
    return next((artifact.path for artifact in app.manifest.artifacts if artifact.tower == tower), None)


def literal(value: Value, none: str, quoted: Callable[[str], str]) -> str:
    """A value as Swift and Kotlin write it; they agree but for `none` and how a string is quoted."""
    if value is None:
        return none
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else str(value)
