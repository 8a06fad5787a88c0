"""The scan: lists directories by descriptors, level by level, into a tree. No file is opened.

Names are sorted by their bytes, whatever the locale makes of them as text, unless another order is
asked for.

A directory of the tree is made of any number of directories on the host, merged: of two files of
one name the later source's is taken. Most are made of one, and for those there is a short way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from ..forks import split
from ..tree.builder import TreeBuilder
from ..tree.columns import Tree
from .decision import unreadable
from .followed import Followed
from .homes import Homes, Place
from .listing import Lister
from .merging import Graft, Made, Merged, Part, place_graft, place_made, taken
from .options import ScanOptions, Symlinks, may_read, of_utf8
from .refusals import Refusals
from .sharing import Sharing

__all__ = ["ScanOptions", "Symlinks", "may_read", "scan"]

_TYPE_MASK = 0o170000
# At least, or a fork is not worth it.
_DIRECTORIES_A_PROCESS = 32
_ENTRIES_A_PROCESS = 4096


def scan(
    directories: str | Sequence[str],
    options: ScanOptions | None = None,
    grafts: Iterable[Graft] = (),
    made: Iterable[Made] = (),
) -> Tree:
    """Scan directories, all levels down, merged into one tree, in which some files are only made.

    Raise ScanError when one can't be read or holds what may not be read.
    """
    sources = [directories] if isinstance(directories, str) else list(directories)
    return _Scan(options or ScanOptions()).run(sources, grafts, made)


class _Scan:
    """One scan under way: fills the columns of `tree`."""

    def __init__(self, options: ScanOptions) -> None:
        self._tree = Tree()
        self._options = options
        self._builder = TreeBuilder(self._tree, owners=options.owners)
        self._homes = Homes(self._tree, options.named)
        self._parts: dict[int, Part] = {}  # by ordinal, of the directories still to be scanned
        self._refusals = Refusals([], [], [])
        self._followed = Followed(self._tree, self._homes)
        self._lister = Lister(self._tree, options, self._homes, self._followed, self._refusals)
        self._sharing = Sharing(
            options.processes,
            self._tree,
            self._builder,
            self._parts,
            self._refusals,
            self._followed,
        )
        self._fold = of_utf8(options.fold)

    def run(self, sources: Sequence[str], grafts: Iterable[Graft], made: Iterable[Made]) -> Tree:
        tree = self._tree
        root = Part()
        try:
            for source in sources:
                root.homes.append(self._homes.directory(source))
            for graft in grafts:
                place_graft(root, graft, self._homes, self._fold)
            for each in made:
                place_made(root, each, self._fold)
            self._add_directory(0, root)
            self._tree.origins.merged_homes[0] = tuple(root.homes)
            status = self._homes.status(root.homes[0]) if root.homes else None
            self._builder.append([""], [Place(status, 0, b"").known_status], [0])
            self._builder.flush()
            first = 0
            while first < len(tree.directories):  # level by level
                level = range(first, len(tree.directories))
                self._scan_level(level)
                first = level.stop
        finally:
            self._homes.close()
        self._refusals.complain()
        return tree

    def _scan_level(self, level: range) -> None:
        """Scan directories of one level, in several processes where there are many."""
        grafts = any(self._parts[ordinal].grafts for ordinal in level)
        if self._options.symlinks.startswith("follow"):
            for ordinal in level:
                if len(homes := self._parts[ordinal].homes) > 1:
                    self._followed.note_merged(ordinal, homes)
        count = 1 if grafts else self._sharing.process_count(len(level), _DIRECTORIES_A_PROCESS)
        if count == 1:
            self._scan_all(level)
        else:
            self._sharing.share_out([partial(self._scan_all, each) for each in split(level, count)])

    def _scan_all(self, ordinals: range) -> None:
        for ordinal in ordinals:
            self._tree.first_children.append(len(self._builder))
            self._scan_directory(ordinal)
        self._builder.flush()

    def _scan_directory(self, ordinal: int) -> None:
        part = self._parts.pop(ordinal)
        if len(part.homes) != 1 or part.grafts:
            self._scan_merged(ordinal, part)
            return
        home = part.homes[0]
        try:
            descriptor, found = self._lister.entries(home, part.link)
            if key := self._key_in(ordinal):
                found.sort(
                    key=lambda each: key(os.fsencode(each.name), each.is_dir(follow_symlinks=False))
                )
            count = self._sharing.process_count(len(found), _ENTRIES_A_PROCESS)
            if count == 1:
                self._take(ordinal, part, descriptor, found)
            else:
                take = partial(self._take, ordinal, part, descriptor)
                shares = split(range(len(found)), count)
                self._sharing.share_out(
                    [partial(take, found[each.start : each.stop]) for each in shares]
                )
        except OSError as error:
            self._lister.note_failure(ordinal, home, error)

    def _take(
        self, ordinal: int, part: Part, descriptor: int, found: list[os.DirEntry[str]]
    ) -> None:
        """Add what belongs into the tree of what was found in a directory of the host."""
        first, home = len(self._builder), part.homes[0]
        names, statuses, places = self._lister.sort_out(ordinal, home, descriptor, found)
        if not names:
            return
        homes = [home] * len(names)
        for at, name in enumerate(names if places else ()):
            if place := places.get(name):
                homes[at] = place.home
                place.note(self._tree, first + at, name)
        self._builder.append(names, statuses, homes)
        modes = [status.st_mode for status in statuses]
        if not any(map(stat.S_ISDIR, set(modes))):
            return
        for at, mode in enumerate(modes):
            if mode & _TYPE_MASK == stat.S_IFDIR:
                name = names[at]
                place = places.get(name) or Place(statuses[at], home, os.fsencode(name))
                link = self._lister.path(ordinal, name) if name in places else part.link
                self._add_directory(first + at, Part([self._homes.child(place)], link=link))

    def _scan_merged(self, ordinal: int, part: Part) -> None:
        """Scan a directory that is made of several sources or grafts: the long way."""
        merged = Merged(self._fold)
        for home in part.homes:
            listing = self._lister.listing(ordinal, home, part.link)
            names = merged.names_of(listing.names)
            for own_name, name, status in zip(listing.names, names, listing.statuses, strict=True):
                host_name = os.fsencode(own_name)
                place = listing.places.get(own_name) or Place(status, home, host_name)
                link = self._lister.path(ordinal, name) if own_name in listing.places else part.link
                own = Part([self._homes.child(place)], link=link) if place.is_directory else None
                self._merge(ordinal, merged, name, place, own)
        grafts = list(part.grafts.values())
        names = merged.names_of([graft.name for graft in grafts])
        for name, graft in zip(names, grafts, strict=True):
            if graft.made and name in merged.places and not _fits(graft, name in merged.parts):
                raise taken(graft.made)
            if graft.file and not graft.made and not self._homes.may_read(graft.file):
                self._lister.note(self._lister.path(ordinal, name), unreadable(self._options))
            elif graft.file:
                self._merge(ordinal, merged, name, graft.file, None, is_made=bool(graft.made))
            else:
                own_status = self._homes.status(graft.homes[-1]) if graft.homes else None
                place = Place(own_status, 0, os.fsencode(name))
                self._merge(ordinal, merged, name, place, graft)
        if not merged.places:
            return
        names = sorted(merged.places, key=os.fsencode)
        if key := self._key_in(ordinal):
            names.sort(key=lambda name: key(os.fsencode(name), name in merged.parts))
        for node, name in enumerate(names, len(self._builder)):
            if name in merged.parts:
                self._add_directory(node, merged.parts[name])
                self._tree.origins.merged_homes[node] = tuple(merged.parts[name].homes)
            else:
                merged.places[name].note(self._tree, node, name)
        places = [merged.places[name] for name in names]
        self._builder.append(
            names, [place.known_status for place in places], [place.home for place in places]
        )

    def _key_in(self, ordinal: int) -> Callable[[bytes, bool], Any] | None:
        """Return what gives a directory's names their keys, where not their bytes are it."""
        if self._options.order is None:
            return None
        return self._options.order(self._tree.path(self._tree.directories[ordinal]))

    def _merge(
        self,
        ordinal: int,
        merged: Merged,
        name: str,
        place: Place,
        part: Part | None,
        *,
        is_made: bool = False,
    ) -> None:
        replaces = merged.add(name, place, part)
        if replaces and self._options.strict and not is_made:
            self._refusals.twice.append(self._lister.path(ordinal, name))

    def _add_directory(self, node: int, part: Part) -> None:
        self._parts[len(self._tree.directories)] = part
        self._tree.directories.append(node)


def _fits(graft: Part, is_directory: bool) -> bool:
    """Return whether what is made, here or below, may go where something is already."""
    assert graft.made
    if graft.file:
        return not graft.made.why and not is_directory
    return is_directory
