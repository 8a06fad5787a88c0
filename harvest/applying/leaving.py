"""Departures from places on the host: what was renamed, moved or removed, if it still is there."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..changes import Change
from .folders import Place
from .outcome import Outcome
from .plan import Removal
from .sheet import NAMED, Fate, Sheet


class Leaving:
    """Decides on one change after the other."""

    def __init__(self, sheet: Sheet, *, trash: bool) -> None:
        self._sheet = sheet
        self._folders = sheet.folders
        self._places = sheet.places
        self._plan = sheet.plan
        self._resolver = sheet.resolver
        self._trash = trash

    def leave(self, change: Change) -> None:
        if change.number in self._sheet.kept:
            self._sheet.tell(Outcome.KEPT, change, reason=self._sheet.kept[change.number])
        elif change.is_directory:
            self._leave_as_directory(change)
        elif not self._places.place(change.number).is_own:
            self._sheet.kept[change.number] = NAMED
            self._sheet.tell(Outcome.KEPT, change, reason=NAMED)
        else:
            old = self._sheet.old(change.number)
            is_there = old.fate is Fate.SAME or (old.fate is Fate.EDITED and not change.rewritten)
            if is_there and old.place and old.status:
                if change.rewritten and not self._sheet.has(change, old.place, old.status):
                    self._sheet.give_up(old.place, old.status)
                else:
                    item = self._sheet.item(old.place, old.status)
                    self._sheet.movers[change.number] = [item]
                    self._sheet.numbers[item] = change.number

    def _own(self, change: Change) -> Iterator[tuple[int, int]]:
        """Yield home and folder of a directory's own sources; tell if it has none."""
        own = self._places.own_sources(change.number)
        if not own:
            self._sheet.tell(Outcome.KEPT, change, reason=NAMED)
        for home in own:
            try:
                folder = self._resolver.home(home)
            except OSError:
                continue
            yield home, folder

    def _leave_as_directory(self, change: Change) -> None:
        for home, folder in self._own(change):
            each = self._folders.all[folder]
            parent = each.places[0][0]
            if self._was_moved(home, each.places[0]):
                self._sheet.moved.add(change.number)  # by changes that were applied before
                continue
            if self._folders.all[parent].mount != each.mount:
                self._sheet.kept[change.number] = "another file system is mounted there"
                self._sheet.tell(Outcome.KEPT, change, reason=self._sheet.kept[change.number])
                continue
            status = self._folders.status(each.places[0])
            if status is None or status.st_ino != each.inode:  # gone in this moment
                continue
            number = self._sheet.item(each.places[0], status)
            item = self._plan.items[number]
            item.folder, item.places = folder, each.places
            self._sheet.movers.setdefault(change.number, []).append(number)
            self._sheet.numbers[number] = change.number

    def _was_moved(self, home: int, place: Place) -> bool:
        """Return whether a directory is elsewhere than where the scan found it."""
        found = self._places.home(home)
        try:
            return place != (self._resolver.home(found.parent), found.name)
        except OSError:  # that it was in is gone
            return True

    def remove(self, change: Change) -> None:
        if change.is_directory:
            self._remove_directory(change)
            return
        if not self._places.place(change.number).is_own:
            self._sheet.tell(Outcome.KEPT, change, reason=NAMED)
            return
        old = self._sheet.old(change.number)
        if old.status and self._is_there_for(self._resolver.successor(change.path), old.status):
            return
        if old.fate is Fate.SAME and old.place and old.status:
            item = self._plan.items[self._sheet.item(old.place, old.status)]
            item.size, item.mtime_ns = old.status.st_size, old.status.st_mtime_ns
            item.removal = Removal.TRASH if self._trash else Removal.UNLINK
            item.deed = self._sheet.tell(Outcome.REMOVED, change, old.place)
            item.trash = self._sheet.below_mount(old.place)
        elif old.fate is not Fate.MISSING and not self._resolver.successor(change.path):
            reason = "was changed on the host since the disk was served, and is not removed"
            self._sheet.tell(Outcome.CONFLICT, change, old.place, reason)

    def _is_there_for(self, other: Change | None, status: os.stat_result) -> bool:
        """Return whether a file is one that changes which were applied before have moved there,
        another name of the one that was removed.
        """
        if other is None or not other.number or other.is_directory or not other.old_path:
            return False
        scanned = self._places.place(other.number).scanned
        was_moved = other.number not in self._sheet.movers
        return was_moved and scanned is not None and scanned.inode == status.st_ino

    def _remove_directory(self, change: Change) -> None:
        for _, folder in self._own(change):
            each = self._folders.all[folder]
            place = each.places[0]
            with os.scandir(self._folders.descriptor(folder)) as entries:
                held = [
                    name
                    for name in map(os.fsencode, (entry.name for entry in entries))
                    if (folder, name) not in self._resolver.vacated
                ]
            status = self._folders.status(place)
            if status is None or status.st_ino != each.inode:  # gone in this moment
                continue
            if held or place[0] < 0:
                reason = NAMED
                if held:
                    reason = f"holds what the disk did not have, {os.fsdecode(held[0])!a}"
                self._sheet.tell(Outcome.KEPT, change, place, reason)
                continue
            item = self._plan.items[self._sheet.item(place, status)]
            item.folder, item.places, item.removal = folder, each.places, Removal.FOLDER
            item.deed = self._sheet.tell(Outcome.REMOVED, change, place)
