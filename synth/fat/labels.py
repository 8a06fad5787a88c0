"""Volume labels: the bytes on the disk, the one that nobody gave, and what it must not equal."""

from __future__ import annotations

import re

from ...errors import PlanError
from ...options import DEFAULT_LABEL
from ..tree.columns import SEPARATOR, Tree

NO_LABEL = b"NO NAME    "
"""In the boot sector of a volume without a label, as mkfs.fat has it."""
# Files have no name with a space before the end of its eight characters: nothing is called so.
_OTHER_DEFAULT = "V FLOPPY"
# As OpenStack's and cloud-init's tools write them: cirros, and cloud-init until 2018, look for
# these letters; later ones take capitals, too.
_IN_LOWER_CASE = {"cidata", "config-2"}
_LABEL = re.compile(r"[A-Z0-9 !#$%&'()\-@^_`{}~]{1,11}")


def check_label(label: str) -> bytes:
    """Return a volume label as the 11 bytes on the disk, none for an empty one.

    Raise PlanError with the reason.
    """
    if not label:
        return b""
    upper = label.upper()
    if len(upper) > 11:
        raise PlanError(f"label {label!r} has {len(upper)} characters; FAT holds at most 11")
    if not _LABEL.fullmatch(upper) or upper[0] == " ":
        raise PlanError(
            f"label {label!r} can't be written; FAT takes letters A-Z, digits, "
            "spaces inside and !#$%&'()-@^_`{}~"
        )
    return (label if label in _IN_LOWER_CASE else upper).encode("ascii").ljust(11)


def default_label(tree: Tree) -> str:
    """Return the label of a volume that nobody gave one: none that an entry of the root has."""
    children = tree.children(0)
    if not children:
        return DEFAULT_LABEL
    names = tree.joined_names(children.start, children.stop).upper().split(SEPARATOR)
    return _OTHER_DEFAULT if DEFAULT_LABEL.encode() in names else DEFAULT_LABEL
