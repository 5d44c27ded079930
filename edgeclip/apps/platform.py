"""What an app kit is: a folder of templates, where a bundle goes in it, and what it can run.

A platform is one file with a `PLATFORM`, a folder below `sample_apps` and a row here. What an app links and from which OS it
runs is read from its own build files, the user's where there are any, so that nothing of it is said twice.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from edgeclip.manifest import Manifest
from edgeclip.registry import Registry

Read = Callable[[str], str]  # a path within the app -> the file's text


@dataclass(frozen=True)
class Pin:
    """A version that an app asks for, as (17, 0), and the file that says so."""

    version: tuple[int, ...]
    file: str

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True)
class Abilities:
    """What an app can run.

    os: the earliest OS that it runs on; None where artifacts have no floor. kit_os: the earliest that its parts need.
    executorch: of the runtime it links, None if it links none. backends: ExecuTorch's delegates in it, and libraries: what of
    the manifest's `libraries` it links, each with what links it.
    """

    os: Pin | None = None
    kit_os: Pin | None = None
    executorch: Pin | None = None
    backends: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AppBundle:
    """What the generated file states: a bundle's manifest as it is in the app, and where it is.

    folder: of the bundle, as the app finds it among its resources. labels: the label bank in it, if there is one.
    """

    manifest: Manifest
    folder: str
    labels: str | None = None


@dataclass(frozen=True)
class Platform:
    """One app kit. Paths are relative to the app's folder, with `/`.

    targets: those that it can run, the one it prefers first. bundles: where bundles lie. resources: the same place, as the
    running app names it. generated: the one file that is made anew for each bundle, by `render`. abilities: reads what an app
    can run from its build files; links: the one that names its libraries. next_steps: what to do in the app's folder.
    """

    name: str
    title: str
    targets: tuple[str, ...]
    bundles: str
    resources: str
    generated: str
    render: Callable[[AppBundle], str]
    abilities: Callable[[Read], Abilities]
    links: str
    next_steps: tuple[str, ...]


PLATFORMS: Registry[str] = Registry("platform")  # "package.module:PLATFORM", imported on use
PLATFORMS.add("ios", "edgeclip.apps.ios:PLATFORM")
PLATFORMS.add("android", "edgeclip.apps.android:PLATFORM")


def load_platform(name: str) -> Platform:
    """The platform of that name; a miss lists those that there are."""
    module, _, attribute = PLATFORMS[name].partition(":")
    found: Platform = getattr(importlib.import_module(module), attribute)
    return found
