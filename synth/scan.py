"""The scan: walks a directory by descriptors, without following symbolic links, into a tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter

from ..errors import ScanError
from .host import Directories
from .tree import SEPARATOR, Skipped, Tree, printable

_SKIPPED_TYPES = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def may_read(name: str, directory: int, mode: int) -> bool:
    """Whether this process may read `name` in the open directory (and enter it, if it is one)."""
    need = os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK
    return os.access(name, need, dir_fd=directory, effective_ids=True, follow_symlinks=False)


@dataclass(frozen=True)
class ScanOptions:
    """What to do with what the tree can't or shouldn't hold."""

    skip_unreadable: bool = False
    """Leave out what may not be read, instead of refusing the whole directory."""

    leave_out: frozenset[tuple[int, int]] = frozenset()
    """Files by (device, inode) that are no part of the tree, such as the image being written."""

    may_read: Callable[[str, int, int], bool] = may_read
    """Asked only about files whose permissions leave a doubt."""


def scan(directory: str, options: ScanOptions | None = None) -> Tree:
    """Scans a directory, all levels down. No file is opened, only directories.

    Raises ScanError when it can't be read or holds what may not be read.
    """
    tree = Tree(os.path.abspath(directory))
    try:
        directories = Directories(tree)
    except FileNotFoundError:
        raise ScanError(f"{directory}: no such directory") from None
    except NotADirectoryError:
        raise ScanError(f"{directory}: not a directory") from None
    except OSError as error:
        raise ScanError(f"{directory}: can't be opened: {error.strerror}") from error
    try:
        _Scan(tree, directories, options or ScanOptions()).run()
    finally:
        directories.close()
    return tree


class _Scan:
    """One scan under way: fills the columns of `tree`."""

    def __init__(self, tree: Tree, directories: Directories, options: ScanOptions) -> None:
        self._tree = tree
        self._directories = directories
        self._options = options
        self._device_indexes: dict[int, int] = {}
        self._unreadable: list[bytes] = []

    def run(self) -> None:
        tree = self._tree
        tree.directories.append(0)
        self._append([""], [os.fstat(self._directories.descriptor(0))])
        ordinal = 0
        while ordinal < len(tree.directories):  # grows as directories are found
            tree.first_children.append(len(tree))
            self._scan_directory(ordinal)
            ordinal += 1
        if self._unreadable:
            raise ScanError(
                f"{tree.root} holds what may not be read: {_some(self._unreadable)}; "
                "make it readable, or leave it out with --skip-unreadable"
            )

    def _scan_directory(self, ordinal: int) -> None:
        try:
            descriptor = self._directories.descriptor(ordinal)
            with os.scandir(descriptor) as entries:
                found = sorted(entries, key=attrgetter("name"))
            if found:
                self._sort_out(ordinal, descriptor, found)
        except OSError as error:
            path = self._tree.path(self._tree.directories[ordinal])
            raise ScanError(
                f"{printable(os.path.join(os.fsencode(self._tree.root), path))}: "
                f"can't be scanned: {error.strerror}"
            ) from error

    def _sort_out(self, ordinal: int, descriptor: int, found: list[os.DirEntry[str]]) -> None:
        """Keeps what the tree can hold of a directory's entries and notes the rest."""
        names: list[str] = []
        statuses: list[os.stat_result] = []
        first = node = len(self._tree)
        leave_out = self._options.leave_out
        for entry in found:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since the directory was listed: never part of the tree
            mode = status.st_mode
            if stat.S_ISREG(mode):
                if mode & 0o444 != 0o444 and not self._readable(ordinal, descriptor, entry, mode):
                    continue
                if leave_out and (status.st_dev, status.st_ino) in leave_out:
                    self._skip(ordinal, entry.name, "the file being written")
                    continue
                if status.st_blocks * 512 < status.st_size:
                    self._tree.sparse.append(node)
            elif stat.S_ISDIR(mode):
                if mode & 0o555 != 0o555 and not self._readable(ordinal, descriptor, entry, mode):
                    continue
                self._tree.directories.append(node)
            else:
                self._skip(ordinal, entry.name, _SKIPPED_TYPES.get(stat.S_IFMT(mode), "unknown"))
                continue
            names.append(entry.name)
            statuses.append(status)
            node = first + len(names)
        if names:
            self._append(names, statuses)

    def _append(self, names: list[str], statuses: list[os.stat_result]) -> None:
        """Adds nodes to every column."""
        tree = self._tree
        blob = os.fsencode("/".join(names)) + SEPARATOR
        lengths: Iterable[int] = map(len, names)
        if not blob.isascii():
            lengths = map(len, map(os.fsencode, names))
        ends = accumulate((length + 1 for length in lengths), initial=len(tree.names) - 1)
        next(ends)
        tree.name_ends.extend(ends)
        tree.names.extend(blob)
        tree.modes.extend([status.st_mode for status in statuses])
        tree.sizes.extend([s.st_size if stat.S_ISREG(s.st_mode) else 0 for s in statuses])
        tree.mtimes_ns.extend([status.st_mtime_ns for status in statuses])
        tree.ctimes_ns.extend([status.st_ctime_ns for status in statuses])
        tree.inodes.extend([status.st_ino for status in statuses])
        tree.links.extend([status.st_nlink for status in statuses])
        tree.devices.extend([self._device_index(status.st_dev) for status in statuses])

    def _device_index(self, device: int) -> int:
        index = self._device_indexes.get(device)
        if index is None:
            index = self._device_indexes[device] = len(self._tree.device_numbers)
            self._tree.device_numbers.append(device)
        return index

    def _readable(self, ordinal: int, descriptor: int, entry: os.DirEntry[str], mode: int) -> bool:
        if self._options.may_read(entry.name, descriptor, mode):
            return True
        if self._options.skip_unreadable:
            self._skip(ordinal, entry.name, "may not be read")
        else:
            self._unreadable.append(self._path(ordinal, entry.name))
        return False

    def _skip(self, ordinal: int, name: str, reason: str) -> None:
        self._tree.skipped.append(Skipped(self._path(ordinal, name), reason))

    def _path(self, ordinal: int, name: str) -> bytes:
        parent = self._tree.path(self._tree.directories[ordinal])
        return os.path.join(parent, os.fsencode(name))


def _some(paths: list[bytes], most: int = 3) -> str:
    """The first few of the paths, and how many more there are."""
    shown = ", ".join(printable(path) for path in paths[:most])
    more = len(paths) - most
    return f"{shown} and {more} more" if more > 0 else shown
