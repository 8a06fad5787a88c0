"""Rights that applying needs, asked for before anything is done."""

from __future__ import annotations

import os
import stat

from ...errors import ApplyError
from ...synth.tree.columns import printable
from .folders import Folders
from .plan import Plan


def check_rights(folders: Folders, plan: Plan) -> None:
    """Raise ApplyError if this process may not do what is planned in one of the directories."""
    for number in sorted({place[0] for item in plan.items for place in item.places}):
        if not folders.all[number].inode:  # it is yet to be made
            continue
        descriptor = folders.descriptor(number)
        path = printable(folders.path_of(number))
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
            raise ApplyError(f"{path}: may not be written to; nothing was applied")
        above = os.fstat(descriptor)
        if not above.st_mode & stat.S_ISVTX or os.geteuid() in {0, above.st_uid}:
            continue
        for item in plan.items:
            found = folders.status(item.places[0]) if item.places[0][0] == number else None
            if found is not None and found.st_uid != os.geteuid():
                name = printable(item.places[0][1])
                raise ApplyError(
                    f"{path}: only the owner of {name} may rename or remove it there; nothing was "
                    "applied"
                )
        folders.trim()
