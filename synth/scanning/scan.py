"""The scan: lists directories by descriptors, level by level, into a tree. No file is opened.

Names are sorted by their bytes, whatever the locale makes of them as text.

A directory of the tree is made of any number of directories on the host, merged: of two files of
one name the later source's is taken. Most are made of one, and for those there is a short way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from ...errors import ScanError
from ..forks import may_fork, share_out, split
from ..tree.builder import Rows
from ..tree.columns import Skipped, Tree, home_path, printable
from .followed import Followed, Visit
from .homes import Homes, Place
from .merging import Graft, Merged, Part, place_graft
from .options import ScanOptions, Symlinks, is_plain, may_read, of_utf8, what_it_is
from .refusals import CLOSED, GONE, Refused

__all__ = ["ScanOptions", "Symlinks", "may_read", "scan"]

_TYPE_MASK = 0o170000
# At least, or a fork is not worth it.
_DIRECTORIES_A_PROCESS = 32
_ENTRIES_A_PROCESS = 4096


class _Share(NamedTuple):
    """What one of several processes found."""

    added: dict[str, Any]
    parts: dict[int, tuple[list[int], bytes | None]]
    """The homes of directories, and the link that led there, by ordinal from the share's first."""
    refused: Refused
    visits: list[Visit]


class _Listing(NamedTuple):
    """What is kept of one directory of the host, in the order of the names."""

    names: list[str]
    statuses: list[os.stat_result]
    elsewhere: dict[str, Place]
    """What followed links led to."""


def scan(
    directories: str | Sequence[str],
    options: ScanOptions | None = None,
    grafts: Iterable[Graft] = (),
) -> Tree:
    """Scans directories, all levels down, merged into one tree.

    Raises ScanError when one can't be read or holds what may not be read.
    """
    sources = [directories] if isinstance(directories, str) else list(directories)
    return _Scan(options or ScanOptions()).run(sources, grafts)


