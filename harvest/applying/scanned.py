"""Places on the host as a scan noted them in a tree."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from functools import cached_property

from ...synth.host.verdict import Scanned
from ...synth.tree.columns import Tree
from ...synth.tree.origins import host_name
from .places import HostHome, HostPlace


class ScannedPlaces:
    """See `Places`. `names` returns the names on the disk, as it was served, of all nodes in a
    directory, in their order, given its ordinal.
    """

    def __init__(self, tree: Tree, names: Callable[[int], Sequence[str]]) -> None:
        self._tree = tree
        self._names = names
        self._entries: dict[int, dict[str, int]] = {}
        self._origins = tree.origins
        self._canonical: dict[int, int] = {}

    def number(self, path: tuple[str, ...]) -> int | None:
        """See `Places`."""
        node: int | None = 0
        for name in path:
            if node is None or not self._tree.is_directory(node):
                return None
            ordinal = self._tree.ordinal(node)
            if ordinal not in self._entries:
                nodes = self._tree.children(ordinal)
                self._entries[ordinal] = dict(zip(self._names(ordinal), nodes, strict=True))
            node = self._entries[ordinal].get(name)
        return node

    def place(self, number: int) -> HostPlace:
        """See `Places`."""
        tree, origins = self._tree, self._origins
        scanned = None
        if stat.S_ISREG(tree.modes[number]):
            scanned = Scanned(
                tree.device(number),
                tree.inodes[number],
                tree.modes[number],
                tree.links[number],
                tree.sizes[number],
                tree.mtimes_ns[number],
                origins.ctimes_ns[number],
            )
        home, name = origins.node_homes[number], host_name(tree, number)
        return HostPlace(home, name, scanned, self._is_own(number, home, name))

    def sources(self, number: int) -> Sequence[int]:
        """See `Places`."""
        if number in self._origins.merged_homes:
            return self._origins.merged_homes[number]
        place = (self._origins.node_homes[number], host_name(self._tree, number))
        home = self._by_place.get(place)
        return () if home is None else (home,)

    def own_sources(self, number: int) -> Sequence[int]:
        """See `Places`."""
        return [
            home
            for home in self.sources(number)
            if self._origins.home_parents[home] >= 0
            and self._is_own(
                number, self._origins.home_parents[home], self._origins.home_names[home]
            )
        ]

    def home(self, home: int) -> HostHome:
        """See `Places`."""
        origins = self._origins
        inode = self._inodes.get(self._same(home))
        return HostHome(origins.home_parents[home], origins.home_names[home], inode)

    def descriptor(self, home: int) -> int:
        """See `Places`."""
        return self._origins.held[home]

    def _is_own(self, number: int, home: int, name: bytes) -> bool:
        """Return whether a node is what its directory has by a name that is its own."""
        tree = self._tree
        ordinal = tree.parent(number)
        above = {self._same(each) for each in self.sources(tree.directories[ordinal])}
        if self._same(home) not in above:
            return False
        own = tree.name(number)
        if name == own:
            return True
        # Of several sources, names that differ in case only are one, as they were first.
        if _folded(name) != _folded(own):
            return False
        homes = self._origins.node_homes
        return not any(
            homes[each] == home and host_name(tree, each) == name
            for each in tree.children(ordinal)
            if each != number
        )

    def _same(self, home: int) -> int:
        """Return the first number of a home, which has several where links have led to it."""
        if home not in self._canonical:
            parent, name = self._origins.home_parents[home], self._origins.home_names[home]
            if parent < 0:
                first = home
            elif name == b".":
                first = self._same(parent)
            else:
                first = self._firsts.setdefault((self._same(parent), name), home)
            self._canonical[home] = first
        return self._canonical[home]

    @cached_property
    def _firsts(self) -> dict[tuple[int, bytes], int]:
        return {}

    @cached_property
    def _by_place(self) -> dict[tuple[int, bytes], int]:
        """The homes by where they are."""
        parents, names = self._origins.home_parents, self._origins.home_names
        return dict(zip(zip(parents, names, strict=True), range(len(names)), strict=True))

    @cached_property
    def _inodes(self) -> dict[int, int]:
        """The inodes of homes that are directories of the tree, each made of that home alone."""
        tree = self._tree
        found = {}
        for node in tree.directories[1:]:
            if node not in self._origins.merged_homes:
                for home in self.sources(node):
                    found[self._same(home)] = tree.inodes[node]
        return found


def _folded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape").casefold()
