"""Nodes on their way into a tree: collected, and added to its columns some at a time.

To add to a dozen columns takes longer than to list a small directory, and most are small.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable
from itertools import accumulate

from .columns import SEPARATOR, Tree

_MOST = 1024  # their statuses take half a megabyte
_LATEST_NS = (1 << 63) - 1  # in the year 2262


class TreeBuilder:
    """The end of a tree; to be flushed before anybody looks at the columns.

    With `owners`, it is noted whose the nodes are.
    """

    def __init__(self, tree: Tree, *, owners: bool) -> None:
        self._tree = tree
        self._owners = owners
        self._names: list[str] = []
        self._statuses: list[os.stat_result] = []
        self._homes: list[int] = []

    def __len__(self) -> int:
        """Return the number of nodes, those in the tree included: what the next one's will be."""
        return len(self._tree) + len(self._names)

    def append(self, names: list[str], statuses: list[os.stat_result], homes: list[int]) -> None:
        """Add nodes."""
        self._names += names
        self._statuses += statuses
        self._homes += homes
        if len(self._names) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Add what was collected to every column, to that of the owners only if it is told."""
        tree, names, statuses = self._tree, self._names, self._statuses
        if not names:
            return
        first = len(tree)
        blob = os.fsencode("/".join(names)) + SEPARATOR
        lengths: Iterable[int] = map(len, names)
        if not blob.isascii():
            lengths = map(len, map(os.fsencode, names))
        ends = accumulate((length + 1 for length in lengths), initial=len(tree.names) - 1)
        next(ends)
        tree.name_ends.extend(ends)
        tree.names.extend(blob)
        tree.origins.node_homes.extend(self._homes)
        modes = [status.st_mode for status in statuses]
        tree.modes.extend(modes)
        sizes = [status.st_size for status in statuses]
        if not all(map(stat.S_ISREG, set(modes))):
            sizes = [
                size if stat.S_ISREG(mode) else 0 for size, mode in zip(sizes, modes, strict=True)
            ]
        tree.sizes.extend(sizes)
        tree.mtimes_ns.extend(_times([status.st_mtime_ns for status in statuses]))
        tree.origins.ctimes_ns.extend(_times([status.st_ctime_ns for status in statuses]))
        tree.inodes.extend([status.st_ino for status in statuses])
        tree.links.extend([status.st_nlink for status in statuses])
        devices = {status.st_dev for status in statuses}
        if len(devices) == 1:
            tree.devices.extend([tree.device_index(devices.pop())] * len(statuses))
        else:
            tree.devices.extend([tree.device_index(status.st_dev) for status in statuses])
        if self._owners:
            tree.owners.extend([tree.owner_index(s.st_uid, s.st_gid) for s in statuses])
        tree.sparse.extend(
            [
                node
                for node, (status, size) in enumerate(zip(statuses, sizes, strict=True), first)
                if status.st_blocks * 512 < size
            ]
        )
        self._names, self._statuses, self._homes = [], [], []


def _times(times_ns: list[int]) -> array[int]:
    """Return times as a column."""
    try:
        return array("q", times_ns)
    except OverflowError:
        return array("q", list(map(in_column, times_ns)))


def in_column(time_ns: int) -> int:
    """Return a time as a column has it, to be compared with one: whatever is beyond 64 bits of
    nanoseconds since 1970 is the first or the last that isn't.
    """
    return min(max(time_ns, -_LATEST_NS), _LATEST_NS)