class _Scan:
    """One scan under way: fills the columns of `tree`."""

    def __init__(self, options: ScanOptions) -> None:
        self._tree = Tree()
        self._options = options
        self._processes = options.processes
        self._rows = Rows(self._tree, owners=options.owners)
        self._homes = Homes(self._tree, options.named)
        self._parts: dict[int, Part] = {}  # by ordinal, of the directories still to be scanned
        self._refused = Refused([], [], [])
        self._followed = Followed(self._tree, self._homes)
        self._fold = of_utf8(self._options.fold)

    def run(self, sources: Sequence[str], grafts: Iterable[Graft]) -> Tree:
        tree = self._tree
        root = Part()
        try:
            for source in sources:
                root.homes.append(self._homes.directory(source))
            for graft in grafts:
                place_graft(root, graft, self._homes, self._fold)
            self._add_directory(0, root)
            status = self._homes.status(root.homes[0]) if root.homes else None
            self._rows.append([""], [Place(status, 0, b"").known_status], [0])
            self._rows.flush()
            first = 0
            while first < len(tree.directories):  # level by level
                level = range(first, len(tree.directories))
                self._scan_level(level)
                first = level.stop
        finally:
            self._homes.close()
        self._refused.complain()
        return tree

    def _scan_level(self, level: range) -> None:
        """Scans directories of one level, in several processes where there are many."""
        grafts = any(self._parts[ordinal].grafts for ordinal in level)
        if self._options.symlinks.startswith("follow"):
            for ordinal in level:
                if len(homes := self._parts[ordinal].homes) > 1:
                    self._followed.note_merged(ordinal, homes)
        count = 1 if grafts else self._process_count(len(level), _DIRECTORIES_A_PROCESS)
        if count == 1:
            self._scan_all(level)
        else:
            self._share_out([partial(self._scan_all, each) for each in split(level, count)])

    def _process_count(self, work: int, least: int) -> int:
        """How many processes are to share some work, at least so much of it each."""
        count = min(self._processes, work // least)
        return count if count > 1 and may_fork() else 1

    def _scan_all(self, ordinals: range) -> None:
        for ordinal in ordinals:
            self._tree.first_children.append(len(self._rows))
            self._scan_directory(ordinal)
        self._rows.flush()

    def _share_out(self, works: Sequence[Callable[[], None]]) -> None:
        self._rows.flush()
        since = self._tree.lengths()
        count, self._processes = self._processes, 1  # who has a share doesn't share it
        add = partial(self._add, since=since)
        try:
            share_out(works, partial(self._share, since=since), add)
        finally:
            self._processes = count

    def _share(self, work: Callable[[], None], since: dict[str, int]) -> _Share:
        """What some of the work adds, for another process to add."""
        for paths in self._refused:
            paths.clear()
        visits = self._followed.visits = []
        work()
        self._rows.flush()
        first = since["directories"]
        parts = {
            ordinal - first: (part.homes, part.link)
            for ordinal, part in self._parts.items()
            if ordinal >= first
        }
        return _Share(self._tree.stretch(since), parts, self._refused, visits)

    def _add(self, share: _Share, since: dict[str, int]) -> None:
        self._rows.flush()
        now = self._tree.lengths()
        homes = now["home_names"] - since["home_names"]
        for ordinal, (own, link) in share.parts.items():
            part = Part([home + homes for home in own], link=link)
            self._parts[now["directories"] + ordinal] = part
        for visit in share.visits:
            self._followed.add(visit)
        for mine, theirs in zip(self._refused, share.refused, strict=True):
            mine.extend(theirs)
        self._tree.extend(share.added, since)

    def _scan_directory(self, ordinal: int) -> None:
        part = self._parts.pop(ordinal)
        if len(part.homes) != 1 or part.grafts:
            self._scan_merged(ordinal, part)
            return
        home = part.homes[0]
        try:
            descriptor, found = self._entries(home, part)
            count = self._process_count(len(found), _ENTRIES_A_PROCESS)
            if count == 1:
                self._take(ordinal, part, descriptor, found)
            else:
                take = partial(self._take, ordinal, part, descriptor)
                shares = split(range(len(found)), count)
                self._share_out([partial(take, found[each.start : each.stop]) for each in shares])
        except OSError as error:
            self._not_listed(ordinal, home, error)

    def _take(
        self, ordinal: int, part: Part, descriptor: int, found: list[os.DirEntry[str]]
    ) -> None:
        """Adds what belongs into the tree of what was found in a directory of the host."""
        first, home = len(self._rows), part.homes[0]
        names, statuses, elsewhere = self._sort_out(ordinal, home, descriptor, found)
        if not names:
            return
        homes = [home] * len(names)
        for at, name in enumerate(names if elsewhere else ()):
            if place := elsewhere.get(name):
                homes[at] = place.home
                place.note(self._tree, first + at, name)
        self._rows.append(names, statuses, homes)
        modes = [status.st_mode for status in statuses]
        if not any(map(stat.S_ISDIR, set(modes))):
            return
        for at, mode in enumerate(modes):
            if mode & _TYPE_MASK == stat.S_IFDIR:
                name = names[at]
                place = elsewhere.get(name) or Place(statuses[at], home, os.fsencode(name))
                link = self._path(ordinal, name) if name in elsewhere else part.link
                self._add_directory(first + at, Part([self._homes.child(place)], link=link))

    def _scan_merged(self, ordinal: int, part: Part) -> None:
        """The long way: several sources, or grafts."""
        merged = Merged(self._fold)
        for home in part.homes:
            listing = self._list(ordinal, home, part)
            names = merged.names_of(listing.names)
            for own_name, name, status in zip(listing.names, names, listing.statuses, strict=True):
                host_name = os.fsencode(own_name)
                place = listing.elsewhere.get(own_name) or Place(status, home, host_name)
                link = self._path(ordinal, name) if own_name in listing.elsewhere else part.link
                own = Part([self._homes.child(place)], link=link) if place.is_directory else None
                self._merge(ordinal, merged, name, place, own)
        grafts = list(part.grafts.values())
        names = merged.names_of([graft.name for graft in grafts])
        for name, graft in zip(names, grafts, strict=True):
            if graft.file and not self._homes.may_read(graft.file):
                self._closed(self._path(ordinal, name))
            elif graft.file:
                self._merge(ordinal, merged, name, graft.file, None)
            else:
                own_status = self._homes.status(graft.homes[-1]) if graft.homes else None
                place = Place(own_status, 0, os.fsencode(name))
                self._merge(ordinal, merged, name, place, graft)
        if not merged.places:
            return
        names = sorted(merged.places, key=os.fsencode)
        for node, name in enumerate(names, len(self._rows)):
            if name in merged.parts:
                self._add_directory(node, merged.parts[name])
            else:
                merged.places[name].note(self._tree, node, name)
        places = [merged.places[name] for name in names]
        self._rows.append(
            names, [place.known_status for place in places], [place.home for place in places]
        )

    def _merge(
        self, ordinal: int, merged: Merged, name: str, place: Place, part: Part | None
    ) -> None:
        if merged.add(name, place, part) and self._options.strict:
            self._refused.twice.append(self._path(ordinal, name))

    def _list(self, ordinal: int, home: int, part: Part) -> _Listing:
        """What a directory of the host holds, less what the tree can't or shouldn't hold."""
        try:
            return self._sort_out(ordinal, home, *self._entries(home, part))
        except OSError as error:
            self._not_listed(ordinal, home, error)
            return _Listing([], [], {})

    def _entries(self, home: int, part: Part) -> tuple[int, list[os.DirEntry[str]]]:
        """A directory's descriptor and all that it holds, in order of the names' bytes.

        Raises OSError, and ScanError when links have led there too often.
        """
        descriptor, found = self._homes.entries(home)
        if part.link is not None:
            self._followed.visit(part.link, descriptor, len(found))
        return descriptor, found

    def _not_listed(self, ordinal: int, home: int, error: OSError) -> None:
        path_in_tree = self._tree.path(self._tree.directories[ordinal])
        if ordinal and error.errno in CLOSED:
            self._closed(path_in_tree)
        elif ordinal and error.errno in GONE:
            self._tree.skipped.append(Skipped(path_in_tree, "vanished during the scan"))
        else:
            path = printable(home_path(self._tree, home))
            raise ScanError(f"{path}: can't be scanned: {error.strerror or error}") from error

    def _sort_out(
        self, ordinal: int, home: int, descriptor: int, found: list[os.DirEntry[str]]
    ) -> _Listing:
        names: list[str] = []
        statuses: list[os.stat_result] = []
        elsewhere: dict[str, Place] = {}
        options = self._options
        picky = options.leave_out or options.excluded or options.skip_larger_than is not None
        if not picky:
            with suppress(OSError):
                statuses = [entry.stat(follow_symlinks=False) for entry in found]
                if all(map(is_plain, {status.st_mode for status in statuses})):
                    return _Listing([entry.name for entry in found], statuses, {})
            statuses = []
        for entry in found:
            name = entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since the directory was listed: never part of the tree
            except OSError:
                self._silent(ordinal, name)
                continue
            mode = status.st_mode
            kind = mode & _TYPE_MASK
            place = None
            if kind not in {stat.S_IFREG, stat.S_IFDIR}:
                place = self._kept(home, descriptor, name, status)
                place = place or self._special(ordinal, home, name, kind)
                if place is None:
                    continue
                status = place.known_status
            if picky and not self._wanted(ordinal, name, status):
                continue
            readable = (
                self._homes.may_read(place)
                if place
                else (is_plain(mode) or options.may_read(name, descriptor, mode))
            )
            if not readable:
                self._closed(self._path(ordinal, name))
                continue
            if place:
                elsewhere[name] = place
            names.append(name)
            statuses.append(status)
        return _Listing(names, statuses, elsewhere)

    def _wanted(self, ordinal: int, name: str, status: os.stat_result) -> bool:
        """Whether the options let something into the tree; notes it if not."""
        options = self._options
        is_directory = stat.S_ISDIR(status.st_mode)
        reason = ""
        if options.excluded is not None:
            path = self._path(ordinal, name).decode("utf-8", "surrogateescape")
            if options.excluded(path + "/" if is_directory else path):
                reason = "excluded"
        if not is_directory and (status.st_dev, status.st_ino) in options.leave_out:
            reason = "the file being written"
        most = options.skip_larger_than
        if not reason and not is_directory and most is not None and status.st_size > most:
            reason = f"larger than {most} bytes"
        if reason:
            self._skip(ordinal, name, reason)
        return not reason

    def _kept(self, home: int, descriptor: int, name: str, status: os.stat_result) -> Place | None:
        """Something that is neither file nor directory, if it is wanted as what it is."""
        place = Place(status, home, os.fsencode(name))
        if stat.S_ISLNK(status.st_mode):
            if self._options.symlinks != "keep":
                return None
            try:
                return place._replace(target=os.fsencode(os.readlink(name, dir_fd=descriptor)))
            except OSError:
                return None  # gone, or something else by now
        return place if self._options.keep_special_files else None

    def _special(self, ordinal: int, home: int, name: str, kind: int) -> Place | None:
        """What to take for something that is neither file nor directory."""
        reason = what_it_is(kind)
        if kind == stat.S_IFLNK:
            if self._options.symlinks == "refuse":
                self._refused.links.append(self._path(ordinal, name))
                return None
            if self._options.symlinks.startswith("follow"):
                anywhere = self._options.symlinks == "follow-all"
                place = self._homes.follow(home, os.fsencode(name), anywhere)
                if isinstance(place, Place) and not self._followed.is_above(ordinal, place):
                    return place
                reason = "symbolic link in a circle" if isinstance(place, Place) else place
        self._skip(ordinal, name, reason)
        return None

    def _add_directory(self, node: int, part: Part) -> None:
        self._parts[len(self._tree.directories)] = part
        self._tree.directories.append(node)

    def _silent(self, ordinal: int, name: str) -> None:
        """Something that says nothing of itself: where a file system is that doesn't answer."""
        path, excluded = self._path(ordinal, name), self._options.excluded
        text = path.decode("utf-8", "surrogateescape")
        if excluded is not None and (excluded(text) or excluded(text + "/")):
            self._skip(ordinal, name, "excluded")
        else:
            self._closed(path)

    def _closed(self, path: bytes) -> None:
        if self._options.skip_unreadable:
            self._tree.skipped.append(Skipped(path, "may not be read"))
        else:
            self._refused.unreadable.append(path)

    def _skip(self, ordinal: int, name: str, reason: str) -> None:
        self._tree.skipped.append(Skipped(self._path(ordinal, name), reason))

    def _path(self, ordinal: int, name: str) -> bytes:
        parent = self._tree.path(self._tree.directories[ordinal])
        return os.path.join(parent, os.fsencode(name))
