"""Arrivals at places on the host: renamed, moved, or written, there or beside what is there."""

from __future__ import annotations

import errno
import os

from ..changes import Change, Kind
from .folders import Place, is_directory, is_file
from .outcome import Outcome
from .plan import Attribute, Content, Item, Removal
from .resolving import NowhereError
from .sheet import TAKEN, Fate, Sheet

_GONE = "was removed on the host since the disk was served"


class Again(Exception):  # noqa: N818  no error
    """The plan has to be made again, with a directory kept in its place."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Arriving:
    """Decides on one change after the other, once it is known what leaves."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self._folders = sheet.folders
        self._places = sheet.places
        self._plan = sheet.plan
        self._resolver = sheet.resolver

    def arrive(self, change: Change) -> None:
        """Decide on a change that isn't a removal. Raise OSError and Again."""
        try:
            self._arrive(change)
        except NowhereError:
            if change.number in self._sheet.movers:
                raise Again(change.number) from None
            reason = "the disk was made of no directory that could take it"
            self._sheet.tell(Outcome.REFUSED, change, reason=reason)

    def _arrive(self, change: Change) -> None:
        is_kept = change.number in self._sheet.kept
        if change.kind is Kind.CREATED and change.is_directory:
            self._create_directory(change)
        elif change.kind is Kind.CREATED:
            folder = self._resolver.folder(change.path[:-1])
            self._write(change, (folder, change.path[-1].encode()))
        elif change.kind is Kind.CHANGED or (is_kept and change.rewritten):
            if not change.is_directory:
                self._change(change)
        elif change.number in self._sheet.movers:
            for item in self._sheet.movers[change.number]:
                self._move(change, item)
        elif not is_kept and change.number not in self._sheet.moved:
            self._arrive_otherwise(change)

    def _create_directory(self, change: Change) -> None:
        directory = self._resolver.directory(change.path)
        if directory.folders:
            return
        parent = self._resolver.folder(change.path[:-1])
        folder, taken, is_new = self._resolver.make(parent, change.path[-1].encode())
        directory.folders.append(folder)
        if not is_new:
            return
        item = self._plan.items[-1]
        assert item.end is not None
        item.deed = self._sheet.arrived(change, item.end, taken)

    def _move(self, change: Change, number: int) -> None:
        item = self._plan.items[number]
        folder = self._target(change, item)
        name = change.path[-1].encode()
        mounts = {self._folders.all[each].mount for each in (folder, item.places[0][0])}
        if len(mounts) > 1 and item.is_directory:
            raise Again(change.number)
        place, taken, _ = self._resolver.claim(folder, name, lambda *_: False, own=number)
        if len(mounts) == 1:
            item.end = place
        else:
            old = item.places[0]
            status = self._folders.status(old)
            if status is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old[1])
            item.size, item.mtime_ns = status.st_size, status.st_mtime_ns
            item.removal = Removal.UNLINK
            item = self._resolver.new_item(folder, place)
            self._plan.new.append(
                Content(len(self._plan.items) - 1, change, folder, old, is_copy=True)
            )
        item.deed = self._sheet.arrived(change, place, taken)
        if change.read_only is not None and not change.is_directory and not item.is_new:
            self._plan.attributes.append(Attribute(place, item.inode, change.read_only))

    def _target(self, change: Change, item: Item) -> int:
        """Return the directory of the host that something moves to: beneath its own root, if the
        new directory is there.
        """
        folder = self._resolver.folder(change.path[:-1])
        if item.places[0][0] in self._resolver.directory(change.path[:-1]).folders:
            return item.places[0][0]
        root = self._root(item.places[0][0])
        for each in reversed(self._resolver.directory(change.path[:-1]).folders):
            if self._root(each) == root:
                return each
        return folder

    def _root(self, folder: int) -> int:
        every = self._folders.all
        while (parent := every[folder].places[0][0]) >= 0:
            folder = parent
        return folder

    def _arrive_otherwise(self, change: Change) -> None:
        """Bring what can't be renamed: it was written anew, or the host has changed as well."""
        old = None if change.is_directory else self._sheet.old(change.number)
        name = change.path[-1].encode()
        if change.rewritten and old:
            folder = self._resolver.folder(change.path[:-1])
            like = old.place if is_file(old.status) else None
            if old.fate is Fate.SAME:
                self._write(change, (folder, name), like)
            elif self._write(change, (folder, name), like):
                reason = _GONE if old.fate is Fate.MISSING else "was changed on the host as well"
                self._sheet.tell(Outcome.CONFLICT, change, (folder, name), reason)
            return
        if not self._was_moved(change):
            if old is None or old.fate is Fate.MISSING:
                self._sheet.tell(Outcome.CONFLICT, change, reason=_GONE)
            else:
                reason = "was replaced on the host, and keeps its name there"
                self._sheet.tell(Outcome.CONFLICT, change, old.place, reason)

    def _was_moved(self, change: Change) -> bool:
        """Return whether something is already where the guest moved it."""
        for folder in self._resolver.directory(change.path[:-1]).folders:
            found = self._folders.status((folder, change.path[-1].encode()))
            if found is None:
                continue
            if change.is_directory:
                return is_directory(found)
            scanned = self._places.place(change.number).scanned
            if (
                scanned
                and found.st_size == scanned.size
                and (found.st_ino == scanned.inode or found.st_mtime_ns == scanned.mtime_ns)
            ):
                return True
        return False

    def _change(self, change: Change) -> None:
        """Bring the content of a file that has kept its place, or keeps it on the host."""
        old = self._sheet.old(change.number)
        if old.place is None or old.fate is Fate.MISSING:
            folder = self._resolver.folder(change.path[:-1])
            place = (folder, self._places.place(change.number).name)
            if self._write(change, place):
                self._sheet.tell(Outcome.CONFLICT, change, place, _GONE)
        elif is_file(old.status) and old.status and self._sheet.has(change, old.place, old.status):
            if change.read_only is not None:
                self._set_read_only(change, old.place, old.status)
        elif old.fate is Fate.SAME and old.status:
            self._sheet.give_up(old.place, old.status)
            self._write(change, old.place, old.place)
            if old.status.st_nlink > 1:
                reason = f"had {old.status.st_nlink} hard links; the others keep the old content"
                self._sheet.tell(Outcome.NOTE, change, old.place, reason)
        else:
            like = old.place if is_file(old.status) else None
            self._write(change, old.place, like, first=1, reason="was changed on the host as well")

    def _write(
        self,
        change: Change,
        target: Place,
        like: Place | None = None,
        *,
        first: int = 0,
        reason: str = TAKEN,
    ) -> bool:
        """Have a file written at a place, or beside what is there. Return whether anything is."""
        folder, name = target
        place, taken, is_there = self._resolver.claim(
            folder, name, lambda at, found: self._sheet.has(change, at, found), first=first
        )
        if is_there:
            if taken:
                self._sheet.arrived(change, place, taken, reason)
            return False
        if like is None and taken and is_file(self._folders.status(target)):
            like = target
        item = self._resolver.new_item(folder, place)
        self._plan.new.append(Content(len(self._plan.items) - 1, change, folder, like))
        item.deed = self._sheet.arrived(change, place, taken, reason)
        return True

    def _set_read_only(self, change: Change, place: Place, status: os.stat_result) -> None:
        is_read_only = not status.st_mode & 0o222
        if change.read_only is not None and is_read_only != change.read_only:
            self._plan.attributes.append(Attribute(place, status.st_ino, change.read_only))
            self._sheet.tell(
                Outcome.CHANGED, change, place, "is read-only" if change.read_only else ""
            )
