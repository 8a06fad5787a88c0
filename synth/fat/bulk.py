"""Directory entries of very many files by numpy: the bytes that `entries` makes name by name.

What stands at one place of each entry is a column, worked out for thousands of entries at once:

    rows      nodes of a stretch of whole directories, in order
    columns   characters of names of one length (length, rows); 8.3 names (11, rows); fields (rows)

A stretch comes here only if its names are ASCII and stay as they are, and have nothing that 8.3
names go out of their way for: no space, no dot at the start, no `~`. All others stay there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from ..tree.columns import Tree
from .bulk_names import (
    MOST_DIRECTORIES,
    Bytes,
    Group,
    Numbers,
    add_tails,
    bases,
    checksums,
    is_constant,
)
from .entries import EntryColumns, EntryRenderer
from .records import ENTRY_BYTES, UNITS_PER_LONG_ENTRY
from .slots import CHECKSUM_PLACE, PART_PLACES, attributes_of, long_slots
from .times import EARLIEST, LATEST_YEAR, stamp

DIRECTORY_ENTRY = np.dtype(
    [
        ("DIR_Name", "V11"),
        ("DIR_Attr", "u1"),
        ("DIR_NTRes", "u1"),
        ("DIR_CrtTimeTenth", "u1"),
        ("DIR_CrtTime", "<u2"),
        ("DIR_CrtDate", "<u2"),
        ("DIR_LstAccDate", "<u2"),
        ("DIR_FstClusHI", "<u2"),
        ("DIR_WrtTime", "<u2"),
        ("DIR_WrtDate", "<u2"),
        ("DIR_FstClusLO", "<u2"),
        ("DIR_FileSize", "<u4"),
    ]
)
"""For the hot path; a test holds it against the declaration in `records`."""

_LEAST_ROWS = 1 << 10  # of a stretch, which grows while reads follow each other
_MOST_ROWS = 1 << 14  # all its columns stay in a processor's cache
_WORTH_ROWS = 256  # fewer take longer here than one by one

_PAD, _DOT, _SEPARATOR, _TILDE = b" ./~"

_DAY_S = 24 * 60 * 60
# What entries can say, in hundredths of a second since 1970.
_EARLIEST = int(datetime(*EARLIEST, tzinfo=UTC).timestamp()) * 100
_LATEST = int(datetime(LATEST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp()) * 100 - 1


class EntriesByColumn(EntryRenderer):
    """The entries of a tree's directories, a stretch at a time; the latest stretch is kept.

    Times are UTC, whatever zone the columns say.
    """

    def __init__(self, tree: Tree, columns: EntryColumns) -> None:
        self._tree = tree
        self._renamed = array("I", sorted(columns.renamed))
        self._names = np.frombuffer(tree.names, np.uint8)
        self._name_ends = np.asarray(tree.name_ends)
        self._slot_starts = np.asarray(columns.slot_starts)
        self._cluster_starts = np.asarray(columns.cluster_starts)
        self._file_starts = np.asarray(columns.file_starts)
        self._latest_ns = columns.latest_ns
        self._first_directory_cluster = np.uint32(columns.first_directory_cluster)
        self._first_file_cluster = np.uint32(columns.first_file_cluster)
        self._attributes = columns.attributes
        self._of_modes = np.zeros(1 << 16, np.uint8)
        for mode in np.flatnonzero(np.bincount(np.asarray(tree.modes))).tolist():
            self._of_modes[mode] = attributes_of(mode)
        self._most_rows = _LEAST_ROWS
        self._latest = (range(0), memoryview(b""))  # together: other threads may look
        self._left = range(0)  # nodes that are not worth it, or can't be made here

    def entries(self, ordinal: int, nodes: range) -> bytes | None:
        """See `EntryRenderer.entries`."""
        made, slots = self._latest
        if not (made.start <= nodes.start and nodes.stop <= made.stop):
            made, slots = (range(0), slots) if nodes.start in self._left else self._make(ordinal)
            if not made:
                return None
        starts = self._slot_starts
        start, stop = (
            (int(starts[node]) - int(starts[made.start])) * ENTRY_BYTES
            for node in (nodes.start, nodes.stop)
        )
        return bytes(slots[start:stop])

    def _make(self, ordinal: int) -> tuple[range, memoryview]:
        """Return the nodes of a directory and of some that follow it, if any, and their slots."""
        tree = self._tree
        first = tree.children(ordinal).start
        follows = first == self._latest[0].stop
        self._most_rows = min(2 * self._most_rows, _MOST_ROWS) if follows else _LEAST_ROWS
        last = bisect_right(tree.first_children, first + self._most_rows) - 1
        if tree.children(last).stop > first + self._most_rows:
            last -= 1
        last = min(max(last, ordinal), ordinal + MOST_DIRECTORIES - 1)
        rows = range(first, tree.children(last).stop)
        end, odd = rows.stop, self._first_odd(rows)
        if odd < end:
            last = tree.parent(odd) - 1
            end, rows = tree.children(last + 1).stop, range(first, tree.children(last).stop)
        if len(rows) < _WORTH_ROWS:
            self._left = range(first, end)
            return range(0), memoryview(b"")
        self._latest = latest = rows, self._slots(rows, range(ordinal, last + 1)).data.cast("B")
        return latest

    def _first_odd(self, rows: range) -> int:
        """Return the first node whose name is not for us; the end of the rows if there is none."""
        at = bisect_left(self._renamed, rows.start)
        renamed = self._renamed[at] if at < len(self._renamed) else rows.stop
        ends = self._name_ends[rows.start - 1 : rows.stop]
        text = self._names[int(ends[0]) : int(ends[-1])]
        is_odd = (text >= 128) | (text == _PAD) | (text == _TILDE)
        is_odd[1:] |= (text[1:] == _DOT) & (text[:-1] == _SEPARATOR)
        place = int(is_odd.argmax())
        odd = int(np.searchsorted(ends, place + int(ends[0]))) if is_odd[place] else len(rows) + 1
        return min(renamed, rows.start - 1 + odd, rows.stop)

    def _slots(self, rows: range, directories: range) -> Bytes:
        """Return the slots of some whole directories, (slots, 32)."""
        groups = list(self._groups(rows))
        shorts = self._shorts(groups, rows, directories)
        short_slots = self._short_slots(shorts, rows)
        totals = checksums(shorts)
        if len(groups) == 1:
            return _packed(groups[0], totals, short_slots)
        starts = self._slot_starts[rows.start : rows.stop + 1].astype(np.int64)
        slots = np.empty((starts[-1] - starts[0], ENTRY_BYTES), np.uint8)
        for group in groups:
            own = _packed(group, totals, short_slots).reshape(-1, group.slots, ENTRY_BYTES)
            places = (starts[:-1][group.rows] - starts[0])[:, None] + np.arange(group.slots)
            slots[places] = own
        return slots

    def _groups(self, rows: range) -> Iterator[Group]:
        ends = self._name_ends[rows.start - 1 : rows.stop].astype(np.int64)
        starts, lengths = ends[:-1] + 1, np.diff(ends) - 1
        slots = np.diff(self._slot_starts[rows.start : rows.stop + 1])
        if slots.min() == slots.max() and lengths.min() == lengths.max():
            text = self._names[starts[0] : ends[-1] + 1].reshape(len(rows), -1)
            characters = np.ascontiguousarray(text[:, :-1].T)
            yield Group(slice(None), int(slots[0]), int(lengths[0]), characters)
            return
        for count in np.flatnonzero(np.bincount(slots)).tolist():
            own = np.flatnonzero(slots == count)
            columns = np.arange(int(lengths[own].max()))[:, None]
            characters = np.take(self._names, starts[own] + columns, mode="clip")
            characters *= columns < lengths[own]
            yield Group(own, count, lengths[own], characters)

    def _shorts(self, groups: list[Group], rows: range, directories: range) -> Bytes:
        """Return the 8.3 names, (11, rows)."""
        shorts = np.full((11, len(rows)), _PAD, np.uint8)
        lengths = np.empty(len(rows), np.int64)
        has_tail = np.ones(len(rows), bool)
        for group in groups:
            basis, lengths[group.rows], fits = bases(group)
            shorts[:, group.rows] = basis
            has_tail[group.rows] = ~fits
        tailed = np.flatnonzero(has_tail)
        if len(tailed):
            firsts = np.asarray(self._tree.first_children)[directories.start : directories.stop]
            counts = np.diff(firsts, append=rows.stop)
            places = np.repeat(np.arange(len(directories), dtype=np.uint64), counts)
            add_tails(shorts, lengths, places, tailed)
        return shorts

    def _short_slots(self, shorts: Bytes, rows: range) -> Bytes:
        """Return the 8.3 slots, (rows, 32)."""
        tree, start, stop = self._tree, rows.start, rows.stop
        made = _with_columns(shorts[:, 0].tobytes().ljust(ENTRY_BYTES, b"\0"), shorts, range(11))
        slots = made.view(DIRECTORY_ENTRY)[:, 0]
        if self._attributes is None:
            slots["DIR_Attr"] = self._of_modes[np.asarray(tree.modes)[start:stop]]
        else:
            slots["DIR_Attr"] = np.asarray(self._attributes)[start:stop]
        times_ns = np.asarray(tree.mtimes_ns)[start:stop]
        if self._latest_ns is not None:
            times_ns = np.minimum(times_ns, self._latest_ns)
        dates, times, slots["DIR_CrtTimeTenth"] = stamps(times_ns)
        slots["DIR_CrtTime"] = slots["DIR_WrtTime"] = times
        slots["DIR_CrtDate"] = slots["DIR_LstAccDate"] = slots["DIR_WrtDate"] = dates
        sizes = np.asarray(tree.sizes)[start:stop]
        below = range(bisect_left(tree.directories, start), bisect_left(tree.directories, stop))
        if not below and not sizes.any():
            return made
        slots["DIR_FileSize"] = sizes
        first_cluster = self._first_file_cluster
        clusters = np.where(sizes > 0, self._file_starts[start:stop] + first_cluster, 0)
        own = np.asarray(tree.directories)[below.start : below.stop] - start
        starts = self._cluster_starts[below.start : below.stop]
        clusters[own] = starts + self._first_directory_cluster
        slots["DIR_FstClusHI"] = clusters >> 16
        slots["DIR_FstClusLO"] = clusters & 0xFFFF
        return made


def _packed(group: Group, totals: Bytes, short_slots: Bytes) -> Bytes:
    """Return all slots of the names of a group, a name a row."""
    longest, long_count = len(group.characters), group.slots - 1
    first = group.characters[:, 0].tobytes().decode()
    form = b"".join(long_slots([first], [group.slots], b"\0")) + bytes(ENTRY_BYTES)
    places = [_place(at, long_count) for at in range(longest)] if long_count else []
    slots = _with_columns(form, group.characters[: len(places)], places)
    if long_count:
        shortest = longest if isinstance(group.lengths, int) else int(group.lengths.min())
        for at in range(shortest + 1, min(longest + 1, long_count * UNITS_PER_LONG_ENTRY)):
            place, is_behind = _place(at, long_count), group.lengths < at
            slots[is_behind, place] = slots[is_behind, place + 1] = 0xFF
    for part in range(long_count):
        slots[:, part * ENTRY_BYTES + CHECKSUM_PLACE] = totals[group.rows]
    slots[:, -ENTRY_BYTES:] = short_slots[group.rows]
    return slots


def _with_columns(form: bytes, columns: Bytes, places: Sequence[int]) -> Bytes:
    """Return rows like the form, which is the first one, but for the columns at some places."""
    rows = np.empty((columns.shape[1], len(form)), np.uint8)
    rows[:] = np.frombuffer(form, np.uint8)
    for place, column in zip(places, columns, strict=True):
        if not is_constant(column):
            rows[:, place] = column
    return rows


def _place(at: int, long_count: int) -> int:
    """Return where a name's character stands in its slots: their last part comes first."""
    part, unit = divmod(at, UNITS_PER_LONG_ENTRY)
    return (long_count - 1 - part) * ENTRY_BYTES + PART_PLACES[2 * unit]


def stamps(times_ns: Numbers) -> tuple[Numbers | int, Numbers, Numbers]:
    """Return dates, times and hundredths, as `times.stamps` has them of times in UTC."""
    hundredths = np.clip(times_ns // 10_000_000, _EARLIEST, _LATEST)
    two_seconds = hundredths // 200
    hundredths -= two_seconds * 200
    days = two_seconds // (_DAY_S // 2)
    of_day = two_seconds - days * (_DAY_S // 2)
    minutes = of_day // 30
    hours = minutes // 60
    times = hours << 11 | (minutes - hours * 60) << 5 | (of_day - minutes * 30)
    first, last = int(days.min()), int(days.max())
    if first == last:
        return _date(first), times, hundredths
    days -= first
    dates = np.zeros(last - first + 1, np.int64)  # of the days that there are; 46,751 at most
    for day in np.flatnonzero(np.bincount(days)).tolist():
        dates[day] = _date(first + day)
    return dates[days], times, hundredths


def _date(day: int) -> int:
    return stamp(day * _DAY_S * 1_000_000_000).date
