"""Directories of the host that hold a tree's nodes, opened name by name and never through links."""

from __future__ import annotations

import os
import resource
from collections import OrderedDict

from ..tree.origins import Origins
from .paths import open_as_it_is

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN = 64


class OpenHomes:
    """Descriptors of a tree's homes by number, the latest `_MOST_OPEN` kept open, or fewer where
    few may be.

    Roots are those that the scan holds, whatever their paths lead to since; all else is opened from
    there, name by name, without following links. Nothing holds a directory against the scan:
    another one in its place may be opened, and the files in it are then other files, which is seen
    of each.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._roots: dict[int, int] = {}
        self._open: OrderedDict[int, int] = OrderedDict()
        soft_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_open = min(_MOST_OPEN, max(4, soft_limit // 8))

    def descriptor(self, home: int) -> int:
        """Return an open descriptor, valid until the next call. Raise OSError."""
        below: list[int] = []
        while home not in self._open and self._origins.home_parents[home] >= 0:
            below.append(home)
            home = self._origins.home_parents[home]
        descriptor = self._open.get(home)
        if descriptor is None:
            descriptor = self._root(home)
        else:
            self._open.move_to_end(home)
        while below:
            home = below.pop()
            descriptor = os.open(self._origins.home_names[home], _OPEN_DIRECTORY, dir_fd=descriptor)
            self._open[home] = descriptor
            if len(self._open) > self._most_open:
                os.close(self._open.popitem(last=False)[1])
        return descriptor

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in (*self._open.values(), *self._roots.values()):
            os.close(descriptor)
        self._open.clear()
        self._roots.clear()

    def _root(self, home: int) -> int:
        if home not in self._roots:
            held = self._origins.held.get(home, -1)
            found = open_as_it_is(self._origins.home_names[home]) if held < 0 else held
            try:
                self._roots[home] = os.open(".", _OPEN_DIRECTORY, dir_fd=found)
            finally:
                if held < 0:
                    os.close(found)
        return self._roots[home]
