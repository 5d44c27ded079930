"""Writing files into an app that is there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from edgeclip.apps.plan import content_hash
from edgeclip.apps.record import RECORD_FILE, Record, encoded
from edgeclip.apps.template_files import Template
from edgeclip.bundle_writer import clean_up, reporting_disk

_NAME = "edgeclip-app"


class Staging:
    """A hidden folder in the app: what is written is whole there before any of it takes its place."""

    def __init__(self, app: Path) -> None:
        self.app = app
        self.folder = app / f".{_NAME}.partial-{os.getpid()}"
        self.files: list[str] = []

    def __enter__(self) -> Staging:
        with reporting_disk(self.app):
            clean_up(self.app / _NAME)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, templates: Mapping[str, Template]) -> None:
        """Copy templates to the paths that they will have."""
        with reporting_disk(self.app):
            for relative, template in templates.items():
                shutil.copyfile(template.source, self._new(relative))
                self._new(relative).chmod(0o755 if template.executable else 0o644)

    def add_text(self, relative: str, text: str) -> None:
        """Write a file that is made and not copied, unless it is there with just this text."""
        content = text.encode()
        if content_hash(self.app, relative) != hashlib.sha256(content).hexdigest():
            with reporting_disk(self.app):
                self._new(relative).write_bytes(content)

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
