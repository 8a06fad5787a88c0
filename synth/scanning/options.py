"""Options of a scan: what to leave out, which links to follow, what to refuse."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from ..host.paths import NamedPaths

_SKIPPED_TYPES = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "named pipe",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}

Order = Callable[[bytes], Callable[[bytes, bool], Any]]
Symlinks = Literal["skip", "keep", "follow", "follow-all", "refuse"]


def may_read(name: str, directory: int, mode: int) -> bool:
    """Return whether this process may read `name` in the open directory (and enter it, if it is
    one).
    """
    need = os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK
    return os.access(name, need, dir_fd=directory, effective_ids=True, follow_symlinks=False)


def is_plain(mode: int) -> bool:
    """Return whether something is a file that all may read, or a directory that all may list."""
    return mode & 0o170444 == 0o100444 or mode & 0o170555 == 0o040555


def what_it_is(kind: int) -> str:
    """Return what is no file and no directory, by its type (S_IFMT)."""
    return _SKIPPED_TYPES.get(kind, "of an unknown type")


def as_is(name: str) -> str:
    """Return a name as it is: where no two are taken for one."""
    return name


def of_utf8(fold: Callable[[str], str]) -> Callable[[str], str]:
    """Return the same for names as this locale has them, which need not be UTF-8."""
    if sys.getfilesystemencoding() == "utf-8":
        return fold
    return lambda name: fold(os.fsencode(name).decode("utf-8", "surrogateescape"))


class ScanOptions(NamedTuple):
    """Orders for what the tree can't or shouldn't hold."""

    skip_unreadable: bool = False
    """Leave out what may not be read, instead of refusing the whole directory."""
    leave_out: frozenset[tuple[int, int]] = frozenset()
    """Files by (device, inode) that are no part of the tree, such as the image being written."""
    skip_larger_than: int | None = None
    """Leave out files of more bytes than this."""
    excluded: Callable[[str], bool] | None = None
    """Says if a path in the tree (a directory's ends with `/`) is not wanted. Paths are decoded as
    UTF-8 with stray bytes as lone surrogates, whatever the locale."""
    symlinks: Symlinks = "skip"
    """`keep` makes them nodes; `follow` stays within the sources, `follow-all` goes anywhere."""
    keep_special_files: bool = False
    """Make nodes of sockets, named pipes and devices."""
    owners: bool = False
    """Note who owns what."""
    strict: bool = False
    """Refuse two sources that have a file of one name."""
    fold: Callable[[str], str] = as_is
    """Gives names that are one for the disk's readers the same text. Of different sources they
    become one; of one source they don't."""
    order: Order | None = None
    """Given the path of a directory in the tree, returns what gives a name's bytes, and whether it
    is a directory, a key to sort by; None: names are sorted by their bytes."""
    processes: int = 1
    """The number of processes that may share the work."""
    may_read: Callable[[str, int, int], bool] = may_read
    """Asked only about files whose permissions leave a doubt."""
    named: NamedPaths | None = None
    """Finds the directories and grafts again as they were found before."""

    @property
    def goes_by_name_or_size(self) -> bool:
        """Return whether entries are left out by what they are called, or how large they are."""
        return self.excluded is not None or self.skip_larger_than is not None

    def leaves_out_one_of(self, statuses: list[os.stat_result]) -> bool:
        """Return whether a file of `leave_out` is among some entries."""
        if not self.leave_out:
            return False
        return not self.leave_out.isdisjoint((each.st_dev, each.st_ino) for each in statuses)
