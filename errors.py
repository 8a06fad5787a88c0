"""Failures that the user can do something about; the command line prints each as one line."""

from __future__ import annotations


class VfloppyError(Exception):
    """What was found, what was expected, which file or option, what to do: in one sentence."""


class ScanError(VfloppyError):
    """A directory can't be offered as it is."""


class PlanError(VfloppyError):
    """A tree or an option doesn't fit the format."""


class WriteError(VfloppyError):
    """An image could not be written."""
