"""Listing: what a directory of the host holds, less what the tree can't or shouldn't hold."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from ...errors import ScanError
from ..tree.columns import Skipped, Tree, printable
from .decision import STATE, Action, Decision, decide, unreadable, without_status
from .followed import Followed
from .homes import Homes, Place
from .options import ScanOptions, is_plain
from .refusals import CLOSED, GONE, Refusals


class Listing(NamedTuple):
    """The entries that are taken of one directory of the host, in the order of their names."""

    names: list[str]
    statuses: list[os.stat_result]
    places: dict[str, Place]
    """Of followed links, where they led to; of links and special files that are kept, their own.
    All others are in the directory itself."""


class Lister:
    """Lists directories of the host for those of a tree, which are told by their ordinals."""

    def __init__(
        self,
        tree: Tree,
        options: ScanOptions,
        homes: Homes,
        followed: Followed,
        refusals: Refusals,
    ) -> None:
        self.tree = tree
        self.options = options
        self.homes = homes
        self.followed = followed
        self._refusals = refusals

    def listing(self, ordinal: int, home: int, link: bytes | None) -> Listing:
        """Return what is taken of a home; nothing of one that may be left out, which is noted.

        Raise ScanError.
        """
        try:
            return self.sort_out(ordinal, home, *self.entries(home, link))
        except OSError as error:
            self.note_failure(ordinal, home, error)
            return Listing([], [], {})

    def entries(self, home: int, link: bytes | None) -> tuple[int, list[os.DirEntry[str]]]:
        """Return a home's descriptor and all that it holds, in order of the names' bytes.

        `link` is the path of the followed link that led there. Raise OSError, and ScanError when
        links have led there too often.
        """
        descriptor, found = self.homes.entries(home)
        if link is not None:
            self.followed.visit(link, descriptor, len(found))
        return descriptor, found

    def sort_out(
        self, ordinal: int, home: int, descriptor: int, found: list[os.DirEntry[str]]
    ) -> Listing:
        """Return what is taken of a home's entries; what isn't is noted."""
        if not self.options.goes_by_name_or_size:
            with suppress(OSError):
                statuses = [entry.stat(follow_symlinks=False) for entry in found]
                names = [entry.name for entry in found]
                are_plain = all(map(is_plain, {status.st_mode for status in statuses}))
                leaves_out = STATE in names or self.options.leaves_out_one_of(statuses)
                if are_plain and not leaves_out:
                    return Listing(names, statuses, {})
        return self._decide_each(ordinal, home, descriptor, found)

    def note_failure(self, ordinal: int, home: int, error: OSError) -> None:
        """Note that a home can't be listed. Raise ScanError unless it may be left out."""
        path_in_tree = self.tree.path(self.tree.directories[ordinal])
        if ordinal and error.errno in CLOSED:
            self.note(path_in_tree, unreadable(self.options))
        elif ordinal and error.errno in GONE:
            self.tree.skipped.append(Skipped(path_in_tree, "vanished during the scan"))
        else:
            path = printable(self.tree.origins.home_path(home))
            raise ScanError(f"{path}: can't be scanned: {error.strerror or error}") from error

    def note(self, path: bytes, decision: Decision) -> None:
        """Note what is skipped or refused, by its path in the tree."""
        if decision.action is Action.SKIP:
            self.tree.skipped.append(Skipped(path, decision.reason))
        elif decision.action is Action.REFUSE_LINK:
            self._refusals.links.append(path)
        elif decision.action is Action.REFUSE_UNREADABLE:
            self._refusals.unreadable.append(path)

    def path(self, ordinal: int, name: str) -> bytes:
        """Return the path in the tree of what has a name in a directory."""
        parent = self.tree.path(self.tree.directories[ordinal])
        return os.path.join(parent, os.fsencode(name))

    def _decide_each(
        self, ordinal: int, home: int, descriptor: int, found: list[os.DirEntry[str]]
    ) -> Listing:
        names: list[str] = []
        statuses: list[os.stat_result] = []
        places: dict[str, Place] = {}
        folder = _Folder(self, ordinal, home, descriptor)
        for entry in found:
            name = entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since the directory was listed: never part of the tree
            except OSError:
                self.note(self.path(ordinal, name), without_status(name, self.options, folder))
                continue
            decision = decide(name, status, self.options, folder)
            if decision.place is not None:
                places[name] = decision.place
                status = decision.place.known_status
            elif decision.action is not Action.TAKE:
                self.note(self.path(ordinal, name), decision)
                continue
            names.append(name)
            statuses.append(status)
        return Listing(names, statuses, places)


class _Folder:
    """An open directory that a decision asks; see `decision.Folder`."""

    def __init__(self, lister: Lister, ordinal: int, home: int, descriptor: int) -> None:
        self._lister = lister
        self._ordinal = ordinal
        self._home = home
        self._descriptor = descriptor
        self._parent = lister.path(ordinal, "")  # with a slash behind it, but for the root

    def path(self, name: str) -> str:
        return (self._parent + os.fsencode(name)).decode("utf-8", "surrogateescape")

    def kept(self, name: str, status: os.stat_result) -> Place | None:
        place = Place(status, self._home, os.fsencode(name))
        if not place.is_link:
            return place
        try:
            target = os.readlink(name, dir_fd=self._descriptor)
        except OSError:
            return None  # gone, or something else by now
        return place._replace(target=os.fsencode(target))

    def followed(self, name: str) -> Place | str:
        lister = self._lister
        anywhere = lister.options.symlinks == "follow-all"
        found = lister.homes.follow(self._home, os.fsencode(name), anywhere)
        if isinstance(found, Place) and lister.followed.is_above(self._ordinal, found):
            return "symbolic link in a circle"
        return found

    def may_read(self, name: str, mode: int) -> bool:
        return self._lister.options.may_read(name, self._descriptor, mode)

    def may_read_place(self, place: Place) -> bool:
        return self._lister.homes.may_read(place)
