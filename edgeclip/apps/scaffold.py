"""`edgeclip app`: an app from the templates, with a bundle in place; and its update, which leaves the user's edits.

A new app is made in a hidden folder beside its place and moved there at the end, so that no half of one appears. An update
changes file by file, each in one step: first the record says what is about to be written, at the end that it was. So an update
that was cut short, whenever that was, is finished by running it again, and nothing it wrote is taken for an edit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from msgspec import structs

from edgeclip import __version__
from edgeclip.apps.plan import Plan, check_inside, planned, reader
from edgeclip.apps.platform import AppBundle, Platform, load_platform
from edgeclip.apps.record import RECORD_FILE, SCHEMA, Record, read_record
from edgeclip.apps.selection import Selection, select
from edgeclip.apps.shipping import LABELS_FILE, Shipment, entries_of, is_at, prepare, ship
from edgeclip.apps.staging import Staging
from edgeclip.apps.template_files import TEMPLATES, templates
from edgeclip.bundle_writer import clean_up, is_staging, reporting_disk
from edgeclip.errors import InputError, UsageError
from edgeclip.manifest import Bundle, Manifest
from edgeclip.progress import Progress, silent


@dataclass(frozen=True)
class AppResult:
    """What was done.

    created: whether there was no app before. written, removed: files of the templates that were; edited: those that the user
    has changed or removed, and that were left so. bundle: the bundle's folder, and bundle_changed whether it was written.
    """

    platform: Platform
    app: Path
    created: bool
    bundle: Path
    bundle_changed: bool
    manifest: Manifest
    selection: Selection
    written: tuple[str, ...]
    removed: tuple[str, ...]
    edited: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Of the bundle in the app, but for its manifest."""
        return sum(entry.size_bytes for entry in entries_of(self.manifest))


@dataclass(frozen=True)
class _Job:
    """One scaffolding or update: what there is to write, wherever it goes."""

    platform: Platform
    plan: Plan
    shipment: Shipment
    progress: Progress

    @property
    def manifest(self) -> Manifest:
        """Of the bundle in the app."""
        return self.shipment.manifest

    @property
    def place(self) -> str:
        """Of the bundle in the app."""
        return f"{self.platform.bundles}/{self.manifest.model}"

    @property
    def generated(self) -> str:
        """The generated file's text."""
        folder = f"{self.platform.resources}/{self.manifest.model}"
        return self.platform.render(AppBundle(self.manifest, folder, LABELS_FILE if self.shipment.labels else None))


def scaffold(
    platform_name: str,
    bundle_path: Path,
    out: Path,
    labels: Path | None = None,
    targets: Collection[str] = (),
    schemes: Collection[str] = (),
    progress: Progress = silent,
    root: Path = TEMPLATES,
) -> AppResult:
    """Make an app of a bundle in the folder `out`, or update the one there.

    labels: a label bank of the bundle's space, in place of the text tower. targets, schemes: only artifacts of these. root:
    where the templates are. Raises UsageError where the app cannot run the bundle or the folder is no app's;
    nothing is changed then.
    """
    platform = load_platform(platform_name)
    bundle = Bundle.open(bundle_path)
    record = _existing(out, platform)
    plan = planned(out, templates(platform.name, platform.generated, platform.bundles, root), record)
    abilities = platform.abilities(reader(out, plan))
    selection = select(bundle, platform, abilities, labels is not None, targets, schemes)
    job = _Job(platform, plan, prepare(bundle, selection.artifacts, labels), progress)
    if record is None:
        changed = _create(out, job)
    else:
        _check_bundle_place(out, job.place, record)
        changed = _update(out, record, job)
    return AppResult(
        platform=platform,
        app=out,
        created=record is None,
        bundle=out / job.place,
        bundle_changed=changed,
        manifest=job.manifest,
        selection=selection,
        written=tuple(plan.write),
        removed=plan.remove,
        edited=plan.left,
    )


def _existing(out: Path, platform: Platform) -> Record | None:
    """The record of the app at `out`, None if there is nothing; anything else there is never touched."""
    if is_staging(out):
        raise UsageError(f"{out}: an unfinished folder; choose another one with --out")
    record = read_record(out)
    if record is not None:
        if record.platform != platform.name:
            raise UsageError(f"{out}: holds an app for {record.platform}; choose another folder with --out")
        if any(str(PurePosixPath(place).parent) != platform.bundles for place in record.bundles):
            raise InputError(f"{out / RECORD_FILE}: names bundles outside {platform.bundles}; put the file back as it was")
        return record
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: exists and is no app made by edgeclip (no {RECORD_FILE}); choose another folder with --out")
    if out.is_mount() or out.resolve() == Path.cwd():
        raise UsageError(
            f"{out}: an app takes the place of its folder, which cannot be this one; use --out with a folder in it"
        )
    return None


def _check_bundle_place(app: Path, place: str, record: Record) -> None:
    """Refuse to replace a folder of the user's by the bundle, or to write where a link leads."""
    folder = app / place
    check_inside(app, folder)
    if place not in record.bundles and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is in the way of the bundle, and edgeclip did not put it there; move it away")


def _create(out: Path, job: _Job) -> bool:
    """Make the app beside its place and move it there."""
    place = out.resolve()
    folder = place.with_name(f".{place.name}.partial-{os.getpid()}")
    with reporting_disk(out):
        place.parent.mkdir(parents=True, exist_ok=True)
        clean_up(place)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    try:
        changed = _update(folder, Record(schema=SCHEMA, platform=job.platform.name, edgeclip=__version__), job)
        with reporting_disk(out):
            folder.rename(place)  # an empty folder gives way, another one does not
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return changed


def _update(app: Path, record: Record, job: _Job) -> bool:
    """Carry out a plan. Returns whether the bundle was written."""
    plan = job.plan
    begun = structs.replace(
        record,
        edgeclip=__version__,
        files={**record.files, **plan.replaced},
        writing={**record.writing, **{relative: template.sha256 for relative, template in plan.write.items()}},
        bundles=tuple(dict.fromkeys((*record.bundles, job.place))),
    )
    kept = {relative: sha256 for relative, sha256 in record.files.items() if relative in plan.left}
    put = {relative: template.sha256 for relative, template in plan.fresh.items() if relative not in plan.left}
    done = structs.replace(begun, files={**kept, **put}, writing={}, bundles=(job.place,))
    with Staging(app) as staging:
        staging.add(plan.write)
        staging.add_text(job.platform.generated, job.generated)
        staging.record(begun, record)
        with reporting_disk(app):
            for place in begun.bundles:
                clean_up(app / place)  # what a killed update left beside a bundle would be shipped with it
        changed = not is_at(app / job.place, job.manifest)
        if changed:
            with job.progress(f"copying {job.manifest.model} into the app"):
                ship(job.shipment, app / job.place)
        staging.put()
        with reporting_disk(app):
            for relative in plan.remove:
                (app / relative).unlink()
            for old in set(begun.bundles) - {job.place}:
                if (app / old).exists():
                    shutil.rmtree(app / old)
        staging.record(done, begun)
    return changed
