"""The allocation table, computed: every chain is a run of clusters, so an entry is a formula.

Entry c holds c + 1, but for the last cluster of a chain, which holds the end mark, and for free
clusters, which hold 0 (FATGEN, "FAT Data Structure"). Nothing is stored: a request to a FAT32 is
filled with consecutive numbers by copying, then the ends of the chains within it are marked.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache

from ...export import Extent, Hole, Kind, Piece, whole_sectors
from ..image.section import Computed, Region

FIRST_CLUSTER = 2
_END_MARKS = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFF_FFFF}
_PART_BYTES = 1 << 20  # what is worked out at once stays in a processor's cache
_LOW_HALF = 1 << 16  # consecutive entries that differ in their lower half only


@cache
def _count_up() -> bytes:
    """Return the entries 0, 1, ..., 65535."""
    return struct.pack(f"<{_LOW_HALF}I", *range(_LOW_HALF))


def consecutive(first: int, last: int) -> bytearray:
    """Return FAT32 entries that hold the numbers first, first + 1, ..., last - 1."""
    entries = bytearray()
    while first < last:
        high, low = divmod(first, _LOW_HALF)
        count = min(last - first, _LOW_HALF - low)
        run = bytearray(memoryview(_count_up())[4 * low : 4 * (low + count)])
        if high:
            run[2::4] = bytes((high & 0xFF,)) * count
            if high > 0xFF:
                run[3::4] = bytes((high >> 8,)) * count
        entries += run
        first += count
    return entries


class Table(Computed):
    """One FAT of a volume. Both copies can be this same object.

    `chains` are columns of cumulative cluster counts, one after the other from cluster 2: within
    a column, chain k runs from column[k] up to column[k + 1], relative to the column's start, and
    may be empty. `size` is in bytes and covers at least every cluster.
    """

    kind = Kind.TABLE

    def __init__(
        self, fat_bits: int, media: int, chains: Sequence[array[int]], size: int, name: str
    ) -> None:
        self.size = size
        self._fat_bits = fat_bits
        self._name = name
        self._columns: list[tuple[int, array[int]]] = []
        self._used = FIRST_CLUSTER
        for column in chains:
            self._columns.append((self._used, column))
            self._used += column[-1]
        self._used_bytes = min(whole_sectors(-(-self._used * fat_bits // 8)), size)
        self._end_mark = _END_MARKS[fat_bits]
        # Entry 0 repeats the media byte, all other bits set. Entry 1 is an end mark whose top bits
        # say: unmounted cleanly, no errors.
        self._reserved = (self._end_mark & ~0xFF | media, self._end_mark)

    def pieces(self, offset: int, length: int) -> list[Piece]:
        used = min(max(self._used_bytes - offset, 0), length)
        if not used:
            return [Hole(length)]
        starts = range(offset, offset + used, _PART_BYTES)
        pieces: list[Piece] = [
            self._bytes(start, min(_PART_BYTES, offset + used - start)) for start in starts
        ]
        if used < length:
            pieces.append(Hole(length - used))
        return pieces

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        used = min(max(self._used_bytes - offset, 0), length)
        if used:
            yield Extent(used, False, Kind.TABLE)
        if used < length:
            yield Extent(length - used, True, Kind.TABLE)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.TABLE, self._name)

    def _bytes(self, offset: int, length: int) -> bytes:
        """Return a range of the used part, in whose last sector the rest is zeros."""
        first = offset * 8 // self._fat_bits & ~1  # FAT12 packs pairs
        last = -(-(offset + length) * 8 // self._fat_bits)
        packed: bytes | bytearray
        if self._fat_bits == 32:
            packed = self._packed(first, min(last, self._used))
        elif self._fat_bits == 16:
            packed = struct.pack(f"<{last - first}H", *self._entries(first, last))
        else:
            packed = pack_12(self._entries(first, last))
        skip = offset - first * self._fat_bits // 8
        return bytes(memoryview(packed)[skip : skip + length]).ljust(length, b"\0")

    def _packed(self, first: int, last: int) -> bytearray:
        """Return the entries [first, last) of a FAT32, of which none is free."""
        entries = consecutive(first + 1, last + 1)
        mark = self._end_mark.to_bytes(4, "little")
        for end in self._ends(first, last):
            entries[4 * (end - first) : 4 * (end - first) + 4] = mark
        for cluster in range(first, min(last, FIRST_CLUSTER)):
            at = 4 * (cluster - first)
            entries[at : at + 4] = self._reserved[cluster].to_bytes(4, "little")
        return entries

    def _entries(self, first: int, last: int) -> list[int]:
        """Return the entries [first, last) of a FAT12 or FAT16, which are few."""
        used = max(min(last, self._used), first)
        entries = list(range(first + 1, used + 1)) + [0] * (last - used)
        for end in self._ends(first, used):
            entries[end - first] = self._end_mark
        for cluster in range(first, min(last, FIRST_CLUSTER)):
            entries[cluster - first] = self._reserved[cluster]
        return entries

    def _ends(self, first: int, last: int) -> Iterator[int]:
        """Yield the clusters in [first, last) that end a chain, some more than once."""
        for base, column in self._columns:
            # Chain k ends at cluster base + column[k + 1] - 1.
            low = bisect_left(column, first - base + 1, 1)
            high = bisect_right(column, last - base, low)
            is_dense = high - low <= last - first
            for end in column[low:high] if is_dense else _distinct(column, low, high):
                yield base + end - 1


def _distinct(column: array[int], low: int, high: int) -> Iterator[int]:
    """Yield the numbers of a sorted column from `low` up to `high`, each once; a million chains
    may be empty and end where one that isn't does.
    """
    while low < high:
        yield column[low]
        low = bisect_right(column, column[low], low, high)


def pack_12(entries: Sequence[int]) -> bytes:
    """Return entries of 12 bits, two in three bytes, from an even one on."""
    packed = bytearray()
    for at in range(0, len(entries), 2):
        pair = entries[at] | (entries[at + 1] << 12 if at + 1 < len(entries) else 0)
        packed += pair.to_bytes(3, "little")
    return bytes(packed)
