"""This machine."""

from __future__ import annotations

from edgeclip.manifest import Bundle
from profiles.device import Request
from profiles.results import Profile


class HostDevice:
    """Runs every artifact in processes of its own."""

    def profile(self, request: Request) -> Profile:
        raise NotImplementedError

    def compare(self, request: Request, other: Bundle) -> Profile:
        raise NotImplementedError


DEVICE = HostDevice()
