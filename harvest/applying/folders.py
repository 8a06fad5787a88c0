"""Directories of the host that something happens in, each known by its inode wherever it moves to.

A directory is opened name by name from its root, through no link, and held against its inode: what
somebody puts in its place is never written to.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field

from ...synth.host.paths import open_as_it_is

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN = 128

Place = tuple[int, bytes]
"""A directory by its number, and a name in it."""


@dataclass(slots=True)
class Folder:
    """A directory; `places` are all where it may be, in the order in which it gets there."""

    places: list[Place]
    """Of a root: one without a parent (-1), whose name is its path."""
    inode: int = 0
    """0 as long as it is not made."""
    mount: tuple[int, int] = (0, 0)
    """Device and mount: within one, things can be renamed."""
    mtime_ns: int = field(default=0, compare=False)


class Folders:
    """The directories by number, the latest kept open."""

    def __init__(self) -> None:
        self.all: list[Folder] = []
        self._open: OrderedDict[int, int] = OrderedDict()
        self._known: dict[Place, int] = {}

    def add_root(self, descriptor: int) -> int:
        """Return the number of a root, given an open descriptor, which stays the caller's. Raise
        OSError.
        """
        own = os.open(".", _OPEN, dir_fd=descriptor)
        try:
            number = self._add((-1, os.fsencode(path_of_open(own))), own)
        except BaseException:
            os.close(own)
            raise
        if self._open.setdefault(number, own) != own:
            os.close(own)
        return number

    def add(self, parent: int, name: bytes, inode: int | None = None) -> int:
        """Return the number of a directory that is there. Raise OSError, ESTALE if it is another
        one than that with the inode.
        """
        known = self._known.get((parent, name))
        if known is not None and inode in {None, self.all[known].inode}:
            return known
        opened = os.open(name, _OPEN, dir_fd=self.descriptor(parent))
        try:
            if inode is not None and os.fstat(opened).st_ino != inode:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return self._add((parent, name), opened)
        finally:
            os.close(opened)

    def add_new(self, start: Place, mount: tuple[int, int]) -> int:
        """Return the number of a directory that is yet to be made at a place."""
        self.all.append(Folder([start], mount=mount))
        return len(self.all) - 1

    def descriptor(self, number: int) -> int:
        """Return an open descriptor, valid until `trim`. Raise OSError."""
        return self._descriptor(number, frozenset())

    def status(self, place: Place) -> os.stat_result | None:
        """Return the status of what is at a place, None for nothing. Raise OSError."""
        folder, name = place
        if not self.all[folder].inode:
            return None
        try:
            return os.stat(name, dir_fd=self.descriptor(folder), follow_symlinks=False)
        except FileNotFoundError:
            return None

    def path(self, place: Place) -> bytes:
        """Return where a place is on the host once all is done."""
        names: list[bytes] = []
        folder, name = place
        while folder >= 0:
            names.append(name)
            folder, name = self.all[folder].places[-1]
        return os.path.join(name, *reversed(names))

    def trim(self) -> None:
        """Close descriptors, if there are very many."""
        while len(self._open) > _MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])

    def close(self) -> None:
        """Close all descriptors."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _add(self, start: Place, opened: int) -> int:
        status = os.fstat(opened)
        known = self._known.get(start)
        if known is not None and self.all[known].inode == status.st_ino:
            return known
        mount = (status.st_dev, _mount_of(opened))
        self.all.append(Folder([start], status.st_ino, mount))
        self._known[start] = len(self.all) - 1
        return len(self.all) - 1

    def _descriptor(self, number: int, below: frozenset[int]) -> int:
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        folder = self.all[number]
        # What is to be made is nowhere but at its first place.
        for parent, name in reversed(folder.places if folder.inode else folder.places[:1]):
            if parent in below:
                continue
            with suppress(OSError):
                if parent < 0:
                    looked = open_as_it_is(name)
                    try:
                        opened = os.open(".", _OPEN, dir_fd=looked)
                    finally:
                        os.close(looked)
                else:
                    opened = os.open(name, _OPEN, dir_fd=self._descriptor(parent, below | {number}))
                if not folder.inode or os.fstat(opened).st_ino == folder.inode:
                    self._open[number] = opened
                    return opened
                os.close(opened)
        raise OSError(
            errno.ESTALE, "the directory was moved or replaced", os.fsdecode(self.path_of(number))
        )

    def path_of(self, number: int) -> bytes:
        """Return where a directory is on the host once all is done."""
        return self.path(self.all[number].places[-1])


def is_file(status: os.stat_result | None) -> bool:
    """Return whether there is a regular file."""
    return status is not None and stat.S_ISREG(status.st_mode)


def is_directory(status: os.stat_result | None) -> bool:
    """Return whether there is a directory."""
    return status is not None and stat.S_ISDIR(status.st_mode)


def _mount_of(descriptor: int) -> int:
    """Return what tells mounts of one device apart (Linux), else 0."""
    with suppress(OSError, ValueError), open(f"/proc/self/fdinfo/{descriptor}") as lines:
        for line in lines:
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    return 0


def path_of_open(descriptor: int) -> str:
    """Return the path of an open directory, without links (Linux). Raise OSError."""
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    if not os.path.samestat(os.stat(path), os.fstat(descriptor)):
        raise OSError(errno.ESTALE, "the directory was moved", path)
    return path
