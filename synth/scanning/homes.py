"""Homes: directories on the host that a tree's nodes come from, and ends of followed links."""

from __future__ import annotations

import os
import stat
import sys
import weakref
from contextlib import suppress
from operator import attrgetter
from typing import NamedTuple

from ...errors import ScanError
from ..host.directories import OpenHomes
from ..host.paths import Found, NamedPaths, open_as_it_is
from ..tree.columns import Tree


def _close_all(descriptors: dict[int, int]) -> None:
    for each in descriptors.values():
        os.close(each)
    descriptors.clear()


class Place(NamedTuple):
    """Something on the host that becomes a node, and where it is."""

    status: os.stat_result | None
    """None for a directory that only the tree has."""
    home: int
    host_name: bytes
    target: bytes | None = None
    """Of a symbolic link that is kept as one."""

    @property
    def known_status(self) -> os.stat_result:
        """Return the status, made up for a directory that only the tree has: no time, no inode."""
        return self.status or _MADE_DIRECTORY

    @property
    def is_directory(self) -> bool:
        """Return whether other things can be in it."""
        return stat.S_ISDIR(self.known_status.st_mode)

    @property
    def is_link(self) -> bool:
        """Return whether it is a symbolic link itself, not what one led to."""
        return stat.S_ISLNK(self.known_status.st_mode)

    def note(self, tree: Tree, node: int, name: str) -> None:
        """Note what few nodes have: another name on the host, a target, a device's number."""
        if self.host_name != os.fsencode(name):
            tree.origins.host_names[node] = self.host_name
        if self.target is not None:
            tree.targets[node] = self.target
        status = self.known_status
        if stat.S_IFMT(status.st_mode) not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
            tree.rdevs[node] = status.st_rdev


_MADE_DIRECTORY = os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 1, *[0] * 15))


_NAME = attrgetter("name")


def _sorts_as_bytes(text: str) -> bool:
    """Return whether names of these characters have the same order as text and as bytes."""
    if text.isascii():
        return True
    if sys.getfilesystemencoding() != "utf-8":
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # stray bytes, which stand for surrogates, between the others
        return False
    return True


def _bytes_of_name(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


class Homes:
    """The homes of a tree while it is scanned; adds to those columns."""

    def __init__(self, tree: Tree, named: NamedPaths | None = None) -> None:
        self._origins = tree.origins
        self._named = named or NamedPaths()
        weakref.finalize(tree, _close_all, tree.origins.held).atexit = False
        self._open = OpenHomes(tree.origins)
        self._roots: dict[bytes, int] = {}  # by real path
        self._linked: dict[bytes, int] = {}  # of what links led to, by real path

    def close(self) -> None:
        """Close the directories, all but the roots, which are held as long as the tree is there.

        Those that links led to outside are held from here on, whichever process found them.
        """
        self._open.close()
        origins = self._origins
        for home, parent in enumerate(origins.home_parents):
            if parent < 0 and home not in origins.held:
                with suppress(OSError):  # gone, or too many: opening it then says so
                    origins.held[home] = open_as_it_is(origins.home_names[home])

    def descriptor(self, home: int) -> int:
        """Return an open descriptor of a home, valid until the next call. Raise OSError."""
        return self._open.descriptor(home)

    def entries(self, home: int) -> tuple[int, list[os.DirEntry[str]]]:
        """Return a home's descriptor and all that it holds, in order of the names' bytes.

        Raise OSError.
        """
        descriptor = self._open.descriptor(home)
        with os.scandir(descriptor) as entries:
            found = sorted(entries, key=_NAME)
        if not _sorts_as_bytes("".join(map(_NAME, found))):
            found.sort(key=_bytes_of_name)
        return descriptor, found

    def status(self, home: int) -> os.stat_result:
        """Return what the host says of a home."""
        return os.fstat(self._open.descriptor(home))

    def child(self, place: Place) -> int:
        """Return the home that a directory is."""
        return self._origins.add_home(place.home, place.host_name)

    def named(self, source: str, missing: str = "No such file or directory") -> Found:
        """Return what the user named, to be closed. Raise ScanError."""
        try:
            return self._named.find(source)
        except FileNotFoundError:
            raise ScanError(f"{source}: {missing}") from None
        except NotADirectoryError:
            raise ScanError(f"{source}: not a directory") from None
        except OSError as error:
            raise ScanError(f"{source}: can't be opened: {error.strerror}") from error

    def directory(self, source: str) -> int:
        """Return the home of a directory that the user named. Raise ScanError."""
        with self.named(source, "no such directory") as found:
            return self.root(source, found)

    def root(self, source: str, found: Found) -> int:
        """Return the home of a directory that the user named, once it is found. Raise ScanError."""
        if not found.is_directory:
            raise ScanError(f"{source}: not a directory")
        home = self._origins.add_home(-1, os.fsencode(os.path.abspath(source)))
        self._origins.held[home] = found.take()
        try:
            self._open.descriptor(home)
        except OSError as error:
            raise ScanError(f"{source}: can't be opened: {error.strerror}") from error
        self._roots[found.path] = home
        return home

    def file(self, source: str, found: Found) -> Place:
        """Return a file that the user named, once it is found. Raise ScanError."""
        if found.status is None or not stat.S_ISREG(found.status.st_mode):
            raise ScanError(f"{source}: neither a file nor a directory")
        place = self._place(found.path, found.status)
        if place.home not in self._origins.held and self._origins.home_parents[place.home] < 0:
            self._origins.held[place.home] = os.dup(found.folder)
        return place

    def follow(self, home: int, name: bytes, anywhere: bool) -> Place | str:
        """Return what a link leads to, or why that can't be taken.

        Unless it may lead `anywhere`, only what is below a root of this tree is taken.
        """
        try:
            path = os.path.realpath(os.path.join(self._origins.home_path(home), name), strict=True)
            status = os.stat(path)
        except OSError:
            return "symbolic link that leads nowhere"
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            return "symbolic link to a special file"
        if not anywhere and self._root_above(path) is None:
            return "symbolic link that leads outside"
        return self._place(path, status)

    def may_read(self, place: Place) -> bool:
        """Return whether this process may read a file, or list a directory; what is neither isn't
        read.
        """
        if not place.is_directory and not stat.S_ISREG(place.known_status.st_mode):
            return True
        path = os.path.join(self._origins.home_path(place.home), place.host_name)
        need = os.R_OK | os.X_OK if place.is_directory else os.R_OK
        return os.access(path, need, effective_ids=True)

    def _place(self, path: bytes, status: os.stat_result) -> Place:
        folder, name = os.path.split(path)
        is_outside = stat.S_ISDIR(status.st_mode) and self._root_above(path) is None
        if not name or path in self._roots or is_outside:
            # A root has no name in a home; and what is outside becomes one, so that no more is
            # opened to a sandbox than that.
            return Place(status, self._home(path), b".")
        return Place(status, self._home(folder), name)

    def _home(self, path: bytes) -> int:
        """Return the home that a directory is, given its real path."""
        if path not in self._linked:
            root = self._root_above(path)
            if root is None:
                home = self._origins.add_home(-1, path)
            else:
                home = self._roots[root]
                for name in filter(None, path[len(root) :].split(b"/")):
                    home = self._origins.add_home(home, name)
            self._linked[path] = home
        return self._linked[path]

    def _root_above(self, path: bytes) -> bytes | None:
        """Return the nearest root that holds a real path, or is it."""
        while path not in self._roots:
            parent = os.path.dirname(path)
            if parent == path:
                return None
            path = parent
        return path
