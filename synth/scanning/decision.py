"""The decision on an entry of a directory: taken, followed, kept as a link, skipped, or refused.

It goes by what the entry is, then by what is wanted, then by whether it may be read:

    a file or directory      taken
    a symbolic link          by `symlinks`: skipped, kept, followed to what is taken then, refused
    a special file           kept with `keep_special_files`, else skipped
    gives no status          as if it were unreadable, unless it is excluded
    ... and is not wanted    skipped: vfloppy's own, excluded, the file being written, too large
    ... and is unreadable    refused; skipped with `skip_unreadable`
"""

from __future__ import annotations

import os
import stat
from enum import Enum, auto
from typing import NamedTuple, Protocol

from .homes import Place
from .options import ScanOptions, is_plain, what_it_is

STATE = ".vfloppy"
"""The directory that holds what is being applied to the one that it is in, and what was removed."""


class Action(Enum):
    """A thing to do with an entry."""

    TAKE = auto()
    """The file or directory that it is."""
    KEEP = auto()
    """As the link or special file that it is."""
    FOLLOW = auto()
    """The end of the link is taken in its place."""
    SKIP = auto()
    """It is left out, and listed."""
    REFUSE_LINK = auto()
    REFUSE_UNREADABLE = auto()


class Decision(NamedTuple):
    """An action, with the reason for skipping something or the place of what isn't just taken."""

    action: Action
    reason: str = ""
    place: Place | None = None


class Folder(Protocol):
    """A directory of the host, asked about entries by name where the decision depends on it."""

    def path(self, name: str) -> str:
        """Return an entry's path in the tree: UTF-8 with stray bytes as lone surrogates."""

    def kept(self, name: str, status: os.stat_result) -> Place | None:
        """Return the place of a link or special file; None for a link that can't be read."""

    def followed(self, name: str) -> Place | str:
        """Return the place that a link leads to, or why that can't be taken."""

    def may_read(self, name: str, mode: int) -> bool:
        """Return whether a file or directory may be read."""

    def may_read_place(self, place: Place) -> bool:
        """Return whether what is at a place may be read."""


_TAKE = Decision(Action.TAKE)
_REFUSE_LINK = Decision(Action.REFUSE_LINK)


def decide(name: str, status: os.stat_result, options: ScanOptions, folder: Folder) -> Decision:
    """Return what becomes of an entry, given its own status (lstat)."""
    decision = _TAKE
    if name == STATE and stat.S_ISDIR(status.st_mode):
        return Decision(Action.SKIP, "what vfloppy keeps of changes that it has applied")
    if stat.S_IFMT(status.st_mode) not in {stat.S_IFREG, stat.S_IFDIR}:
        decision = _of_no_file(name, status, options, folder)
        if decision.place is None:
            return decision
        status = decision.place.known_status
    if reason := _unwanted(name, status, options, folder):
        return Decision(Action.SKIP, reason)
    if decision.place is not None:
        is_readable = folder.may_read_place(decision.place)
    else:
        is_readable = is_plain(status.st_mode) or folder.may_read(name, status.st_mode)
    return decision if is_readable else unreadable(options)


def without_status(name: str, options: ScanOptions, folder: Folder) -> Decision:
    """Return what becomes of an entry that exists and gives no status.

    It may be where a file system is mounted that doesn't answer. What it is isn't known, so it is
    excluded by a pattern for files and by one for directories.
    """
    if options.excluded is not None:
        path = folder.path(name)
        if options.excluded(path) or options.excluded(path + "/"):
            return Decision(Action.SKIP, "excluded")
    return unreadable(options)


def unreadable(options: ScanOptions) -> Decision:
    """Return what becomes of what may not be read."""
    if options.skip_unreadable:
        return Decision(Action.SKIP, "may not be read")
    return Decision(Action.REFUSE_UNREADABLE)


def _of_no_file(
    name: str, status: os.stat_result, options: ScanOptions, folder: Folder
) -> Decision:
    """Return what becomes of what is neither file nor directory."""
    if stat.S_ISLNK(status.st_mode):
        if options.symlinks == "refuse":
            return _REFUSE_LINK
        if options.symlinks.startswith("follow"):
            found = folder.followed(name)
            if isinstance(found, Place):
                return Decision(Action.FOLLOW, place=found)
            return Decision(Action.SKIP, found)
        is_kept = options.symlinks == "keep"
    else:
        is_kept = options.keep_special_files
    if is_kept and (place := folder.kept(name, status)):
        return Decision(Action.KEEP, place=place)
    return Decision(Action.SKIP, what_it_is(stat.S_IFMT(status.st_mode)))


def _unwanted(name: str, status: os.stat_result, options: ScanOptions, folder: Folder) -> str:
    """Return why the options leave something out; nothing if they don't."""
    is_directory = stat.S_ISDIR(status.st_mode)
    if not is_directory and (status.st_dev, status.st_ino) in options.leave_out:
        return "the file being written"
    if options.excluded is not None:
        path = folder.path(name)
        if options.excluded(path + "/" if is_directory else path):
            return "excluded"
    most = options.skip_larger_than
    if not is_directory and most is not None and status.st_size > most:
        return f"larger than {most} bytes"
    return ""
