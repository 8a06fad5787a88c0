"""A tree: what a scan found on the host, in a stated order, stored as columns.

Nodes are numbered from 0, the root, in this order: the root's entries sorted by name, then the
entries of the first directory among them, and so on, level by level. So the entries of a directory
stand side by side, and whatever is cumulative over the nodes (slots, clusters) can be searched by
bisection. A million files are a dozen arrays and one string, not a million objects.

    node          0     1  2  3   4  5   6
    name          /     a  b  c   x  y   z
                  |     |_____|   |__|   |
    directory     0       of 0    of 1   of 2      (here a and c are the directories 1 and 2)
"""

from __future__ import annotations

import os
import stat
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from .origins import Origins

SEPARATOR = b"/"  # the one byte besides NUL that no name holds
_PART = 1 << 14
# What is the same in any tree: no number of a node, a home, a device or an owner.
_PLAIN_COLUMNS = ("names", "modes", "sizes", "mtimes_ns", "ctimes_ns", "inodes", "links",
                  "home_names", "skipped")  # fmt: skip


class Skipped(NamedTuple):
    """Something on the host that is not in the tree. `path` is relative to the root."""

    path: bytes
    reason: str


Value = TypeVar("Value")


class Numbered(list[Value]):
    """Values, none of them twice, whose places are known without looking through them."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[Value, int] = {}

    def place(self, value: Value) -> int:
        """Return where a value is; it is added if it is new."""
        place = self._places.get(value)
        if place is None:
            place = self._places[value] = len(self)
            self.append(value)
        return place


@dataclass(frozen=True)
class Tree:
    """One entry a node in each column. Filled by `scan`, never changed after; touches no host."""

    names: bytearray = field(default_factory=bytearray)
    """The names of all nodes in order, each followed by `SEPARATOR`; the root's is empty."""
    name_ends: array[int] = field(default_factory=partial(array, "I"))
    """The end of each name in `names`."""
    modes: array[int] = field(default_factory=partial(array, "H"))
    """st_mode: type and permissions."""
    sizes: array[int] = field(default_factory=partial(array, "Q"))
    """Bytes of a regular file, 0 of anything else."""
    mtimes_ns: array[int] = field(default_factory=partial(array, "q"))
    inodes: array[int] = field(default_factory=partial(array, "Q"))
    links: array[int] = field(default_factory=partial(array, "I"))
    """st_nlink."""
    devices: array[int] = field(default_factory=partial(array, "I"))
    """An index into `device_numbers`."""
    device_numbers: Numbered[int] = field(default_factory=Numbered)
    directories: array[int] = field(default_factory=partial(array, "I"))
    """The node of each directory, ascending. A directory's place here is its *ordinal*."""
    first_children: array[int] = field(default_factory=partial(array, "I"))
    """The first entry of each directory; its last is just before the next directory's first."""
    owners: array[int] = field(default_factory=partial(array, "I"))
    """An index into `owner_ids`; empty unless the scan was told to note owners."""
    owner_ids: Numbered[tuple[int, int]] = field(default_factory=Numbered)
    """Numbers of user and group."""
    targets: dict[int, bytes] = field(default_factory=dict)
    """The targets of symbolic links that are kept as links."""
    rdevs: dict[int, int] = field(default_factory=dict)
    """st_rdev of devices, sockets and named pipes, where they are kept as such."""
    sparse: array[int] = field(default_factory=partial(array, "I"))
    """Regular files that occupy less on the host than their size, ascending."""
    skipped: list[Skipped] = field(default_factory=list)
    origins: Origins = field(default_factory=Origins)
    """The places on the host that nodes come from; nothing that a format asks for."""

    def __len__(self) -> int:
        """Return the number of nodes, the root included."""
        return len(self.sizes)

    def lengths(self) -> dict[str, int]:
        """Return how long each column is, those of the origins included."""
        return {name: len(column) for name, column in self._columns().items()}

    def stretch(self, since: dict[str, int]) -> dict[str, Any]:
        """Return what was added to the columns since they had the lengths `since`."""
        columns = self._columns()
        added = {
            name: column[since[name] :]
            for name, column in columns.items()
            if not isinstance(column, dict)
        }
        of_nodes = {
            name: {node: value for node, value in values.items() if node >= since["sizes"]}
            for name, values in columns.items()
            if isinstance(values, dict)
        }
        shared = {"device_numbers": [*self.device_numbers], "owner_ids": [*self.owner_ids]}
        return added | of_nodes | shared

    def extend(self, added: dict[str, Any], since: dict[str, int]) -> None:
        """Add the stretch of another tree that was the same as this one at `since`.

        Take the columns out of `added`, so that they don't stand in memory twice.
        """
        now, columns = self.lengths(), self._columns()
        nodes, names = now["sizes"] - since["sizes"], now["names"] - since["names"]
        first_home = since["home_names"]
        homes = now["home_names"] - first_home
        devices = [self.device_index(number) for number in added["device_numbers"]]
        owners = [self.owner_index(*ids) for ids in added["owner_ids"]]

        def moved(home: int) -> int:
            return home + homes if home >= first_home else home

        for name in _PLAIN_COLUMNS:
            columns[name].extend(added.pop(name))
        for name in ("directories", "first_children", "sparse"):
            _extend(columns[name], added.pop(name), nodes.__add__)
        _extend(self.name_ends, added.pop("name_ends"), names.__add__)
        for name in ("node_homes", "home_parents"):
            _extend(columns[name], added.pop(name), moved)
        _extend(self.devices, added.pop("devices"), devices.__getitem__)
        _extend(self.owners, added.pop("owners"), owners.__getitem__)
        for node, homes_of in added["merged_homes"].items():
            columns["merged_homes"][node + nodes] = tuple(map(moved, homes_of))
        for name in ("host_names", "targets", "rdevs"):
            columns[name].update({node + nodes: value for node, value in added[name].items()})

    def _columns(self) -> dict[str, Any]:
        """Return all columns by name, but for the descriptors: another process has its own."""
        columns = vars(self) | vars(self.origins)
        del columns["origins"], columns["held"]
        return columns

    def device_index(self, number: int) -> int:
        """Return the place of a device in `device_numbers`, where it is added if it is new."""
        return self.device_numbers.place(number)

    def owner_index(self, user: int, group: int) -> int:
        """Return the place of an owner in `owner_ids`, where it is added if it is new."""
        return self.owner_ids.place((user, group))

    @property
    def file_count(self) -> int:
        """Return the number of nodes that are not directories."""
        return len(self.sizes) - len(self.directories)

    def name(self, node: int) -> bytes:
        """Return a node's name in the tree."""
        ends = self.name_ends
        return bytes(self.names[ends[node - 1] + 1 if node else 0 : ends[node]])

    def joined_names(self, first: int, last: int) -> bytes:
        """Return the names of the nodes [first, last), `SEPARATOR` between them; at least one
        node.
        """
        start = self.name_ends[first - 1] + 1 if first else 0
        return bytes(self.names[start : self.name_ends[last - 1]])

    def device(self, node: int) -> int:
        """Return st_dev of a node."""
        return self.device_numbers[self.devices[node]]

    def is_directory(self, node: int) -> bool:
        """Return whether a node is a directory."""
        return stat.S_ISDIR(self.modes[node])

    def ordinal(self, directory_node: int) -> int:
        """Return the ordinal of the directory that is this node."""
        return bisect_left(self.directories, directory_node)

    def children(self, ordinal: int) -> range:
        """Return the entries of a directory."""
        firsts = self.first_children
        end = firsts[ordinal + 1] if ordinal + 1 < len(firsts) else len(self.sizes)
        return range(firsts[ordinal], end)

    def subdirectories(self, ordinal: int) -> range:
        """Return the ordinals of the directories in a directory."""
        children = self.children(ordinal)
        first = bisect_left(self.directories, children.start)
        return range(first, bisect_left(self.directories, children.stop, first))

    def directories_among(self, nodes: range) -> array[int]:
        """Return those of some consecutive nodes that are directories."""
        first = bisect_left(self.directories, nodes.start)
        return self.directories[first : bisect_left(self.directories, nodes.stop, first)]

    def find(self, path: str) -> int | None:
        """Return the node at a path relative to the root, whose names are joined by `/`."""
        node = 0
        for name in filter(None, os.fsencode(path).split(b"/")):
            if not self.is_directory(node):
                return None
            children = self.children(self.ordinal(node))
            names = self.joined_names(children.start, children.stop) if children else b""
            try:
                node = children.start + names.split(SEPARATOR).index(name)
            except ValueError:
                return None
        return node

    def parent(self, node: int) -> int:
        """Return the ordinal of the directory that holds a node other than the root.

        A directory without entries shares its first child with the next one; of those that share
        it, the last is the one that holds it.
        """
        return bisect_right(self.first_children, node) - 1

    def path(self, node: int) -> bytes:
        """Return a node's path relative to the root, `/` between names; the root's is empty."""
        names: list[bytes] = []
        while node:
            names.append(self.name(node))
            node = self.directories[self.parent(node)]
        return b"/".join(reversed(names))


def _extend(column: array[int], added: array[int], change: Callable[[int], int]) -> None:
    """Add what `change` makes of each number, without having all of them as objects at once."""
    for start in range(0, len(added), _PART):
        column.extend(list(map(change, added[start : start + _PART])))


def printable(path: bytes) -> str:
    """Return a host path for a message: stray bytes and unprintable characters escaped, on one
    line.
    """
    text = path.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def some_paths(paths: list[bytes], most: int = 3) -> str:
    """Return the first few of the paths, and how many more there are."""
    shown = ", ".join(printable(path) for path in paths[:most])
    more = len(paths) - most
    return f"{shown} and {more} more" if more > 0 else shown
