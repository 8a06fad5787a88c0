"""Finding what the user named, at each scan again, by no link that was not there at first.

A neighbour who may write in a directory on the way can put other directories and files at a path,
but no link to what only the user may read. Nothing here is opened for more than looking, so nothing
waits.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from ...errors import ScanError
from ..tree.columns import printable

# Elsewhere than on Linux what is only looked at must be opened.
_O_PATH = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)
_LOOK = _O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as Linux has it
_OTHERS_MAY_WRITE = 0o022


@dataclass
class Found:
    """Something at a path, or a place where nothing is yet; holds descriptors until closed."""

    path: bytes
    """Absolute, without links."""
    folder: int
    """A descriptor of the directory that it is in."""
    name: bytes
    """In that directory."""
    descriptor: int
    """Of the thing itself, to look and to open from, not to read; -1 where nothing is."""
    status: os.stat_result | None
    is_first: bool
    """True if the path was never asked for before."""
    is_pipe: bool = False
    """True for a descriptor of this process that is no file: its name leads there by /proc."""

    @property
    def is_directory(self) -> bool:
        """Return whether it is there, and a directory."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def take(self) -> int:
        """Return the descriptor, which the caller closes."""
        taken, self.descriptor = self.descriptor, -1
        return taken

    def reopen(self, flags: int, *, wait: bool = False) -> int:
        """Return a descriptor that reads or writes it, for the caller to close; opening waits for a
        pipe's other end only with `wait`.

        Raise OSError, ESTALE where something else has come there.
        """
        flags |= os.O_CLOEXEC | (0 if self.is_pipe else os.O_NOFOLLOW)
        flags |= 0 if wait else os.O_NONBLOCK
        opened = os.open(self.name, flags, dir_fd=self.folder)
        if self.status is None or not os.path.samestat(os.fstat(opened), self.status):
            os.close(opened)
            raise OSError(errno.ESTALE, "was replaced in this moment")
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        for each in (self.folder, self.descriptor):
            if each >= 0:
                os.close(each)
        self.folder = self.descriptor = -1


class NamedPaths:
    """The paths that a user named. The first look at one follows links, and remembers them.

    Later ones follow these where they lead to the same as before. Another link is followed only if
    it is this process's user's or root's, and nobody else may replace it or what is above it.
    """

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._links: dict[bytes, bytes] = {}  # what they lead to, by where they are
        self._piped: dict[bytes, bytes] = {}

    def find(self, path: str | bytes, *, to_write: bool = False) -> Found:
        """Return what is at a path. With `to_write` nothing may be there yet, and a link in its
        place must be this user's or root's. Raise OSError, and ScanError for a link that is not
        followed.
        """
        absolute = _absolute(path)
        walk = _Walk(absolute, self._links, absolute not in self._known, to_write)
        try:
            found = walk.run()
        finally:
            walk.close()
        self._known.add(absolute)
        return found

    def read(self, path: str | bytes, most: int) -> bytes:
        """Return the bytes of a regular file, `most` at most. Raise as `find` does, and ScanError.

        A pipe that this process was given, as by a shell's `<(...)`, is read once and remembered.
        """
        absolute = _absolute(path)
        if absolute in self._piped:
            return self._piped[absolute]
        shown = printable(os.fsencode(path))
        with self.find(path) as found:
            assert found.status is not None
            is_file = stat.S_ISREG(found.status.st_mode)
            if not is_file and not (found.is_pipe and found.is_first):
                raise ScanError(f"{shown}: is no regular file")
            with open(found.reopen(os.O_RDONLY), "rb") as file:
                os.set_blocking(file.fileno(), True)
                data = file.read(most + 1)
        if len(data) > most:
            raise ScanError(f"{shown}: has more than {most} bytes")
        if not is_file:
            self._piped[absolute] = data
        return data


