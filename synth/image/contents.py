"""The contents of the files, one after the other, each from the start of a block; never stored."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

from ...export import Batch, Extent, FileRun, Hole, Kind, Piece, Range, whole_sectors
from ..tree.columns import Tree, printable
from .files import Files, FileSource, OpenedFiles
from .section import OpenSection, Region, Section

# Up to so many numbers each reader has as objects: comparing those of an array makes one each time.
_MOST_LISTED = 2048


class Contents(Section):
    """The section of file contents, for any format that lays files out in runs of whole blocks.

    `starts` is cumulative over the nodes: node n occupies the blocks from starts[n] up to
    starts[n + 1], none if it is empty or no file. A block is `block_bytes` long, a power of two.
    `sizes` are those of the tree unless files are left out here, which then have none.
    """

    def __init__(
        self,
        tree: Tree,
        source: FileSource,
        starts: array[int],
        block_bytes: int,
        sizes: Sequence[int] | None = None,
    ) -> None:
        self.size = starts[-1] * block_bytes
        self.tree = tree
        self.sources = (source,)
        self.starts = starts
        self.sizes = tree.sizes if sizes is None else sizes
        self.block_bytes = block_bytes

    def open(self, files: OpenedFiles) -> OpenContents:
        """See `Section.open`."""
        return OpenContents(self, files.of(self.sources[0]))

    def file_name(self, number: int) -> str:
        """See `Section.file_name`."""
        return printable(self.tree.path(number - 1)) if 0 < number <= len(self.sizes) else ""

    def regions(self) -> Iterator[Region]:
        """Yield one region a file, its slack included; what aligns the next one is a region,
        too.
        """
        starts, block_bytes = self.starts, self.block_bytes
        for node, size in enumerate(self.sizes):
            offset, end = starts[node] * block_bytes, starts[node + 1] * block_bytes
            length = -(-size // block_bytes) * block_bytes
            if length:
                yield Region(offset, length, Kind.FILE, printable(self.tree.path(node)))
            if offset + length < end:
                gap = end - offset - length
                yield Region(offset + length, gap, Kind.RESERVED, "up to a whole page")


class OpenContents(OpenSection):
    """The same with open files."""

    def __init__(self, contents: Contents, files: Files) -> None:
        self.size = contents.size
        self._files = files
        self._batch = files.batches()
        self._sparse = contents.tree.sparse
        self._block_bytes = contents.block_bytes
        self._shift = contents.block_bytes.bit_length() - 1
        starts, sizes = contents.starts, contents.sizes
        is_small = len(starts) <= _MOST_LISTED
        self._starts: Sequence[int] = list(starts) if is_small else starts
        self._sizes: Sequence[int] = list(sizes) if is_small else sizes

    def _node_at(self, offset: int) -> tuple[int, int]:
        """Return the node whose blocks hold a byte of the section, and which byte of the node it
        is.

        Nodes without blocks share their start with the next one: of [0, 3, 3, 3, 5], block 3 is
        node 3's, and bisection finds the last.
        """
        node = bisect_right(self._starts, offset >> self._shift) - 1
        return node, offset - (self._starts[node] << self._shift)

    def pieces(self, offset: int, length: int) -> list[Piece]:
        node, inside = self._node_at(offset)
        if inside + length <= self._sizes[node]:
            return [self._files.piece(node, inside, length)]
        pieces: list[Piece] = []
        for start, share, found, size in self._shares(offset, length):
            used = min(max(size - start, 0), share)
            if used:
                pieces.append(self._files.piece(found, start, used))
            if used < share:
                pieces.append(Hole(share - used))
        return pieces

    def _shares(self, offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the parts of a range by node: the first byte in the node, length, node, its
        size.
        """
        node, inside = self._node_at(offset)
        starts, shift = self._starts, self._shift
        while length:
            share = min((starts[node + 1] - starts[node] << shift) - inside, length)
            yield inside, share, node, self._sizes[node]
            length -= share
            inside = 0
            node += 1
            if length and starts[node] == starts[node + 1]:  # maybe the first of a million
                node = bisect_right(starts, starts[node], node) - 1

    def read_simple(self, offset: int, length: int) -> bytes | None:
        """Return a range of one file, checked; None for any other, and for one that fails."""
        node, position = self._node_at(offset)
        if position + length > self._sizes[node]:
            return None
        try:
            return self._files.read(node, position, length)
        except OSError:  # whoever reads it again will hear why
            return None

    def read_batch(
        self,
        ranges: Sequence[Range],
        origin: int,
        lends: bool,
        read_other: Callable[[int, int], bytes | None],
    ) -> Batch:
        """Return the data of some ranges of an image in which the section starts at `origin`.

        One call answers hundreds of reads, and most are within one file. The data of any other
        range is what `read_other` returns.
        """
        batch = self._batch
        batch.begin(lends)
        append, view_of, copy = batch.buffers.append, batch.views.get, batch.read
        starts, sizes, shift, section_bytes = self._starts, self._sizes, self._shift, self.size
        for offset, length in ranges:
            inside = offset - origin
            if not 0 <= inside < section_bytes:
                append(read_other(offset, length))
                batch.may_have_gaps = True
                continue
            node = bisect_right(starts, inside >> shift) - 1  # as `_node_at`, without a call
            position = inside - (starts[node] << shift)
            end, size = position + length, sizes[node]
            if end <= size:
                view = view_of(node)
                append(view[position:end] if view else copy(node, position, length))
            elif position < size and inside + length <= starts[node + 1] << shift:
                data = copy(node, position, size - position)
                append(data and data.ljust(length, b"\0"))
            else:
                append(read_other(offset, length))
                batch.may_have_gaps = True
        return batch

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        end = offset + length
        first, _ = self._node_at(offset)
        sparse = self._sparse
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
        """Yield what the host file system says of a file's holes, in [offset, end) of this
        section.
        """
        block = self._block_bytes
        base = self._starts[node] * block
        for data_start, data_end in self._files.data_runs(node, offset - base):
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

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        """See `Reader.files`: a file's number is its node's and one more."""
        for start, share, node, size in self._shares(offset, length):
            used = min(max(whole_sectors(size) - start, 0), share)
            if used:
                yield FileRun(used, node + 1)
            if used < share:
                yield FileRun(share - used, 0)
