"""The origins of a tree's nodes on the host: in which directory each is, by which name.

No format asks for them: who reads files does, and who tells the user where something is.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .columns import Tree


@dataclass(frozen=True)
class Origins:
    """Columns beside those of the tree. Filled by a scan; empty if the tree has another source."""

    home_names: list[bytes] = field(default_factory=list)
    """The host's directories that hold nodes, those of the roots first: a root by its absolute
    path, any other by its name in its parent. A *home*'s place here is its number."""
    home_parents: array[int] = field(default_factory=partial(array, "i"))
    """The home that holds each home; -1 for a root."""
    held: dict[int, int] = field(default_factory=dict, compare=False)
    """Descriptors of roots by home, to open from; whoever adds them closes them after the tree."""
    node_homes: array[int] = field(default_factory=partial(array, "I"))
    """The home of each node; the root's says nothing."""
    host_names: dict[int, bytes] = field(default_factory=dict)
    """The names on the host of those nodes that have another one in the tree."""
    merged_homes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The homes of those directories that are made of several, of none, or of a graft, and of the
    root: by node, in the order in which they were merged. Any other is the home at its place."""
    ctimes_ns: array[int] = field(default_factory=partial(array, "q"))
    """st_ctime of each node: whatever is done to a file later sets it."""

    def add_home(self, parent: int, name: bytes) -> int:
        """Return the number of a new home."""
        self.home_names.append(name)
        self.home_parents.append(parent)
        return len(self.home_names) - 1

    def home_path(self, home: int) -> bytes:
        """Return where a home is on the host."""
        names: list[bytes] = []
        while home >= 0:
            names.append(self.home_names[home])
            home = self.home_parents[home]
        return os.path.join(*reversed(names))


def host_name(tree: Tree, node: int) -> bytes:
    """Return a node's name on the host."""
    return tree.origins.host_names.get(node) or tree.name(node)


def host_path(tree: Tree, node: int) -> bytes:
    """Return where a node other than the root is on the host."""
    origins = tree.origins
    return os.path.join(origins.home_path(origins.node_homes[node]), host_name(tree, node))
