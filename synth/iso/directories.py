"""The directories and the path tables of a facet, rendered for the range that is asked for."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...export import Kind, Piece
from ..image.section import Computed, Region
from ..tree.columns import printable
from .continuations import Continuations
from .dates import NodeDates
from .facets import Facet, header_lengths
from .records import (
    BLOCK_BYTES,
    FLAG_DIRECTORY,
    FLAG_MULTI_EXTENT,
    MOST_EXTENT_BYTES,
    MOST_PARENT_NUMBER,
    PARENT,
    PATH_TABLE_RECORD_BIG,
    PATH_TABLE_RECORD_BYTES,
    PATH_TABLE_RECORD_LITTLE,
    ROOT_NUMBER,
    SELF,
    pack_directory_record,
)

_BLOCK_SHIFT = BLOCK_BYTES.bit_length() - 1


class FacetLayout(NamedTuple):
    """The places of a facet's parts. Blocks are counted from the start of the image."""

    path_order: array[int]
    """The ordinals of the directories in the order of the path table (ECMA-119, 6.9.1)."""
    path_offsets: array[int]
    """The start of each record of a path table, in that order, and the end of the last one."""
    directory_starts: array[int]
    """The blocks of all directories before each one, by ordinal, and of all."""
    continuations: Continuations | None
    """The continuation area, which stands between the directories; None without Rock Ridge."""
    first_directory_block: int
    little_table_block: int
    big_table_block: int
    renamed: dict[int, str]
    """The names by node that are others than the host's, where somebody wants to know."""

    @property
    def path_table_bytes(self) -> int:
        """Return the length of each path table."""
        return self.path_offsets[-1]

    @property
    def path_table_blocks(self) -> int:
        """Return the blocks of each path table."""
        return -(-self.path_table_bytes // BLOCK_BYTES)

    @property
    def directory_blocks(self) -> int:
        """Return the blocks of all directories, with the continuation area."""
        blocks = self.directory_starts[-1]
        return blocks + self.continuations.blocks if self.continuations else blocks

    def directory_extent(self, ordinal: int) -> tuple[int, int]:
        """Return the first block of a directory, and its length in bytes."""
        starts = self.directory_starts
        block, blocks = starts[ordinal], starts[ordinal + 1] - starts[ordinal]
        if self.continuations:
            block = self.continuations.directory_place(block)
        return self.first_directory_block + block, blocks * BLOCK_BYTES


class IsoDirectories(Computed):
    """A facet's directories, each in a run of whole blocks, by ordinal, as if nothing stood between
    them.

    `file_block` tells the first block of a file that isn't empty.
    """

    kind = Kind.DIRECTORY

    def __init__(
        self,
        facet: Facet,
        layout: FacetLayout,
        dates: NodeDates,
        file_block: Callable[[int], int],
    ) -> None:
        self.size = layout.directory_starts[-1] * BLOCK_BYTES
        self._facet = facet
        self._tree = facet.tree
        self._layout = layout
        self._dates = dates
        self._file_block = file_block

    def pieces(self, offset: int, length: int) -> list[Piece]:
        first = offset >> _BLOCK_SHIFT
        last = -(-(offset + length) >> _BLOCK_SHIFT)
        starts = self._layout.directory_starts
        ordinal = bisect_right(starts, first) - 1
        blocks: list[bytes] = []
        for block in range(first, last):
            while starts[ordinal + 1] <= block:
                ordinal += 1
            blocks.append(self._render(ordinal, block - starts[ordinal]))
        skip = offset - (first << _BLOCK_SHIFT)
        return [b"".join(blocks)[skip : skip + length]]

    def regions(self) -> Iterator[Region]:
        starts = self._layout.directory_starts
        for ordinal, node in enumerate(self._tree.directories):
            path = f"/{printable(self._tree.path(node))} ({self._facet.name})"
            blocks = starts[ordinal + 1] - starts[ordinal]
            yield Region(starts[ordinal] * BLOCK_BYTES, blocks * BLOCK_BYTES, Kind.DIRECTORY, path)

    def _render(self, ordinal: int, block: int) -> bytes:
        """Return a block of a directory."""
        found = self._facet.arrangement(ordinal)
        firsts = found.first_records
        first = firsts[block]
        last = firsts[block + 1] if block + 1 < len(firsts) else len(found.nodes)
        records = [] if block else self._headers(ordinal)
        rock_ridge, sizes = self._facet.rock_ridge, self._tree.sizes
        start = self._tree.children(ordinal).start
        nodes = found.nodes
        part = 0  # of a file of several extents, whose records may have started in the last block
        while first < last and part < first and nodes[first - part - 1] == nodes[first]:
            part += 1
        for record in range(first, last):
            node = nodes[record]
            if record > first:
                part = part + 1 if node == nodes[record - 1] else 0
            use = b""
            if rock_ridge:
                bare = found.bare_lengths[node - start]
                use = rock_ridge.system_use(node, bare, self._layout.first_directory_block)
            flags = 0
            if self._tree.is_directory(node):
                at, length = self._layout.directory_extent(self._tree.ordinal(node))
                flags = FLAG_DIRECTORY
            elif size := sizes[node] - part * MOST_EXTENT_BYTES:
                at = self._file_block(node) + (part * MOST_EXTENT_BYTES >> _BLOCK_SHIFT)
                length = size
                if size > MOST_EXTENT_BYTES:
                    length, flags = MOST_EXTENT_BYTES, FLAG_MULTI_EXTENT
            else:
                at = length = 0
            identifier = found.identifiers[node - start]
            date = self._dates.date(node)
            records.append(pack_directory_record(identifier, at, length, date, flags, use))
        return b"".join(records).ljust(BLOCK_BYTES, b"\0")

    def _headers(self, ordinal: int) -> list[bytes]:
        """Return the records of `.` and `..`; the root's parent is the root (ECMA-119, 6.8.2.2)."""
        rock_ridge = self._facet.rock_ridge
        node = self._tree.directories[ordinal]
        parent = self._tree.parent(node) if node else 0
        records: list[bytes] = []
        for identifier, other in ((SELF, ordinal), (PARENT, parent)):
            use = b""
            other_node = self._tree.directories[other]
            if rock_ridge:
                is_first = identifier == SELF and not ordinal
                first_block = self._layout.first_directory_block if is_first else None
                use = rock_ridge.header_use(other_node, first_block)
            extent = self._layout.directory_extent(other)
            date = self._dates.date(other_node)
            records.append(pack_directory_record(identifier, *extent, date, FLAG_DIRECTORY, use))
        lengths = header_lengths(ordinal, rock_ridge is not None)
        assert tuple(map(len, records)) == lengths
        return records

    def root_record(self) -> bytes:
        """Return the root's record in the volume descriptor."""
        extent = self._layout.directory_extent(0)
        return pack_directory_record(SELF, *extent, self._dates.date(0), FLAG_DIRECTORY)


class PathTable(Computed):
    """The section of one path table, little-endian (type L) or big-endian (type M)."""

    kind = Kind.TABLE

    def __init__(self, facet: Facet, layout: FacetLayout, *, big_endian: bool) -> None:
        self.size = layout.path_table_blocks * BLOCK_BYTES
        self._facet = facet
        self._tree = facet.tree
        self._layout = layout
        record = PATH_TABLE_RECORD_BIG if big_endian else PATH_TABLE_RECORD_LITTLE
        self._pack = record.pack
        self._name = f"path table {'M' if big_endian else 'L'} ({facet.name})"
        self._numbers: array[int] | None = None

    def pieces(self, offset: int, length: int) -> list[Piece]:
        offsets = self._layout.path_offsets
        end = offset + length
        at = bisect_right(offsets, offset) - 1
        first = offsets[at]
        records: list[bytes] = []
        while at < len(offsets) - 1 and offsets[at] < end:
            records.append(self._record(self._layout.path_order[at]))
            at += 1
        data = b"".join(records)[offset - first :][:length]
        return [data.ljust(length, b"\0")]

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.TABLE, self._name)

    def _record(self, ordinal: int) -> bytes:
        node = self._tree.directories[ordinal]
        identifier = self._facet.identifier(node) if node else SELF
        parent = self._number(self._tree.parent(node)) if node else ROOT_NUMBER
        if parent > MOST_PARENT_NUMBER:
            parent = ROOT_NUMBER  # as mkisofs has it
        block, _ = self._layout.directory_extent(ordinal)
        record = self._pack(len(identifier), 0, block, parent) + identifier
        return record + b"\0" if len(identifier) & 1 else record

    def _number(self, ordinal: int) -> int:
        """Return the place of a directory in the table, from 1."""
        if self._numbers is None:
            numbers = array("I", bytes(4 * len(self._layout.path_order)))
            for number, each in enumerate(self._layout.path_order, 1):
                numbers[each] = number
            self._numbers = numbers
        return self._numbers[ordinal]


def path_record_bytes(identifier_bytes: int) -> int:
    """Return the length of a path table record."""
    return PATH_TABLE_RECORD_BYTES + identifier_bytes + (identifier_bytes & 1)
