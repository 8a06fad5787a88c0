"""The directories of a volume, rendered for the range that is asked for.

A directory is a row of slots of 32 bytes: the volume label (in the root) or `.` and `..` (in any
other), then for each entry its long-name slots, last part first, and its 8.3 slot. How many slots
each entry takes is known from the plan; 8.3 names are worked out for a whole directory when a part
of it is first asked for, and the latest ones are kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo

from ...pieces import Extent, Hole, Kind, Piece
from ..image import Region
from ..kept import KEPT_BYTES, Kept
from ..tree import Tree, printable
from .names import checksum, decode, needs_long_entries, short_names
from .records import (
    ATTR_ARCHIVE,
    ATTR_DIRECTORY,
    ATTR_HIDDEN,
    ATTR_LONG_NAME,
    ATTR_READ_ONLY,
    ATTR_VOLUME_ID,
    ENTRY_BYTES,
    LAST_LONG_ENTRY,
    PACK_DIRECTORY_ENTRY,
    PACK_LONG_NAME_ENTRY,
    UNITS_PER_LONG_ENTRY,
)
from .table import FIRST_CLUSTER
from .times import FIRST_STAMP, Stamp, stamp

_SHORT_NAME_BYTES = 64  # about what one takes as an object in a list
_PART_BYTES = 2 * UNITS_PER_LONG_ENTRY


def header_slots(ordinal: int) -> int:
    """How many slots stand before a directory's entries."""
    return 2 if ordinal else 1


