"""The allocation table, computed: every chain is a run of clusters, so an entry is a formula.

Entry c holds c + 1, but for the last cluster of a chain, which holds the end mark, and for free
clusters, which hold 0 (FATGEN, "FAT Data Structure"). Nothing is stored: a request is filled with
consecutive numbers by copying, then the ends of the chains within it are marked.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache

from ...pieces import Extent, Hole, Kind, Piece
from ..image import Region

ENTRY_BYTES = 4
FIRST_CLUSTER = 2
END_OF_CHAIN = struct.pack("<I", 0x0FFF_FFFF)
# Entry 0 repeats the media byte; entry 1 is an end mark whose top bits say: clean, no errors.
_RESERVED_ENTRIES = struct.pack("<II", 0x0FFF_FFF8, 0x0FFF_FFFF)

_LOW_HALF = 1 << 16  # consecutive entries that differ in their lower half only


@cache
def _count_up() -> bytes:
    """The entries 0, 1, ..., 65535."""
    return struct.pack(f"<{_LOW_HALF}I", *range(_LOW_HALF))


def consecutive(first: int, last: int) -> bytearray:
    """The entries that hold the numbers first, first + 1, ..., last - 1."""
    entries = bytearray()
    while first < last:
        high, low = divmod(first, _LOW_HALF)
        count = min(last - first, _LOW_HALF - low)
        run = bytearray(memoryview(_count_up())[low * ENTRY_BYTES : (low + count) * ENTRY_BYTES])
        if high:
            run[2::4] = bytes((high & 0xFF,)) * count
            if high > 0xFF:
                run[3::4] = bytes((high >> 8,)) * count
        entries += run
        first += count
    return entries


class Table32:
    """One FAT of a FAT32 volume. Both copies can be this same object.

    `chains` are columns of cumulative cluster counts, one after the other from cluster 2: within
    a column, chain k runs from column[k] up to column[k + 1], relative to the column's start, and
    may be empty. `size` is in bytes and covers at least every cluster.
    """

    def __init__(self, chains: Sequence[array[int]], size: int, name: str) -> None:
        self.size = size
        self._name = name
        self._columns: list[tuple[int, array[int]]] = []
        self._used = FIRST_CLUSTER
        for column in chains:
            self._columns.append((self._used, column))
            self._used += column[-1]

    def pieces(self, offset: int, length: int) -> list[Piece]:
        end = offset + length
        used_end = self._used * ENTRY_BYTES
        if offset >= used_end:
            return [Hole(length)]
        data_end = min(end, used_end)
        first, last = offset // ENTRY_BYTES, -(-data_end // ENTRY_BYTES)
        skip = offset - first * ENTRY_BYTES
        data = bytes(self._entries(first, last)[skip : skip + data_end - offset])
        return [data] if data_end == end else [data, Hole(end - data_end)]

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        used = min(max(self._used * ENTRY_BYTES - offset, 0), length)
        if used:
            yield Extent(used, False, Kind.TABLE)
        if used < length:
            yield Extent(length - used, True, Kind.TABLE)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.TABLE, self._name)

    def _entries(self, first: int, last: int) -> bytearray:
        """The entries [first, last), of which none is free."""
        entries = consecutive(first + 1, last + 1)
        for base, column in self._columns:
            # Chain k ends at entry base + column[k + 1] - 1.
            low = bisect_left(column, first - base + 1, 1)
            high = bisect_right(column, last - base, low)
            for end in column[low:high]:
                at = (base + end - 1 - first) * ENTRY_BYTES
                entries[at : at + ENTRY_BYTES] = END_OF_CHAIN
        if first < FIRST_CLUSTER:
            entries[: (FIRST_CLUSTER - first) * ENTRY_BYTES] = _RESERVED_ENTRIES[
                first * ENTRY_BYTES :
            ][: len(entries)]
        return entries
