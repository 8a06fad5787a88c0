"""The continuation area: which entries stand where in it, and where it is between directories.

It holds what records have no room for, and comes in runs of blocks, one behind the directories of
each level that has such entries. So a reader that goes forward only, as libarchive does, has a
directory's name before it comes to the directory. Blocks of directories and blocks of the area are
each counted by themselves:

    directories   0 1 2     3 4 5 6       7 8
    area                0             1 2
    on the image  0 1 2 3   4 5 6 7   8 9 10 11     (from the first block of both)
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from .records import BLOCK_BYTES


@dataclass
class Continuations:
    """The nodes that have entries in the area, and the places of these. Offsets in bytes."""

    end: int
    """The first byte that is free."""
    nodes: array[int] = field(default_factory=partial(array, "I"))
    """Ascending."""
    offsets: array[int] = field(default_factory=partial(array, "Q"))
    named: set[int] = field(default_factory=set)
    """The nodes, of `nodes`, whose names are in their directory records."""
    directory_ends: array[int] = field(default_factory=partial(array, "I"))
    """The blocks of directories before each run of the area."""
    area_ends: array[int] = field(default_factory=partial(array, "I"))
    """The blocks of the area up to the end of each run."""

    def add(self, node: int, parts: Sequence[Sequence[bytes]]) -> None:
        """Find a place for a node's entries, in parts that stand in a block each. Nodes come in
        order.
        """
        total = sum(len(entry) for part in parts for entry in part)
        start = self.end
        if start % BLOCK_BYTES + total > BLOCK_BYTES:
            start = -(-start // BLOCK_BYTES) * BLOCK_BYTES
        self.nodes.append(node)
        self.offsets.append(start)
        self.end = start + (len(parts) - 1) * BLOCK_BYTES + sum(map(len, parts[-1]))

    def end_level(self, directory_blocks: int) -> None:
        """End the run of a level, if it has one, behind so many blocks of directories."""
        if self.blocks > (self.area_ends[-1] if self.area_ends else 0):
            self.directory_ends.append(directory_blocks)
            self.area_ends.append(self.blocks)
            self.end = self.blocks * BLOCK_BYTES

    def offset(self, node: int) -> int:
        """Return where a node's entries start; it must have some."""
        return self.offsets[bisect_left(self.nodes, node)]

    @property
    def blocks(self) -> int:
        """Return how many blocks the area takes."""
        return -(-self.end // BLOCK_BYTES)

    def directory_place(self, block: int) -> int:
        """Return where a block of the directories is among the blocks of both."""
        before = bisect_right(self.directory_ends, block)
        return block + self.area_ends[before - 1] if before else block

    def area_place(self, block: int) -> int:
        """Return where a block of the area is among the blocks of both."""
        return block + self.directory_ends[bisect_right(self.area_ends, block)]

    def runs(self, directory_blocks: int) -> Iterator[tuple[range, range]]:
        """Yield what stands in a row: blocks of the directories, then blocks of the area."""
        directory_start = area_start = 0
        for directory_end, area_end in zip(self.directory_ends, self.area_ends, strict=True):
            yield range(directory_start, directory_end), range(area_start, area_end)
            directory_start, area_start = directory_end, area_end
        yield range(directory_start, directory_blocks), range(0)
