"""Directory entries: the interface of what makes their slots, and the way that any name can go.

Entries are made name by name here, and column by column in `bulk`, which is quicker for very many
and leaves names that 8.3 makes exceptions for to this way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from operator import sub
from typing import NamedTuple

from ..lru import LruCache
from ..tree.columns import Tree
from .names import checksums, decode, short_names
from .slots import attributes_of, long_slots, short_slots
from .times import stamps

_SHORT_NAME_BYTES = 64  # about what one takes as an object in a list


class EntryColumns(NamedTuple):
    """The columns of a layout that entries are made from; see `FatDirectories`."""

    renamed: Mapping[int, str]
    slot_starts: array[int]
    cluster_starts: array[int]
    file_starts: array[int]
    first_directory_cluster: int
    first_file_cluster: int
    zone: tzinfo | None
    latest_ns: int | None
    attributes: array[int] | None
    """DIR_Attr by node; None: what the modes say."""


class EntryRenderer(ABC):
    """A way to make the entries of a tree's directories."""

    @abstractmethod
    def entries(self, ordinal: int, nodes: range) -> bytes | None:
        """Return all slots of some consecutive entries of a directory, at least one.

        None where this way makes no such entries: another one has to.
        """


class EntriesByName(EntryRenderer):
    """Makes any entries, one name after the other.

    The 8.3 names of a directory depend on each other; those of the latest directories are kept, up
    to `cache_bytes`.
    """

    def __init__(self, tree: Tree, columns: EntryColumns, cache_bytes: int) -> None:
        self._tree = tree
        self._columns = columns
        self._short_names: LruCache[list[bytes]] = LruCache(
            lambda names: _SHORT_NAME_BYTES * len(names), cache_bytes
        )

    def long_name(self, node: int) -> str:
        """Return the name of a node on the disk."""
        return self._columns.renamed.get(node) or decode(self._tree.name(node))

    def names_of(self, ordinal: int) -> list[bytes]:
        """Return the 8.3 names of a directory's entries, in order."""
        return self._short_names.get(ordinal, self._make_short_names)

    def _make_short_names(self, ordinal: int) -> list[bytes]:
        children = self._tree.children(ordinal)
        return short_names(self._long_names(children)) if children else []

    def entries(self, ordinal: int, nodes: range) -> bytes:
        """See `EntryRenderer.entries`. Never None."""
        tree, start, stop = self._tree, nodes.start, nodes.stop
        first = tree.children(ordinal).start
        shorts = self.names_of(ordinal)[start - first : stop - first]
        slot_starts = self._columns.slot_starts[start : stop + 1]
        names = self._long_names(nodes)
        counts = list(map(sub, slot_starts[1:], slot_starts))
        slots = [b""] * (2 * len(nodes))
        slots[0::2] = long_slots(names, counts, checksums(shorts))
        slots[1::2] = short_slots(
            shorts,
            self._attributes(nodes),
            stamps(tree.mtimes_ns[start:stop], self._columns.zone, self._columns.latest_ns),
            self._first_clusters(nodes),
            tree.sizes[start:stop],
        )
        return b"".join(slots)

    def _long_names(self, nodes: range) -> list[str]:
        joined = self._tree.joined_names(nodes.start, nodes.stop)
        names = decode(joined).split("/")
        if self._columns.renamed:
            renamed = self._columns.renamed.get
            names = [renamed(node) or name for node, name in zip(nodes, names, strict=True)]
        return names

    def _attributes(self, nodes: range) -> Sequence[int]:
        if self._columns.attributes is not None:
            return self._columns.attributes[nodes.start : nodes.stop]
        modes = self._tree.modes[nodes.start : nodes.stop]
        of_modes = {mode: attributes_of(mode) for mode in set(modes)}
        return [of_modes[mode] for mode in modes]

    def _first_clusters(self, nodes: range) -> list[int]:
        """Return where each node's contents start; 0 for an empty file."""
        tree, columns = self._tree, self._columns
        first = columns.first_file_cluster
        starts = columns.file_starts[nodes.start : nodes.stop]
        sizes = tree.sizes[nodes.start : nodes.stop]
        clusters = [first + start if size else 0 for start, size in zip(starts, sizes, strict=True)]
        below = bisect_left(tree.directories, nodes.start)
        while below < len(tree.directories) and (node := tree.directories[below]) < nodes.stop:
            clusters[node - nodes.start] = (
                columns.first_directory_cluster + columns.cluster_starts[below]
            )
            below += 1
        return clusters
