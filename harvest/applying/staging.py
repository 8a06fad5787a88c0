"""New files and directories are made where nobody sees them, whole and synced, before all else.

A file is made nameless in the directory that it will be in, so that it has the rights that new
files get there, and no time of that directory changes; then it gets a name in the state directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress

from ...errors import ApplyError
from ..changes import Changes
from . import metadata
from .calls import UNKNOWN, Calls
from .folders import Folders
from .outcome import Deed, Outcome
from .plan import Content, NewFolder, Plan
from .sameness import READ

_PART_BYTES = 1 << 20
_NO_NAMELESS = {*UNKNOWN, errno.EISDIR, errno.ENOENT, errno.EACCES, errno.EPERM}


class Staging:
    """The making of all that is new in a plan. Raises OSError and ApplyError."""

    def __init__(self, calls: Calls, folders: Folders, plan: Plan, changes: Changes) -> None:
        self._calls = calls
        self._folders = folders
        self._plan = plan
        self._changes = changes

    def run(self) -> None:
        """Make everything, and have it on the disk."""
        for new in self._plan.new:
            if isinstance(new, NewFolder):
                self._make_folder(new)
            else:
                self._make_file(new)
            self._folders.trim()
        for stage in self._plan.stages:
            self._calls.sync_folder(self._folders.descriptor(stage))
            self._calls.sync_folder(self._folders.descriptor(self._folders.all[stage].places[0][0]))

    def _make_folder(self, new: NewFolder) -> None:
        item = self._plan.items[new.item]
        stage, name = item.places[0]
        self._calls.make_folder(self._folders.descriptor(stage), name)
        opened = self._folders.descriptor(item.folder)
        metadata.inherit(self._calls, self._folders.descriptor(new.parent), opened)
        self._calls.sync_folder(opened)
        item.inode = self._folders.all[item.folder].inode = os.fstat(opened).st_ino

    def _make_file(self, new: Content) -> None:
        item = self._plan.items[new.item]
        stage, name = item.places[0]
        parent, state = self._folders.descriptor(new.parent), self._folders.descriptor(stage)
        mode = 0o600 if new.like else 0o666
        is_named = False
        try:
            descriptor = self._calls.create_nameless(parent, mode)
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
            descriptor, is_named = self._calls.create(state, name, mode), True
        try:
            if is_named:
                metadata.inherit(self._calls, parent, descriptor)
            self._fill(new, descriptor)
            self._calls.sync(descriptor)
            if not is_named:
                self._calls.name(descriptor, state, name)
            item.inode = os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)

    def _fill(self, new: Content, descriptor: int) -> None:
        """Write content and metadata."""
        like = -1
        if new.like is not None:
            like = os.open(new.like[1], READ, dir_fd=self._folders.descriptor(new.like[0]))
        try:
            written = 0
            for part in _read(like) if new.is_copy else self._changes.content(new.change):
                self._calls.write(descriptor, part)
                written += len(part)
            if not new.is_copy and written != new.change.size:
                path = "/".join(new.change.path)
                raise ApplyError(
                    f"{path!a}: the disk holds {written} bytes of it, and its directory says "
                    f"{new.change.size}; nothing was applied"
                )
            modified_ns = new.change.modified_ns
            if like >= 0:
                lost = metadata.copy(self._calls, like, descriptor)
                if lost:
                    reason = f"does not keep {', '.join(lost)}"
                    where = self._plan.deeds[self._plan.items[new.item].deed]
                    self._plan.deeds.append(Deed(Outcome.NOTE, where.path, where.host, reason))
                if modified_ns is None or new.is_copy:
                    modified_ns = os.fstat(like).st_mtime_ns
            if new.change.read_only is not None:
                metadata.set_read_only(self._calls, descriptor, new.change.read_only)
            if modified_ns is not None:
                metadata.set_time(self._calls, descriptor, modified_ns)
        finally:
            if like >= 0:
                os.close(like)


def _read(descriptor: int) -> Iterator[bytes]:
    with suppress(BlockingIOError):
        os.set_blocking(descriptor, True)
    while part := os.read(descriptor, _PART_BYTES):
        yield part
