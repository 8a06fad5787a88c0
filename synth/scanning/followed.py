"""Links that are followed to directories: none in a circle, and none to the same over and over.

Links that form no circle can still lead to one directory by very many ways: where each of twenty
directories has two links to the next one, by a million. So it is counted how often a directory of
the host is reached through links.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from ...errors import ScanError, option_named
from ..tree.columns import Tree, printable
from .homes import Homes, Place

MOST_TIMES = 64
"""The times that links may lead to a directory, with all that it holds."""
MOST_REPEATED = 1 << 14
"""Entries that there may be in all in directories that links have led to more often."""


class Visit(NamedTuple):
    """A directory of the host that a followed link, or one above it, has led to."""

    link: bytes
    """The path of that link in the tree."""
    identity: tuple[int, int]
    """Device and inode."""
    entries: int


class Followed:
    """The directories that followed links have led to in one scan."""

    def __init__(self, tree: Tree, homes: Homes) -> None:
        self.visits: list[Visit] | None = None
        """Visits are noted here as well if it is a list: for another process to add."""
        self._tree = tree
        self._homes = homes
        self._merged: dict[int, set[tuple[int, int]]] = {}
        self._times: Counter[tuple[int, int]] = Counter()
        self._repeated = 0

    def note_merged(self, ordinal: int, homes: Iterable[int]) -> None:
        """Note that a directory of the tree is made of several of the host."""
        identities = self._merged[ordinal] = set()
        for home in homes:
            with suppress(OSError):  # who scans it will say so
                status = self._homes.status(home)
                identities.add((status.st_dev, status.st_ino))

    def is_above(self, ordinal: int, place: Place) -> bool:
        """Return whether a directory is one that leads to the directory `ordinal`, or that one."""
        tree, status = self._tree, place.status
        if not place.is_directory or status is None:
            return False
        identity = (status.st_dev, status.st_ino)
        while True:
            node = tree.directories[ordinal]
            if identity == (tree.device(node), tree.inodes[node]):
                return True
            if identity in self._merged.get(ordinal, ()):
                return True
            if not node:
                return False
            ordinal = tree.parent(node)

    def visit(self, link: bytes, descriptor: int, entries: int) -> None:
        """Count a directory that is open and has so many entries. Raise ScanError."""
        status = os.fstat(descriptor)
        self.add(Visit(link, (status.st_dev, status.st_ino), entries))

    def add(self, visit: Visit) -> None:
        """Count a visit. Raise ScanError when links lead to the same too often."""
        if self.visits is not None:
            self.visits.append(visit)
        self._times[visit.identity] += 1
        if self._times[visit.identity] <= MOST_TIMES:
            return
        self._repeated += 1 + visit.entries
        if self._repeated > MOST_REPEATED:
            raise ScanError(
                f"symbolic link {printable(visit.link)}: it and others lead to the same "
                f"directories over and over; those that links have led to {MOST_TIMES} times "
                f"before make more than {MOST_REPEATED} entries. "
                f"{option_named('exclude')} leaves out some of the links, "
                f"{option_named('symlinks', 'skip')} all"
            )