class Directories:
    """The section of directories, each in a run of whole clusters, by ordinal.

    `cluster_starts` is cumulative over the directories and `slot_starts` over the nodes (node n
    takes the slots from slot_starts[n] up to slot_starts[n + 1]). `file_starts` is cumulative over
    the nodes, in clusters from `first_file_cluster`. `renamed` holds the names that differ from
    the host's. The `zone` is that of the times on the disk, and none is later than `latest_ns`.
    With FAT12 and FAT16 the root takes no cluster; `RootDirectory` is its section.
    """

    def __init__(
        self,
        tree: Tree,
        *,
        renamed: Mapping[int, str],
        slot_starts: array[int],
        cluster_starts: array[int],
        file_starts: array[int],
        cluster_bytes: int,
        label: bytes,
        zone: tzinfo | None = UTC,
        latest_ns: int | None = None,
        hide_dotfiles: bool = False,
        cache_bytes: int = KEPT_BYTES,
    ) -> None:
        self.size = cluster_starts[-1] * cluster_bytes
        self._tree = tree
        self._renamed = renamed
        self._slot_starts = slot_starts
        self._cluster_starts = cluster_starts
        self._file_starts = file_starts
        self._first_file_cluster = FIRST_CLUSTER + cluster_starts[-1]
        self._cluster_bytes = cluster_bytes
        self._label = label
        self._zone = zone
        self._latest_ns = latest_ns
        self._hide_dotfiles = hide_dotfiles
        self._short_names: Kept[list[bytes]] = Kept(
            lambda names: _SHORT_NAME_BYTES * len(names), cache_bytes
        )

    def pieces(self, offset: int, length: int) -> list[Piece]:
        pieces: list[Piece] = []
        for ordinal, inside, share in self._shares(offset, length):
            pieces += self.directory_pieces(ordinal, inside, share)
        return pieces

    def directory_pieces(self, ordinal: int, offset: int, length: int) -> list[Piece]:
        """A range of one directory, zeros behind its last entry."""
        used = min(max(self._used_bytes(ordinal) - offset, 0), length)
        pieces: list[Piece] = [self._render(ordinal, offset, used)] if used else []
        if used < length:
            pieces.append(Hole(length - used))
        return pieces

    def extents(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        yield Extent(length, False, Kind.DIRECTORY)

    def regions(self) -> Iterator[Region]:
        starts, cluster_bytes = self._cluster_starts, self._cluster_bytes
        for ordinal, node in enumerate(self._tree.directories):
            size = (starts[ordinal + 1] - starts[ordinal]) * cluster_bytes
            if size:
                path = "/" + printable(self._tree.path(node))
                yield Region(starts[ordinal] * cluster_bytes, size, Kind.DIRECTORY, path)

    def long_name(self, node: int) -> str:
        """The name of a node on the disk."""
        return self._renamed.get(node) or decode(self._tree.name(node))

    def names_of(self, ordinal: int) -> list[bytes]:
        """The 8.3 names of a directory's entries, in order."""
        return self._short_names.get(ordinal, self._make_short_names)

    def _make_short_names(self, ordinal: int) -> list[bytes]:
        return short_names([self.long_name(node) for node in self._tree.children(ordinal)])

    def short_name(self, node: int) -> str:
        """The 8.3 name of a node other than the root, with its dot."""
        ordinal = self._tree.parent(node)
        short = self.names_of(ordinal)[node - self._tree.children(ordinal).start].decode("ascii")
        extension = short[8:].rstrip()
        return short[:8].rstrip() + (f".{extension}" if extension else "")

    def first_cluster(self, node: int) -> int:
        """Where a node's contents start; 0 for an empty file and for the root, as `..` has it."""
        if self._tree.is_directory(node):
            ordinal = self._tree.ordinal(node)
            return FIRST_CLUSTER + self._cluster_starts[ordinal] if ordinal else 0
        if not self._tree.sizes[node]:
            return 0
        return self._first_file_cluster + self._file_starts[node]

    def _shares(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Each directory's share of a range: its ordinal, where in it, how many bytes."""
        starts, cluster_bytes = self._cluster_starts, self._cluster_bytes
        ordinal = bisect_right(starts, offset // cluster_bytes) - 1
        end = offset + length
        while offset < end:
            share = min(starts[ordinal + 1] * cluster_bytes, end) - offset
            yield ordinal, offset - starts[ordinal] * cluster_bytes, share
            offset += share
            ordinal += 1

    def _used_bytes(self, ordinal: int) -> int:
        children = self._tree.children(ordinal)
        slots = self._slot_starts[children.stop] - self._slot_starts[children.start]
        return (header_slots(ordinal) + slots) * ENTRY_BYTES

    def _render(self, ordinal: int, offset: int, length: int) -> bytes:
        """`length` bytes of a directory from byte `offset`, all of them used."""
        first_slot, skip = divmod(offset, ENTRY_BYTES)
        last_slot = -(-(offset + length) // ENTRY_BYTES)
        children = self._tree.children(ordinal)
        header = header_slots(ordinal)
        if first_slot < header:
            entries = self._header(ordinal)
            node = children.start
            skip = offset
        else:
            entries = b""
            slot = self._slot_starts[children.start] + first_slot - header
            node = bisect_right(self._slot_starts, slot) - 1
            skip += (slot - self._slot_starts[node]) * ENTRY_BYTES
        last = self._slot_starts[children.start] + last_slot - header
        shorts = self.names_of(ordinal)
        parts = [entries]
        while node < children.stop and self._slot_starts[node] < last:
            parts.append(self._entry(node, shorts[node - children.start]))
            node += 1
        return b"".join(parts)[skip : skip + length]

    def _header(self, ordinal: int) -> bytes:
        if not ordinal:
            # The root's own time is not on the disk: two copies of a tree differ there.
            return self._slot(self._label, ATTR_VOLUME_ID, FIRST_STAMP, 0, 0)
        node = self._tree.directories[ordinal]
        parent = self._tree.directories[self._tree.parent(node)]
        when = self._stamp(node)
        return self._slot(
            b".          ", ATTR_DIRECTORY, when, self.first_cluster(node), 0
        ) + self._slot(b"..         ", ATTR_DIRECTORY, when, self.first_cluster(parent), 0)

    def _entry(self, node: int, short: bytes) -> bytes:
        """All slots of a node's entry."""
        tree = self._tree
        mode = tree.modes[node]
        if tree.is_directory(node):
            attributes = ATTR_DIRECTORY
        else:
            attributes = ATTR_ARCHIVE if mode & 0o222 else ATTR_ARCHIVE | ATTR_READ_ONLY
        name = self.long_name(node)
        if self._hide_dotfiles and name.startswith("."):
            attributes |= ATTR_HIDDEN
        when = self._stamp(node)
        entry = self._slot(short, attributes, when, self.first_cluster(node), tree.sizes[node])
        return long_slots(name, short) + entry if needs_long_entries(name) else entry

    def _stamp(self, node: int) -> Stamp:
        time_ns = self._tree.mtimes_ns[node]
        if self._latest_ns is not None:
            time_ns = min(time_ns, self._latest_ns)
        return stamp(time_ns, self._zone)

    @staticmethod
    def _slot(name: bytes, attributes: int, when: Stamp, cluster: int, size: int) -> bytes:
        return PACK_DIRECTORY_ENTRY(
            name,
            attributes,
            0,
            when.hundredths,
            when.time,
            when.date,
            when.date,
            cluster >> 16,
            when.time,
            when.date,
            cluster & 0xFFFF,
            size,
        )


class RootDirectory:
    """The section of the root directory of a FAT12 or FAT16, which is not in clusters."""

    def __init__(self, directories: Directories, size: int) -> None:
        self.size = size
        self._directories = directories

    def pieces(self, offset: int, length: int) -> list[Piece]:
        return self._directories.directory_pieces(0, offset, length)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        yield Extent(length, False, Kind.DIRECTORY)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.DIRECTORY, "/")


def long_slots(name: str, short: bytes) -> bytes:
    """The long-name slots that stand before an 8.3 slot, last part first.

    A name that doesn't fill its last slot ends with one zero unit, then 0xFFFF; one that does has
    neither (FATGEN, "Long Directory Entry Structure").
    """
    units = name.encode("utf-16-le")
    if len(units) % _PART_BYTES:
        units += b"\0\0"
        units += b"\xff" * (-len(units) % _PART_BYTES)
    total = checksum(short)
    count = len(units) // _PART_BYTES
    parts: list[bytes] = []
    for number in range(count, 0, -1):
        at = (number - 1) * _PART_BYTES
        order = number | LAST_LONG_ENTRY if number == count else number
        parts.append(
            PACK_LONG_NAME_ENTRY(
                order,
                units[at : at + 10],
                ATTR_LONG_NAME,
                0,
                total,
                units[at + 10 : at + 22],
                0,
                units[at + 22 : at + 26],
            )
        )
    return b"".join(parts)
