"""Contents compared: of a file on the host, and of one that a guest wrote."""

from __future__ import annotations

import os
import stat

from ..changes import Change, Changes
from .folders import Folders, Place

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PART_BYTES = 1 << 20


def has_content(
    folders: Folders, place: Place, status: os.stat_result, changes: Changes, change: Change
) -> bool:
    """Return whether a file of the host has the bytes that a guest wrote; False for one that can't
    be read. Raise what `Changes.content` raises.
    """
    if not stat.S_ISREG(status.st_mode) or status.st_size != change.size or change.is_directory:
        return False
    try:
        descriptor = os.open(place[1], READ, dir_fd=folders.descriptor(place[0]))
    except OSError:
        return False
    with open(descriptor, "rb", buffering=_PART_BYTES) as file:
        if not os.path.samestat(os.fstat(descriptor), status):
            return False
        try:
            same = all(file.read(len(part)) == part for part in changes.content(change))
            return same and not file.read(1)
        except BlockingIOError:  # somebody holds a lease
            return False
