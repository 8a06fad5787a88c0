"""Owners and permissions that a user settles for all files of an image."""

from __future__ import annotations

import stat
from typing import NamedTuple


class Posix(NamedTuple):
    """Owners and permissions that are the same for all; None: each as it would be."""

    uid: int | None = None
    gid: int | None = None
    file_mode: int | None = None
    dir_mode: int | None = None
    new_dir_mode: int | None = None
    """Of directories that only the tree has."""

    def mode_of(self, kind: int, *, is_made: bool) -> int | None:
        """Return the permissions of something of a type (S_IFMT)."""
        if stat.S_ISREG(kind):
            return self.file_mode
        if not stat.S_ISDIR(kind):
            return None
        return self.dir_mode if self.new_dir_mode is None or not is_made else self.new_dir_mode
