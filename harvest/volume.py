"""The volume that was served: places of tables and clusters on the disk, and who they were for.

All offsets are bytes of the disk, partition table included.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from ..synth.fat.plan import FatLayout
from ..synth.fat.table import FIRST_CLUSTER
from ..synth.image.partition import FIRST_BYTE
from ..synth.tree.columns import Tree
from .entries import Entry, parsed

Read = Callable[[int, int], bytes]
_MOST_KEPT = 64  # directories; few are asked for twice


class Volume:
    """A layout and its tree, as a reader of the disk that was served finds them."""

    def __init__(self, layout: FatLayout, tree: Tree, read: Read, size: int) -> None:
        geometry = layout.geometry
        sector_bytes = geometry.sector_bytes
        self.layout = layout
        self.tree = tree
        self.read = read
        """Reads the disk as it was served. Raises OSError for a file that the host has changed."""
        self.size = size
        """Of the whole disk."""
        self.start = 0 if layout.options.partition == "none" else FIRST_BYTE
        self.cluster_bytes = geometry.cluster_bytes
        self.end_cluster = FIRST_CLUSTER + geometry.cluster_count
        """The first number that is no cluster's."""
        self.table_bytes = geometry.table_sectors * sector_bytes
        first = self.start + geometry.reserved_sectors * sector_bytes
        self.tables = (first, first + self.table_bytes)
        self.root = first + 2 * self.table_bytes
        """The start of the root directory of a FAT12 or FAT16."""
        self.root_bytes = geometry.root_sectors * sector_bytes
        self.data = self.root + self.root_bytes
        """The start of the first cluster."""
        self.first_file = FIRST_CLUSTER + layout.directory_starts[-1]
        self.first_free = self.first_file + layout.file_starts[-1]
        self._entries: dict[int, list[Entry]] = {}

    def offset(self, cluster: int) -> int:
        """Return where a cluster starts."""
        return self.data + (cluster - FIRST_CLUSTER) * self.cluster_bytes

    def cluster(self, offset: int) -> int:
        """Return the cluster that holds a byte."""
        return FIRST_CLUSTER + (offset - self.data) // self.cluster_bytes

    def run(self, node: int) -> tuple[int, int]:
        """Return the first cluster of a node's content and their number; 0 is the first of none."""
        if self.tree.is_directory(node):
            starts, at, first = self.layout.directory_starts, self.tree.ordinal(node), FIRST_CLUSTER
        else:
            starts, at, first = self.layout.file_starts, node, self.first_file
        count = starts[at + 1] - starts[at]
        return (first + starts[at] if count else 0), count

    def owner(self, cluster: int) -> int | None:
        """Return the node whose content a cluster held."""
        if cluster < self.first_file:
            at = bisect_right(self.layout.directory_starts, cluster - FIRST_CLUSTER) - 1
            return self.tree.directories[at]
        if cluster < self.first_free:
            return bisect_right(self.layout.file_starts, cluster - self.first_file) - 1
        return None

    def starting_at(self, cluster: int) -> int | None:
        """Return the node whose content started with a cluster."""
        if not FIRST_CLUSTER <= cluster < self.first_free:
            return None
        node = self.owner(cluster)
        return node if node is not None and self.run(node)[0] == cluster else None

    def owners(self, first: int, last: int) -> Iterator[int]:
        """Yield the nodes whose content was in some of the clusters [first, last)."""
        directories, files = self.layout.directory_starts, self.layout.file_starts
        if first < self.first_file:
            low = bisect_right(directories, first - FIRST_CLUSTER) - 1
            high = bisect_left(directories, min(last, self.first_file) - FIRST_CLUSTER)
            for at in range(low, high):
                if directories[at] < directories[at + 1]:
                    yield self.tree.directories[at]
        first, last = max(first, self.first_file), min(last, self.first_free)
        if first < last:
            low = bisect_right(files, first - self.first_file) - 1
            for node in range(low, bisect_left(files, last - self.first_file)):
                if files[node] < files[node + 1]:
                    yield node

    def entries(self, ordinal: int) -> list[Entry]:
        """Return the entries of a directory as they were served, in the order of its nodes."""
        found = self._entries.get(ordinal)
        if found is None:
            first, count = self.run(self.tree.directories[ordinal])
            if count:
                data = self.read(self.offset(first), count * self.cluster_bytes)
            else:
                data = self.read(self.root, self.root_bytes)
            found = parsed(data).entries
            if len(self._entries) >= _MOST_KEPT:
                del self._entries[next(iter(self._entries))]
            self._entries[ordinal] = found
        return found

    def entry(self, node: int) -> Entry:
        """Return the entry of a node other than the root as it was served."""
        ordinal = self.tree.parent(node)
        return self.entries(ordinal)[node - self.tree.children(ordinal).start]

    def path(self, node: int) -> tuple[str, ...]:
        """Return the names on the disk that led to a node as it was served."""
        names: list[str] = []
        while node:
            names.append(self.entry(node).name)
            node = self.tree.directories[self.tree.parent(node)]
        return tuple(reversed(names))
