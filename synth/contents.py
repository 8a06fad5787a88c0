"""The contents of the files, one after the other, each from the start of a block; never stored."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from ..pieces import Extent, Hole, HostRuns, HostSlice, Kind, Piece
from .host import ScannedFiles
from .image import Region
from .tree import Tree, printable


class Contents:
    """The section of file contents, for any format that lays files out in runs of whole blocks.

    `starts` is cumulative over the nodes: node n occupies the blocks from starts[n] up to
    starts[n + 1], none if it is empty or no file. A block is `block_bytes` long, a power of two.
    `sizes` are those of the tree unless files are left out here, which then have none.
    """

    def __init__(
        self,
        tree: Tree,
        files: ScannedFiles,
        starts: array[int],
        block_bytes: int,
        sizes: Sequence[int] | None = None,
    ) -> None:
        self.size = starts[-1] * block_bytes
        self._tree = tree
        self.files = files
        self._starts = starts
        self._sizes = tree.sizes if sizes is None else sizes
        self._block_bytes = block_bytes

    @property
    def host_runs(self) -> HostRuns:
        """All of it."""
        shift = self._block_bytes.bit_length() - 1
        return HostRuns(self.files, 0, self.size, shift, self._starts, self._sizes)

    def pieces(self, offset: int, length: int) -> list[Piece]:
        starts, block_bytes = self._starts, self._block_bytes
        # Of nodes that start in one place all but the last are empty, and bisection finds the last.
        node = bisect_right(starts, offset // block_bytes) - 1
        inside = offset - starts[node] * block_bytes
        if inside + length <= self._sizes[node]:
            return [HostSlice(self.files, node, inside, length)]
        return self._many_pieces(node, inside, length)

    def _many_pieces(self, node: int, inside: int, length: int) -> list[Piece]:
        """The pieces from byte `inside` of `node` on, over file ends and slack."""
        pieces: list[Piece] = []
        starts = self._starts
        while length:
            size = self._sizes[node]
            if inside < size:
                share = min(size - inside, length)
                pieces.append(HostSlice(self.files, node, inside, share))
                inside += share
                length -= share
            slack = (starts[node + 1] - starts[node]) * self._block_bytes - inside
            if slack and length:
                share = min(slack, length)
                pieces.append(Hole(share))
                length -= share
            inside = 0
            node += 1
            if length and starts[node] == starts[node + 1]:  # maybe the first of a million
                node = bisect_right(starts, starts[node], node) - 1
        return pieces

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        end = offset + length
        first = bisect_right(self._starts, offset // self._block_bytes) - 1
        sparse = self._tree.sparse
        position = bisect_left(sparse, first)
        # Only sparse files are looked into; all between two of them is data.
        while offset < end:
            node = sparse[position] if position < len(sparse) else len(self._sizes)
            start = min(self._starts[node] * self._block_bytes, end)
            if offset < start:
                yield Extent(start - offset, False, Kind.FILE)
                offset = start
            if offset < end:
                node_end = min(self._starts[node + 1] * self._block_bytes, end)
                yield from self._sparse_extents(node, offset, node_end)
                offset = node_end
            position += 1

    def _sparse_extents(self, node: int, offset: int, end: int) -> Iterator[Extent]:
        """What the host file system says of a file's holes, in [offset, end) of this section."""
        block = self._block_bytes
        base = self._starts[node] * block
        for data_start, data_end in self.files.data_runs(node, offset - base):
            # Whole blocks: the host's holes may be finer than anybody's interest in them.
            start = min(max(base + data_start // block * block, offset), end)
            stop = min(max(base - (-data_end // block) * block, start), end)
            if offset < start:
                yield Extent(start - offset, True, Kind.FILE)
            if start < stop:
                yield Extent(stop - start, False, Kind.FILE)
            offset = stop
            if offset >= end:
                return
        if offset < end:
            yield Extent(end - offset, True, Kind.FILE)

    def regions(self) -> Iterator[Region]:
        """One region a file, its slack included; what aligns the next one is a region, too."""
        starts, block_bytes = self._starts, self._block_bytes
        for node, size in enumerate(self._sizes):
            offset, end = starts[node] * block_bytes, starts[node + 1] * block_bytes
            length = -(-size // block_bytes) * block_bytes
            if length:
                yield Region(offset, length, Kind.FILE, printable(self._tree.path(node)))
            if offset + length < end:
                gap = end - offset - length
                yield Region(offset + length, gap, Kind.RESERVED, "up to a whole page")
