"""Directories and files of the disk that was served that a guest has written to."""

from __future__ import annotations

from collections.abc import Collection

from .snapshot import Snapshot, Touched
from .volume import Volume

_PART_BYTES = 1 << 20


class Touches:
    """The directories and files that were written to, and the ways to them from the root."""

    def __init__(
        self, volume: Volume, snapshot: Snapshot, touched: Touched, rechained: Collection[int]
    ) -> None:
        self._volume = volume
        self._snapshot = snapshot
        self.directories: set[int] = set()
        """Ordinals of those whose bytes differ, where they were served."""
        self.files: set[int] = set()
        """Nodes of which some byte was written to, with whatever."""
        self._find_directories(touched)
        self._find_files(touched)
        self.below = self._ways({*rechained, *self.files})
        """By ordinal: the nodes in a directory that are touched, or have touched nodes below."""

    def _find_directories(self, touched: Touched) -> None:
        volume, tree = self._volume, self._volume.tree
        if any(self._differ(*each) for each in touched.within(volume.root, volume.data)):
            self.directories.add(0)
        first_file = volume.offset(volume.first_file)
        for start, end in touched.within(volume.data, first_file):
            for node in volume.owners(volume.cluster(start), volume.cluster(end - 1) + 1):
                own, count = volume.run(node)
                low = max(start, volume.offset(own))
                if self._differ(low, min(end, volume.offset(own + count))):
                    self.directories.add(tree.ordinal(node))

    def _differ(self, start: int, end: int) -> bool:
        return any(
            self._snapshot.read(at, min(_PART_BYTES, end - at))
            != self._volume.read(at, min(_PART_BYTES, end - at))
            for at in range(start, end, _PART_BYTES)
        )

    def _find_files(self, touched: Touched) -> None:
        volume = self._volume
        start, end = volume.offset(volume.first_file), volume.offset(volume.first_free)
        for low, high in touched.within(start, end):
            self.files.update(volume.owners(volume.cluster(low), volume.cluster(high - 1) + 1))

    def _ways(self, nodes: Collection[int]) -> dict[int, list[int]]:
        tree = self._volume.tree
        found: dict[int, set[int]] = {}
        for each in (*nodes, *(tree.directories[ordinal] for ordinal in self.directories)):
            node = each
            while node:
                ordinal = tree.parent(node)
                siblings = found.setdefault(ordinal, set())
                if node in siblings:
                    break
                siblings.add(node)
                node = tree.directories[ordinal]
        return {ordinal: sorted(each) for ordinal, each in found.items()}
