"""The directories of a volume, rendered for the range that is asked for.

A directory is a row of slots of 32 bytes: the volume label (in the root, if it has one) or `.` and
`..` (in any other), then for each entry its long-name slots, last part first, and its 8.3 slot. In
the root of a disk whose first entries are looked for by their places, the label is the last slot.
How many slots each entry takes is known from the plan; 8.3 names are worked out for a whole
directory when a part of it is first asked for, and the latest ones are kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo

from ...export import Hole, Kind, Piece
from ..image.section import Computed, Region
from ..lru import CACHE_BYTES
from ..tree.columns import Tree, printable
from .entries import EntriesByName, EntryColumns, EntryRenderer
from .records import ATTR_DIRECTORY, ATTR_VOLUME_ID, ENTRY_BYTES
from .slots import short_slots
from .table import FIRST_CLUSTER
from .times import FIRST_STAMP, stamps

MANY_NODES = 1 << 18
"""From so many on, numpy's import is worth it: it takes a tenth of a second and 17 MB."""
_DOTS = (b".          ", b"..         ")


def more_slots(ordinal: int, has_label: bool) -> int:
    """Return how many slots a directory has beside those of its entries."""
    return 2 if ordinal else int(has_label)


class FatDirectories(Computed):
    """The section of directories, each in a run of whole clusters, by ordinal.

    `cluster_starts` is cumulative over the directories and `slot_starts` over the nodes (node n
    takes the slots from slot_starts[n] up to slot_starts[n + 1]). `file_starts` is cumulative over
    the nodes. Files have the clusters behind those of the directories, or with `contents_first`
    those before them; then the label comes last in the root, too. `renamed` holds the names that
    differ from the host's. The `zone` is that of the times on the disk, and none is later than
    `latest_ns`. `attributes` are by node, if they are not those of the modes. With FAT12 and FAT16
    the root takes no cluster; `RootDirectory` is its section.
    """

    kind = Kind.DIRECTORY

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
        attributes: array[int] | None = None,
        contents_first: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.size = cluster_starts[-1] * cluster_bytes
        self._tree = tree
        self._slot_starts = slot_starts
        self._cluster_starts = cluster_starts
        self._file_starts = file_starts
        before_directories = file_starts[-1] if contents_first else 0
        before_files = 0 if contents_first else cluster_starts[-1]
        self._first_cluster = FIRST_CLUSTER + before_directories
        self._first_file_cluster = FIRST_CLUSTER + before_files
        self._cluster_bytes = cluster_bytes
        self._label = label
        self._label_is_last = contents_first
        self._zone = zone
        self._latest_ns = latest_ns
        columns = EntryColumns(
            renamed=renamed,
            slot_starts=slot_starts,
            cluster_starts=cluster_starts,
            file_starts=file_starts,
            first_directory_cluster=self._first_cluster,
            first_file_cluster=self._first_file_cluster,
            zone=zone,
            latest_ns=latest_ns,
            attributes=attributes,
        )
        self._by_name = EntriesByName(tree, columns, cache_bytes)
        self._renderers = _faster_renderers(tree, columns)

    def pieces(self, offset: int, length: int) -> list[Piece]:
        pieces: list[Piece] = []
        for ordinal, inside, share in self._shares(offset, length):
            pieces += self.directory_pieces(ordinal, inside, share)
        return pieces

    def directory_pieces(self, ordinal: int, offset: int, length: int) -> list[Piece]:
        """Return a range of one directory, zeros behind its last entry."""
        used = min(max(self._used_bytes(ordinal) - offset, 0), length)
        pieces: list[Piece] = [self._render(ordinal, offset, used)] if used else []
        if used < length:
            pieces.append(Hole(length - used))
        return pieces

    def regions(self) -> Iterator[Region]:
        starts, cluster_bytes = self._cluster_starts, self._cluster_bytes
        for ordinal, node in enumerate(self._tree.directories):
            size = (starts[ordinal + 1] - starts[ordinal]) * cluster_bytes
            if size:
                path = "/" + printable(self._tree.path(node))
                yield Region(starts[ordinal] * cluster_bytes, size, Kind.DIRECTORY, path)

    def long_name(self, node: int) -> str:
        """Return the name of a node on the disk."""
        return self._by_name.long_name(node)

    def names_of(self, ordinal: int) -> list[bytes]:
        """Return the 8.3 names of a directory's entries, in order."""
        return self._by_name.names_of(ordinal)

    def short_name(self, node: int) -> str:
        """Return the 8.3 name of a node other than the root, with its dot."""
        ordinal = self._tree.parent(node)
        short = self.names_of(ordinal)[node - self._tree.children(ordinal).start].decode("ascii")
        extension = short[8:].rstrip()
        return short[:8].rstrip() + (f".{extension}" if extension else "")

    def first_cluster(self, node: int) -> int:
        """Return where a node's contents start; 0 for an empty file and for the root, as `..` has
        it.
        """
        if self._tree.is_directory(node):
            ordinal = self._tree.ordinal(node)
            return self._first_cluster + self._cluster_starts[ordinal] if ordinal else 0
        if not self._tree.sizes[node]:
            return 0
        return self._first_file_cluster + self._file_starts[node]

    def _shares(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield each directory's share of a range: its ordinal, where in it, how many bytes."""
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
        return (self._more_slots(ordinal) + slots) * ENTRY_BYTES

    def _more_slots(self, ordinal: int) -> int:
        return more_slots(ordinal, bool(self._label))

    def _render(self, ordinal: int, offset: int, length: int) -> bytes:
        """Return `length` bytes of a directory from byte `offset`, all of them used."""
        first_slot, skip = divmod(offset, ENTRY_BYTES)
        last_slot = -(-(offset + length) // ENTRY_BYTES)
        children = self._tree.children(ordinal)
        header = 0 if self._label_is_last and not ordinal else self._more_slots(ordinal)
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
        stop = bisect_left(self._slot_starts, last, node, children.stop)
        entries += self._entries(ordinal, range(node, stop))
        if self._label_is_last and not ordinal:
            entries += self._label_slot()
        return entries[skip : skip + length]

    def _header(self, ordinal: int) -> bytes:
        if not ordinal:
            return self._label_slot()
        node = self._tree.directories[ordinal]
        parent = self._tree.directories[self._tree.parent(node)]
        clusters = [self.first_cluster(node), self.first_cluster(parent)]
        when = stamps([self._tree.mtimes_ns[node]], self._zone, self._latest_ns)
        return b"".join(short_slots(_DOTS, [ATTR_DIRECTORY] * 2, when * 2, clusters, [0, 0]))

    def _label_slot(self) -> bytes:
        if not self._label:
            return b""
        # The root's own time is not on the disk: two copies of a tree differ there.
        return short_slots([self._label], [ATTR_VOLUME_ID], [FIRST_STAMP], [0], [0])[0]

    def _entries(self, ordinal: int, nodes: range) -> bytes:
        """Return all slots of some of a directory's entries."""
        if not nodes:
            return b""
        for renderer in self._renderers:
            made = renderer.entries(ordinal, nodes)
            if made is not None:
                return made
        return self._by_name.entries(ordinal, nodes)


class RootDirectory(Computed):
    """The section of the root directory of a FAT12 or FAT16, which is not in clusters."""

    kind = Kind.DIRECTORY

    def __init__(self, directories: FatDirectories, size: int) -> None:
        self.size = size
        self._directories = directories

    def pieces(self, offset: int, length: int) -> list[Piece]:
        return self._directories.directory_pieces(0, offset, length)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.DIRECTORY, "/")


def _faster_renderers(tree: Tree, columns: EntryColumns) -> tuple[EntryRenderer, ...]:
    """Return what is asked for entries before they are made name by name."""
    if len(tree) < MANY_NODES or columns.zone is not UTC:
        return ()
    try:
        from .bulk import EntriesByColumn  # noqa: PLC0415
    except (ImportError, OSError):  # numpy is not installed, or not for this user to read
        return ()
    return (EntriesByColumn(tree, columns),)
