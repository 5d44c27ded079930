"""The errors that edgeclip raises on purpose.

Each message is one line that names the file, option or layer and says what to do. The command line prints it and
exits with `exit_status`; anything else that escapes is a bug and shows as one.
"""

from __future__ import annotations


class EdgeclipError(Exception):
    """Base of all errors a user can act on."""

    exit_status = 2


class UsageError(EdgeclipError):
    """An option, name or combination that does not exist or cannot be done."""


class InputError(EdgeclipError):
    """A file given by the user (checkpoint, image, bundle, text list) that cannot be used as it is."""


class BundleError(InputError):
    """A bundle or artifact that is missing, incomplete, altered or malformed."""


class HubError(EdgeclipError):
    """A published checkpoint that could not be fetched."""


class MissingPackageError(EdgeclipError):
    """A package that a target or runtime needs is not installed, or does not exist for this system."""


class NotRunnableError(EdgeclipError):
    """A whole artifact that nothing on this machine can run."""


class DeviceError(EdgeclipError):
    """A phone or simulator that cannot be reached, broke off, or answered something that is not to be trusted."""


class ResourceError(EdgeclipError):
    """Work that this machine has no memory or disk for."""


class CoverageError(EdgeclipError):
    """A lowering that leaves more to the CPU's portable kernels than was asked for."""

    exit_status = 1


class BudgetError(EdgeclipError):
    """A conversion that was done, but exceeds what was asked for."""

    exit_status = 1


class ConversionError(EdgeclipError):
    """A conversion that could not be finished: lowering failed, or the artifact did not load and run."""