class _Walk:
    """One way from the root of the host to where a path leads, a descriptor for each name."""

    def __init__(
        self, path: bytes, links: dict[bytes, bytes], learns: bool, to_write: bool
    ) -> None:
        self._path = path
        self._links = links
        self._learns = learns
        self._to_write = to_write
        self._names: list[bytes] = []
        self._stack = [os.open("/", _LOOK | os.O_DIRECTORY)]
        self._waiting = path.split(b"/")[::-1]
        self._followed = 0
        self._in_directory = True
        self._is_pipe = False

    def run(self) -> Found:
        """Go there. Raise OSError and ScanError."""
        is_there = True
        while self._waiting:
            name = self._waiting.pop()
            if not self._in_directory:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if name == b"..":
                if self._names:
                    self._leave()
            elif name not in {b"", b"."}:
                try:
                    self._enter(name)
                except FileNotFoundError:
                    if not self._to_write or self._waiting:
                        raise
                    is_there = False
                    self._names.append(name)
                    break
        path = b"/" + b"/".join(self._names)
        folder = self._stack[-1] if not is_there or len(self._stack) == 1 else self._stack[-2]
        name = self._names[-1] if self._names else b"."
        status = os.fstat(self._stack[-1]) if is_there else None
        descriptor = os.dup(self._stack[-1]) if is_there else -1
        return Found(
            path, os.dup(folder), name, descriptor, status, self._learns, is_pipe=self._is_pipe
        )

    def close(self) -> None:
        """Close all that was opened on the way."""
        for each in self._stack:
            os.close(each)
        self._stack = []

    def _enter(self, name: bytes) -> None:
        """Go one name further. Raise OSError and ScanError."""
        try:
            # As a directory first: so it is mounted where that happens on demand.
            self._push(name, os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=self._stack[-1]), True)
            return
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
        try:
            target = os.readlink(name, dir_fd=self._stack[-1])
        except OSError as error:
            if error.errno != errno.EINVAL:  # as it says of what is no link
                raise
            opened = os.open(name, _LOOK, dir_fd=self._stack[-1])
            self._push(name, opened, False)
            if stat.S_ISLNK(os.fstat(opened).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
            return
        if not self._enter_own_descriptor(name):
            self._follow(name, target)

    def _push(self, name: bytes, opened: int, is_directory: bool) -> None:
        self._stack.append(opened)
        self._names.append(name)
        self._in_directory = is_directory

    def _leave(self) -> None:
        self._names.pop()
        os.close(self._stack.pop())

    def _enter_own_descriptor(self, name: bytes) -> bool:
        """Take /proc/self/fd/N for the pipe or device that it is; its text is no path."""
        with suppress(OSError):
            own = os.stat("/proc/self/fd")
            if name.isdigit() and os.path.samestat(own, os.fstat(self._stack[-1])):
                opened = os.open(name, _O_PATH | os.O_CLOEXEC, dir_fd=self._stack[-1])
                mode = os.fstat(opened).st_mode
                if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                    self._push(name, opened, False)
                    self._is_pipe = True
                    return True
                os.close(opened)
        return False

    def _follow(self, name: bytes, target: bytes) -> None:
        """Follow a link. Raise OSError, and ScanError if it may not be followed."""
        place = b"/" + b"/".join([*self._names, name])
        self._followed += 1
        if self._followed > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        owner = os.stat(name, dir_fd=self._stack[-1], follow_symlinks=False).st_uid
        is_own = owner in {0, os.geteuid()}
        if self._to_write and not any(self._waiting) and not is_own:
            raise ScanError(
                f"{printable(self._path)}: {printable(place)} is a link that somebody else made; "
                "nothing is written where it leads"
            )
        before = self._links.get(place)
        if before != target:
            if not self._learns and not (is_own and all(map(_is_ours, self._stack))):
                was = "was none" if before is None else f"led to {printable(before)}"
                raise ScanError(
                    f"{printable(self._path)}: {printable(place)} is a link to "
                    f"{printable(target)} and {was} at the start; start again if that is meant"
                )
            self._links[place] = target
        if target.startswith(b"/"):
            while self._names:
                self._leave()
        self._waiting += target.split(b"/")[::-1]


def _absolute(path: str | bytes) -> bytes:
    """Return a path from the root of the host, as it is otherwise. Raise OSError."""
    raw = os.fsencode(path)
    return raw if raw.startswith(b"/") else os.path.join(os.getcwdb(), raw)


def open_as_it_is(path: bytes) -> int:
    """Return a descriptor of a directory, to open from, given a path without any link. Raise
    OSError.
    """
    folder = os.open("/", _LOOK | os.O_DIRECTORY)
    for name in filter(None, path.split(b"/")):
        try:
            below = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def _is_ours(folder: int) -> bool:
    """Return whether nobody but this user and root may replace what is theirs in a directory."""
    status = os.fstat(folder)
    is_shared = status.st_mode & _OTHERS_MAY_WRITE and not status.st_mode & stat.S_ISVTX
    return status.st_uid in {0, os.geteuid()} and not is_shared
