"""`edgeclip app`: an app from the templates, with a bundle in place; and its update, which leaves the user's edits.

A new app is made in a hidden folder beside its place and moved there at the end, so that no half of one appears. An update
changes file by file, each in one step: first the record says what is about to be written, at the end that it was. So an update
that was cut short, whenever that was, is finished by running it again, and nothing it wrote is taken for an edit.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

from msgspec import structs

from edgeclip import __version__
from edgeclip.apps.platform import AppBundle, Platform, Read, load_platform
from edgeclip.apps.record import RECORD_FILE, SCHEMA, Record, encoded, read_record
from edgeclip.apps.selection import Selection, select
from edgeclip.apps.shipping import LABELS_FILE, Shipment, entries_of, is_at, prepare, ship
from edgeclip.apps.template_files import TEMPLATES, Template, templates
from edgeclip.bundle_writer import clean_up, is_staging, reporting_disk
from edgeclip.errors import InputError, UsageError
from edgeclip.manifest import Bundle, Manifest, file_sha256
from edgeclip.progress import Progress, silent

_STAGING_NAME = "edgeclip-app"


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
class _Plan:
    """What becomes of an app's files.

    fresh: all templates by path. write: those that are put there; replaced: the hashes of what gives way to them.
    remove: files that the templates have no more. left: what is the user's: edited or removed.
    """

    fresh: dict[str, Template]
    write: dict[str, Template]
    replaced: dict[str, str]
    remove: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """One scaffolding or update: what there is to write, wherever it goes."""

    platform: Platform
    plan: _Plan
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
    progress: Progress = silent,
    root: Path = TEMPLATES,
) -> AppResult:
    """Make an app of a bundle in the folder `out`, or update the one there.

    labels: a label bank of the bundle's space, in place of the text tower. targets: only artifacts of these. root: where the
    templates are. Raises UsageError where the app cannot run the bundle or the folder is no app's; nothing is changed then.
    """
    platform = load_platform(platform_name)
    bundle = Bundle.open(bundle_path)
    record = _existing(out, platform)
    plan = _planned(out, templates(platform.name, platform.generated, platform.bundles, root), record)
    abilities = platform.abilities(_reader(out, plan))
    selection = select(bundle, platform, abilities, labels is not None, targets)
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
    _check_inside(app, folder)
    if place not in record.bundles and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is in the way of the bundle, and edgeclip did not put it there; move it away")


def _planned(app: Path, fresh: dict[str, Template], record: Record | None) -> _Plan:
    """Compare what is there, what was put there and what would be put there now."""
    files = record.files if record else {}
    write, replaced, remove, left = dict[str, Template](), dict[str, str](), list[str](), list[str]()
    for relative, template in fresh.items():
        found = _content(app, relative)
        if found == template.sha256:
            continue
        if found is None and relative not in files:
            write[relative] = template
        elif found is not None and record is not None and record.is_ours(relative, found):
            write[relative] = template
            replaced[relative] = found
        else:
            left.append(relative)
    for relative in sorted({*files, *(record.writing if record else ())} - fresh.keys()):
        found = _content(app, relative)
        if found is not None and record is not None:
            (remove if record.is_ours(relative, found) else left).append(relative)
    return _Plan(fresh, write, replaced, tuple(remove), tuple(left))


def _content(app: Path, relative: str) -> str | None:
    """The hash of a file in the app, None where there is none; empty for a link or a folder, which are the user's."""
    path = app / relative
    _check_inside(app, path)
    if path.is_symlink() or path.is_dir():
        return ""
    try:
        return file_sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _check_inside(app: Path, path: Path) -> None:
    if not path.parent.resolve().is_relative_to(app.resolve()):
        raise InputError(f"{path.parent}: a link that leads out of the app; put a folder in its place")


def _reader(app: Path, plan: _Plan) -> Read:
    """The app's files as they will be: the user's where they stay, else the templates'."""

    def read(relative: str) -> str:
        path = app / relative if relative in plan.left else plan.fresh[relative].source
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read, so what the app can run is not known ({error})") from error

    return read


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
    with _Staging(app) as staging:
        staging.add(job)
        staging.record(begun, record)
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


class _Staging:
    """A hidden folder in the app: what is written is whole there before any of it takes its place."""

    def __init__(self, app: Path) -> None:
        self.app = app
        self.folder = app / f".{_STAGING_NAME}.partial-{os.getpid()}"
        self.files: list[str] = []

    def __enter__(self) -> _Staging:
        with reporting_disk(self.app):
            clean_up(self.app / _STAGING_NAME)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, job: _Job) -> None:
        """Copy the files that are to be written."""
        with reporting_disk(self.app):
            for relative, template in job.plan.write.items():
                shutil.copyfile(template.source, self._new(relative))
                self._new(relative).chmod(0o755 if template.executable else 0o644)
            text = job.generated.encode()
            if _content(self.app, job.platform.generated) != hashlib.sha256(text).hexdigest():
                self._new(job.platform.generated).write_bytes(text)

    def _new(self, relative: str) -> Path:
        path = self.folder / relative
        if relative not in self.files:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.files.append(relative)
        return path

    def put(self) -> None:
        """Move each file to its place, in one step each."""
        with reporting_disk(self.app):
            for relative in self.files:
                (self.app / relative).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / relative).replace(self.app / relative)

    def record(self, record: Record, before: Record) -> None:
        """Write the record, unless it says the same."""
        if record != before or not (self.app / RECORD_FILE).exists():
            with reporting_disk(self.app):
                (self.folder / RECORD_FILE).write_bytes(encoded(record))
                (self.folder / RECORD_FILE).replace(self.app / RECORD_FILE)
