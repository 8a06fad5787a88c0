"""The allocation table as a guest left it, read a page at a time."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator

from ..synth.fat.table import FIRST_CLUSTER
from .snapshot import Snapshot, Touched
from .volume import Read, Volume

_PAGE_ENTRIES = 1 << 14
_MOST_PAGES = 256  # 16 MiB with FAT32
_USED_BITS = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFF_FFFF}
_ENDS = 8  # the highest values end a chain; the one before them marks a bad cluster


class Table:
    """The first table of a snapshot; `copies_differ` compares it with the second."""

    def __init__(self, volume: Volume, snapshot: Snapshot, touched: Touched) -> None:
        self._volume = volume
        self._snapshot = snapshot
        self._touched = touched
        self._bits = volume.layout.geometry.fat_bits
        self._mask = _USED_BITS[self._bits]
        self._pages: dict[int, array[int]] = {}

    def entry(self, cluster: int) -> int:
        """Return what the table says of a cluster, without bits that mean nothing."""
        page, at = divmod(cluster, _PAGE_ENTRIES)
        entries = self._pages.get(page)
        if entries is None:
            entries = self._page(page, self._snapshot.read, self._volume.tables[0])
            if len(self._pages) >= _MOST_PAGES:
                del self._pages[next(iter(self._pages))]
            self._pages[page] = entries
        return entries[at] & self._mask

    def is_end(self, value: int) -> bool:
        """Return whether a chain ends with the cluster that has this value."""
        return value > self._mask - _ENDS

    def fault(self, value: int) -> str | None:
        """Return why a value leads to no cluster; None if it does lead to one."""
        if FIRST_CLUSTER <= value < self._volume.end_cluster:
            return None
        if not value:
            return "a free cluster"
        if value == self._mask - _ENDS:
            return "a bad cluster"
        return f"cluster {value}, which the disk doesn't have"

    def changed_owners(self) -> set[int]:
        """Return the nodes of which some cluster's entry is not as it was served."""
        found: set[int] = set()
        volume = self._volume
        for page in self._touched_pages(volume.tables[:1]):
            here = self._page(page, self._snapshot.read, volume.tables[0])
            served = self._page(page, volume.read, volume.tables[0])
            if here == served:
                continue
            first = page * _PAGE_ENTRIES
            skip = 0
            for at, (one, other) in enumerate(zip(here, served, strict=True)):
                cluster = first + at
                if one == other or cluster < skip or (one ^ other) & self._mask == 0:
                    continue
                if FIRST_CLUSTER <= cluster < volume.first_free:
                    node = volume.owner(cluster)
                    assert node is not None
                    found.add(node)
                    skip = sum(volume.run(node))
        return found

    def copies_differ(self) -> int | None:
        """Return a cluster of which the two tables say different things, if there is one."""
        one, two = self._volume.tables
        for page in self._touched_pages(self._volume.tables):
            first = self._page(page, self._snapshot.read, one)
            second = self._page(page, self._snapshot.read, two)
            if first != second:
                for at, (here, there) in enumerate(zip(first, second, strict=True)):
                    cluster = page * _PAGE_ENTRIES + at
                    if (here ^ there) & self._mask and (
                        FIRST_CLUSTER <= cluster < self._volume.end_cluster
                    ):
                        return cluster
        return None

    def _touched_pages(self, tables: tuple[int, ...]) -> Iterator[int]:
        """Yield the numbers of pages of which some of these tables was written to."""
        page_bytes = _PAGE_ENTRIES * self._bits // 8
        length = -(-self._volume.end_cluster * self._bits // 8)
        pages = {
            page
            for table in tables
            for start, end in self._touched.within(table, table + length)
            for page in range((start - table) // page_bytes, -(-(end - table) // page_bytes))
        }
        yield from sorted(pages)

    def _page(self, page: int, read: Read, table: int) -> array[int]:
        page_bytes = _PAGE_ENTRIES * self._bits // 8
        start = page * page_bytes
        data = read(table + start, min(page_bytes, self._volume.table_bytes - start))
        if self._bits == 12:
            return _unpacked_12(data)
        entries = array("H" if self._bits == 16 else "I")
        entries.frombytes(data[: len(data) // entries.itemsize * entries.itemsize])
        if sys.byteorder == "big":
            entries.byteswap()
        return entries


def _unpacked_12(data: bytes) -> array[int]:
    """Return the entries of 12 bits, two in three bytes; half an entry at the end is none."""
    entries = array("H")
    for at in range(0, len(data) - 1, 3):
        entries.append(data[at] | (data[at + 1] & 15) << 8)
        if at + 2 < len(data):
            entries.append(data[at + 1] >> 4 | data[at + 2] << 4)
    return entries
