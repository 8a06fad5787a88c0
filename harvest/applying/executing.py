"""Carrying out a plan that is written down: renamings, then removals. Each can be done again.

Nothing depends on how far it got the last time: each file and directory is looked for at all the
places that it gets to, and what is done already is left.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from ...errors import ApplyError
from ...synth.tree.columns import printable
from . import metadata
from .calls import UNKNOWN, Calls
from .folders import Folders, Place, is_directory
from .journal import Amendments
from .naming import beside
from .outcome import Deed, Outcome
from .plan import Item, Plan, Removal, Step
from .sameness import READ

_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}
_MEANWHILE = "came to the host in this moment; the guest's is beside it"
_CHANGED = "was changed on the host in this moment, and is kept"


class Execution:
    """A plan under way. Raises ApplyError where it can't go on for now."""

    def __init__(self, calls: Calls, folders: Folders, plan: Plan, amendments: Amendments) -> None:
        self._calls = calls
        self._folders = folders
        self._plan = plan
        self._amendments = amendments

    def run(self) -> None:
        """Do all that is not done yet, and have it on the disk."""
        path = b""
        try:
            for step in self._plan.steps:
                path = self._folders.path(self._plan.items[step.item].places[-1])
                self._step(step)
                self._folders.trim()
            for number in self._plan.removals:
                path = self._folders.path(self._plan.items[number].places[0])
                self._remove(self._plan.items[number])
                self._folders.trim()
            self._return_strays()
            self._set_attributes()
            self._sync()
        except OSError as error:
            raise ApplyError(
                f"{printable(path)}: {error.strerror or error}; applying stopped here, and nothing "
                "is lost: mend that, and apply again to go on"
            ) from error

    # Renaming.

    def _step(self, step: Step) -> None:
        item = self._plan.items[step.item]
        now = self._locate(item)
        if step.other >= 0 and now >= step.at:
            self._finish_swap(step)
        if now >= step.at:
            return
        if now < 0:
            self._lost(item)
        elif step.other >= 0:
            self._exchange(step, now)
        else:
            self._move(item, now, step.at)

    def _move(self, item: Item, now: int, at: int) -> None:
        while True:
            (source, name), (target, new_name) = item.places[now], item.places[at]
            try:
                self._calls.move(self._fd(source), name, self._fd(target), new_name)
            except FileExistsError:
                self._divert(item, at)
            else:
                return

    def _exchange(self, step: Step, now: int) -> None:
        """Bring an item to the place of another, and that one to its."""
        item, other = self._plan.items[step.item], self._plan.items[step.other]
        target = item.places[step.at]
        if self._inode(target) != other.inode or not self._is_unchanged(other, target):
            self._move(item, now, step.at)  # beside it, if it is something else by now
            self._finish_swap(step)
            return
        (folder, name), (source, own_name) = target, item.places[now]
        try:
            self._calls.exchange(self._fd(source), own_name, self._fd(folder), name)
            got = item.places[now]
            if self._inode(got) != other.inode or not self._is_unchanged(other, got):
                self._calls.exchange(self._fd(source), own_name, self._fd(folder), name)
                self._move(item, now, step.at)
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise
            if other.removal is Removal.UNLINK and item.is_new:
                self._calls.replace(self._fd(source), own_name, self._fd(folder), name)
                return
            aside, aside_name = other.places[step.other_at - 1]
            self._calls.move(self._fd(folder), name, self._fd(aside), aside_name)
            self._move(item, now, step.at)
            self._finish_swap(step)

    def _finish_swap(self, step: Step) -> None:
        """Bring what was put aside to where it belongs in a swap of several renamings."""
        other = self._plan.items[step.other]
        if self._inode(other.places[step.other_at - 1]) == other.inode:
            self._move(other, step.other_at - 1, step.other_at)

    def _divert(self, item: Item, at: int) -> None:
        """Have an item get beside a place that has been taken meanwhile."""
        folder, name = item.places[at]
        first = item.end[1] if item.end else name
        place = self._free(folder, first)
        self._amendments.divert(self._plan.items.index(item), at, place)
        if 0 <= item.deed < len(self._plan.deeds):
            host = os.fsdecode(self._folders.path(place))
            deed = self._plan.deeds[item.deed]
            new = deed._replace(outcome=Outcome.CONFLICT, host=host, reason=_MEANWHILE)
            self._amendments.tell(item.deed, new)

    def _lost(self, item: Item) -> None:
        """Tell of something that is nowhere any more."""
        if 0 <= item.deed < len(self._plan.deeds):
            deed = self._plan.deeds[item.deed]
            reason = "was removed or replaced on the host in this moment"
            new = deed._replace(outcome=Outcome.CONFLICT, reason=reason)
            self._amendments.tell(item.deed, new)

    # Removing.

    def _remove(self, item: Item) -> None:
        now = self._locate(item)
        if now < 0:
            return
        folder, name = item.places[now]
        if item.removal is Removal.FOLDER:
            try:
                self._calls.remove_folder(self._fd(folder), name)
            except OSError as error:
                if error.errno not in _NOT_EMPTY:
                    raise
                self._keep(item, now, Outcome.KEPT, "holds what came to the host in this moment")
        elif not self._is_unchanged(item, item.places[now]):
            self._keep(item, now, Outcome.CONFLICT, _CHANGED)
        elif item.removal is Removal.UNLINK:
            self._calls.unlink(self._fd(folder), name)
        elif item.removal is Removal.TRASH:
            self._trash(item, folder, name)

    def _trash(self, item: Item, folder: int, name: bytes) -> None:
        folders, _, last = item.trash.rpartition(b"/")
        above = [b"trash", self._plan.run.encode(), *filter(None, folders.split(b"/"))]
        opened = os.dup(self._fd(item.stage))
        try:
            for each in above:
                with suppress(FileExistsError):
                    self._calls.make_folder(opened, each, 0o700)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(each, flags, dir_fd=opened)
                os.close(opened)
                opened = below
            self._calls.move(self._fd(folder), name, opened, last)
            self._calls.sync_folder(opened)
        finally:
            os.close(opened)

    def _keep(self, item: Item, now: int, outcome: Outcome, reason: str) -> None:
        """Leave something that was to be removed; bring it back beside its place, if it has left
        that.
        """
        place = item.places[now]
        if place != item.places[0]:
            place = self._free(*item.places[0])
            folder, name = item.places[now]
            self._calls.move(self._fd(folder), name, self._fd(place[0]), place[1])
        host = os.fsdecode(self._folders.path(place))
        if 0 <= item.deed < len(self._plan.deeds):
            deed = self._plan.deeds[item.deed]
            new = deed._replace(outcome=outcome, host=host, reason=reason, trash="")
            self._amendments.tell(item.deed, new)
        elif place != item.places[0]:  # else whatever was to replace it is told of
            self._amendments.tell(-1, Deed(outcome, os.path.basename(host), host, reason))

    # The rest.

    def _return_strays(self) -> None:
        """Bring back what has come to a place just before it was exchanged by a process that was
        killed then: it is where the new file was, and beside its place from here on.
        """
        for step in self._plan.steps:
            item = self._plan.items[step.item]
            folder, name = item.places[step.at - 1]
            if step.other < 0 or folder not in self._plan.stages:
                continue
            if self._folders.status((folder, name)) is None or self._locate(item) < step.at:
                continue
            place = self._free(*item.places[step.at])
            self._calls.move(self._fd(folder), name, self._fd(place[0]), place[1])
            host = os.fsdecode(self._folders.path(place))
            deed = Deed(Outcome.CONFLICT, os.path.basename(host), host, _CHANGED)
            self._amendments.tell(-1, deed)

    def _set_attributes(self) -> None:
        for attribute in self._plan.attributes:
            folder, name = attribute.place
            with suppress(FileNotFoundError):
                opened = os.open(name, READ, dir_fd=self._fd(folder))
                try:
                    if os.fstat(opened).st_ino == attribute.inode:
                        metadata.set_read_only(self._calls, opened, attribute.read_only)
                finally:
                    os.close(opened)

    def _sync(self) -> None:
        """Have all directories on the disk that anything was done in."""
        touched = {place[0] for item in self._plan.items for place in item.places}
        for folder in sorted(touched):
            try:
                opened = self._fd(folder)
            except OSError:  # removed
                continue
            self._calls.sync_folder(opened)
            self._folders.trim()

    def _fd(self, folder: int) -> int:
        return self._folders.descriptor(folder)

    def _locate(self, item: Item) -> int:
        """Return which of its places something is at; -1 for none."""
        for at in range(len(item.places) - 1, -1, -1):
            if self._inode(item.places[at], item) == item.inode:
                return at
        return -1

    def _inode(self, place: Place, item: Item | None = None) -> int:
        """Return the inode of what is at a place, 0 for nothing (or nothing of the same type)."""
        try:
            found = self._folders.status(place)
        except OSError:
            return 0
        if found is None or (item and is_directory(found) != item.is_directory):
            return 0
        if item and item.is_alias:  # also found by its other name
            names = os.listdir(self._folders.descriptor(place[0]))
            if place[1] not in map(os.fsencode, names):
                return 0
        return found.st_ino

    def _is_unchanged(self, item: Item, place: Place) -> bool:
        """Return whether something that is to go is as it was when that was decided."""
        found = self._folders.status(place)
        if found is None or item.size < 0 or item.is_directory:
            return found is not None
        return (found.st_size, found.st_mtime_ns) == (item.size, item.mtime_ns)

    def _free(self, folder: int, name: bytes) -> Place:
        number = 1
        while self._folders.status((folder, beside(name, number))) is not None:
            number += 1
        return (folder, beside(name, number))
