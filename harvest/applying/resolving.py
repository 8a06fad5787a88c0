"""Directories of the disk as the guest left it, on the host: which ones they are, or will be."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from ..changes import Change, Kind
from .folders import Folders, Place, is_directory
from .naming import STATE, beside
from .places import HostHome, Places
from .plan import Item, NewFolder, Plan


class NowhereError(Exception):
    """The disk is made of no directory that could take what is new."""


Fits = Callable[[Place, os.stat_result], bool]


@dataclass
class Directory:
    """A directory of the disk."""

    number: int | None
    """On the disk that was served; None: it is new."""
    served: tuple[str, ...] | None
    """Its path there."""
    folders: list[int] = field(default_factory=list)
    """The host's directories that it is made of, by number; the last one takes what is new."""


class Resolver:
    """The directories of the disk, and the names in them that are taken so far."""

    def __init__(
        self, plan: Plan, folders: Folders, places: Places, by_path: dict[tuple[str, ...], Change]
    ) -> None:
        self.folders = folders
        self.vacated: dict[Place, int] = {}
        """Items that leave their places, by place."""
        self._plan = plan
        self._places = places
        self._by_path = by_path
        self._moved = {
            change.number: change
            for change in by_path.values()
            if change.is_directory and change.kind in {Kind.RENAMED, Kind.MOVED}
        }
        self._moved_from = {change.old_path: change.path for change in self._moved.values()}
        self._homes: dict[int, int] = {}
        self._moved_homes: dict[int, Change] = {}
        for change in self._moved.values():
            for home in places.own_sources(change.number):
                self._moved_homes[home] = change
        self._sought: set[int] = set()
        self._identities: dict[tuple[str, ...], tuple[int | None, tuple[str, ...] | None]] = {}
        self._directories: dict[tuple[str, ...], Directory] = {}
        self._stages: dict[int, int] = {}  # by the topmost directory on a mount
        self._new_stages: dict[int, int] = {}  # of directories to be made
        self._claimed: set[Place] = set()

    def home(self, home: int) -> int:
        """Return the directory that a home is, wherever it is by now. Raise OSError."""
        if home not in self._homes:
            found = self._places.home(home)
            if found.parent < 0:
                number = self.folders.add_root(self._places.descriptor(home))
            elif found.name == b".":
                number = self.home(found.parent)
            else:
                try:
                    number = self.folders.add(self.home(found.parent), found.name, found.inode)
                except OSError:
                    number = self._moved_home(home, found)
            self._homes[home] = number
        return self._homes[home]

    def directory(self, path: tuple[str, ...]) -> Directory:
        """Return the directory at a path."""
        if path not in self._directories:
            self._directories[path] = self._directory(path)
        return self._directories[path]

    def successor(self, served: tuple[str, ...]) -> Change | None:
        """Return the change by which something else is at a place on the disk now, wherever its
        directory is by now.
        """
        above = served[:-1]
        for end in range(len(above), 0, -1):
            moved = self._moved_from.get(above[:end])
            if moved is not None:
                above = moved + above[end:]
                break
        return self._by_path.get((*above, served[-1]))

    def folder(self, path: tuple[str, ...]) -> int:
        """Return the directory of the host that takes what is new at a path; it is made if there
        is none. Raise OSError, and NowhereError where nothing can be made.
        """
        directory = self.directory(path)
        if not directory.folders:
            if not path:
                raise NowhereError
            name = path[-1].encode()
            if directory.number is not None and path == directory.served:
                name = self._places.place(directory.number).name
            directory.folders.append(self.make(self.folder(path[:-1]), name)[0])
        return directory.folders[-1]

    def make(self, parent: int, name: bytes) -> tuple[int, int, bool]:
        """Return a directory to be made, or one that is there and is none of the disk's; how many
        names before its own were taken; and whether it has to be made.
        """
        place, taken, is_there = self.claim(parent, name, lambda _place, found: is_directory(found))
        if is_there:
            return self.folders.add(*place), taken, False
        item = self.new_item(parent, place)
        item.folder = self.folders.add_new(item.places[0], self.folders.all[parent].mount)
        self.folders.all[item.folder].places = item.places
        self._new_stages[item.folder] = item.stage
        self._plan.new.append(NewFolder(len(self._plan.items) - 1, parent))
        return item.folder, taken, True

    def new_item(self, parent: int, end: Place) -> Item:
        """Return an item, added to the plan, that is to be made for a directory."""
        stage = self.stage(parent)
        name = f"{self._plan.run}-new-{len(self._plan.items)}".encode()
        item = Item([(stage, name)], end, stage, is_new=True)
        self._plan.items.append(item)
        return item

    def stage(self, folder: int) -> int:
        """Return the state directory on the same mount. It is in the topmost directory there."""
        if folder in self._new_stages:
            return self._new_stages[folder]
        every = self.folders.all
        parent = every[folder].places[0][0]
        while parent >= 0 and every[parent].mount == every[folder].mount:
            folder, parent = parent, every[parent].places[0][0]
        if folder not in self._stages:
            number = self.folders.add_new((folder, STATE), every[folder].mount)
            self._stages[folder] = number
            self._plan.stages.append(number)
        return self._stages[folder]

    def leave(self, number: int) -> None:
        """Note that an item leaves its place."""
        self.vacated[self._plan.items[number].places[0]] = number

    def claim(
        self, folder: int, name: bytes, fits: Fits, *, own: int = -1, first: int = 0
    ) -> tuple[Place, int, bool]:
        """Return the place with a name in a directory that nothing else will have, or one beside
        it; how many were taken before it; and whether what fits is there already.

        `own` is the item that is to get there. Raise OSError.
        """
        taken = first
        while True:
            place = (folder, beside(name, taken))
            if place not in self._claimed:
                found = self.folders.status(place)
                if found is None or place in self.vacated:
                    break
                if own >= 0 and self._is_alias(own, place, found):
                    self._plan.items[own].is_alias = True
                    break
                if fits(place, found):
                    self._claimed.add(place)
                    return place, taken, True
            taken += 1
        self._claimed.add(place)
        return place, taken, False

    def _is_alias(self, own: int, place: Place, found: os.stat_result) -> bool:
        """Return whether a name that is there is an item's own, to a file system that folds."""
        item = self._plan.items[own]
        is_same = found.st_ino == item.inode and item.places[0][0] == place[0]
        return is_same and (item.is_directory or found.st_nlink == 1)

    def _directory(self, path: tuple[str, ...]) -> Directory:
        number, served = self._identified(path)
        return Directory(number, served, [] if number is None else self._made_of(number))

    def _identified(self, path: tuple[str, ...]) -> tuple[int | None, tuple[str, ...] | None]:
        """Return the node that a directory was on the disk, and its path there; None if it is
        new.
        """
        if not path:
            return 0, path
        if path not in self._identities:
            change = self._by_path.get(path)
            number, served = None, None
            if change and change.number in self._moved:
                number, served = change.number, change.old_path
            elif not (change and change.is_directory and change.kind is Kind.CREATED):
                above = self._identified(path[:-1])[1]
                if above is not None:
                    served = (*above, path[-1])
                    number = self._places.number(served)
            self._identities[path] = (number, None if number is None else served)
        return self._identities[path]

    def _made_of(self, number: int) -> list[int]:
        """Return those directories of the host that a node is made of that are still there."""
        found = []
        for home in self._places.sources(number):
            with suppress(OSError):
                found.append(self.home(home))
        return found

    def _moved_home(self, home: int, found: HostHome) -> int:
        """Return the directory that changes which were applied before have moved. Raise OSError."""
        change = self._moved_homes.get(home)
        if change is None or home in self._sought:
            raise FileNotFoundError
        self._sought.add(home)
        try:
            is_renamed = change.kind is Kind.RENAMED
            parents = [self.home(found.parent)] if is_renamed else self._there(change.path[:-1])
            for parent in parents:
                with suppress(OSError):
                    return self.folders.add(parent, change.path[-1].encode(), found.inode)
        finally:
            self._sought.remove(home)
        raise FileNotFoundError

    def _there(self, path: tuple[str, ...]) -> list[int]:
        """Return the directories of the host that are at a path of the guest by now."""
        change = self._by_path.get(path)
        if not path or change is None or not change.is_directory:
            number, _ = self._identified(path)
            return [] if number is None else self._made_of(number)
        found = []
        for parent in self._there(path[:-1]):
            with suppress(OSError):
                found.append(self.folders.add(parent, path[-1].encode()))
        return found
