"""Identities: which of the files and directories that were served is now somewhere else.

There is nothing in a FAT that names a file but its place and its clusters, and both are given away
again. So an entry that is new is one that has vanished if it has its first cluster, and either a
cluster of it that nobody wrote to, or its time of creation. A mistake costs no byte: a file is then
renamed and rewritten, or removed and created.

A name that was there and still is stays the same file, whatever its clusters are: that is how
programs save, by a temporary file that takes the old one's place. Only those that have changed
places among themselves are told by their clusters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from .directories import Directory
from .entries import Entry
from .snapshot import Snapshot, Touched
from .volume import Volume
from .walk import Walk, cycles

_DOT_BYTES = 32


class Identities:
    """The whereabouts of the nodes that are not in their places, once all have been walked to."""

    def __init__(self, volume: Volume, snapshot: Snapshot, touched: Touched, walk: Walk) -> None:
        self._volume = volume
        self._snapshot = snapshot
        self._touched = touched
        self._walk = walk
        self.created: list[Entry] = []
        self.files: list[tuple[Entry, int]] = []
        """Files that were served and may have changed: the entry as it is now, and the node."""
        self._settle_directories()
        self._settle_files()

    def removed(self, doubtful: Collection[int] = ()) -> Iterator[int]:
        """Yield the nodes that are nowhere, directories before what was in them.

        Those that are `doubtful` are left out, and all that was in them.
        """
        tree, walk = self._volume.tree, self._walk
        waiting = list(walk.vanished)
        while waiting:
            node = waiting.pop()
            if node in walk.identified or node in doubtful:
                continue
            yield node
            if tree.is_directory(node):
                waiting += tree.children(tree.ordinal(node))

    def _settle_directories(self) -> None:
        walk, tree = self._walk, self._volume.tree
        for entry in walk.new:  # more come while we look into these
            if entry.is_directory:
                node = self._candidate(entry)
                if node is not None:
                    walk.identified.add(node)
                ordinal = None if node is None else tree.ordinal(node)
                walk.enter(Directory(entry, entry.parent, ordinal))
                if node is None:
                    self.created.append(entry)

    def _settle_files(self) -> None:
        walk = self._walk
        self.files = list(self._unswapped())
        empty: list[Entry] = []
        for entry in walk.new:
            if entry.is_directory:
                continue
            if not entry.first:
                empty.append(entry)
                continue
            node = self._candidate(entry)
            if node is None:
                self.created.append(entry)
            else:
                walk.identified.add(node)
                self.files.append((entry, node))
        self._settle_empty(empty)

    def _settle_empty(self, entries: list[Entry]) -> None:
        """Tell empty files by the time of their creation, where only one was created then."""
        served: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
        here: defaultdict[tuple[int, int, int], list[Entry]] = defaultdict(list)
        if entries:
            for gone in self.removed():
                if not self._volume.tree.is_directory(gone) and not self._volume.tree.sizes[gone]:
                    served[self._volume.entry(gone).created].append(gone)
        for entry in entries:
            here[entry.created].append(entry)
        for created, found in here.items():
            nodes = served.get(created, [])
            by_name = {self._volume.entry(node).name: node for node in nodes}
            is_clear = len(nodes) == len(found) == 1
            for entry in found:
                node = nodes[0] if is_clear else by_name.get(entry.name)
                if node is None or node in self._walk.identified:
                    self.created.append(entry)
                else:
                    self._walk.identified.add(node)
                    self.files.append((entry, node))

    def _unswapped(self) -> Iterator[tuple[Entry, int]]:
        """Yield the files in their places, those that have changed them with the right nodes."""
        matched = dict(
            zip((node for _, node in self._walk.matched), self._walk.matched, strict=True)
        )
        actual: dict[int, int] = {}
        for node, (entry, _) in matched.items():
            found = self._volume.starting_at(entry.first)
            if found not in {None, node} and found in matched and self._is_same(entry, found):
                actual[node] = found
        turned = cycles(actual)
        for node, (entry, _) in matched.items():
            yield entry, actual[node] if node in turned else node

    def _candidate(self, entry: Entry) -> int | None:
        """Return the vanished node that a new entry is."""
        node = self._volume.starting_at(entry.first)
        if (
            node is None
            or self._volume.tree.is_directory(node) != entry.is_directory
            or not self._walk.is_vanished(node)
            or not self._is_same(entry, node)
        ):
            return None
        return node

    def _is_same(self, entry: Entry, node: int) -> bool:
        """Return whether an entry with the first cluster of a node is that node."""
        volume = self._volume
        first, count = volume.run(node)
        here, length = entry.chain[0]
        if here != first:
            return False
        start, end = volume.offset(first), volume.offset(first + min(count, length))
        if self._touched.leaves_one(start, end, volume.cluster_bytes):
            return True
        if entry.created == volume.entry(node).created:
            return True
        return entry.is_directory and (
            self._snapshot.read(start, _DOT_BYTES) == volume.read(start, _DOT_BYTES)
        )
