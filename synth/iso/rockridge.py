"""Rock Ridge: POSIX names, modes, owners, links and devices, in directory records.

Specifications: SUSP 1.12 (IEEE P1281), RRIP 1.12 (IEEE P1282). An entry is a signature of two
letters, its length, a version, and data. What a record has no room for stands in the continuation
area (see `continuations`), one part of entries a node:

- All entries are in the record if it stays within 254 bytes.
- Otherwise the record has PX, TF and PN, and CE leads to the others: NM and SL. If it has room for
  the name it has NM too, as some readers follow no CE.
- A part never crosses a block; what is longer than a block goes on, by CE, in the next one.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from operator import sub
from typing import NamedTuple

from ...export import Kind, Piece
from ..image.section import Computed, Region
from ..structures import Field, Structure
from ..tree.columns import Tree
from .continuations import Continuations
from .dates import NodeDates
from .posix import Posix
from .records import (
    BLOCK_BYTES,
    MOST_RECORD_BYTES,
    PACK_32_BIG,
    PACK_32_LITTLE,
    pack_32_both,
)
from .symlinks import link_entries

_VERSION = b"\1"


def _entry(signature: bytes, size: int, *fields: Field) -> Structure:
    entry = Structure(
        ("SIGNATURE", "2s", signature),
        ("LEN", "B", size),
        ("VERSION", "1s", _VERSION),
        *fields,
    )
    assert entry.size == size
    return entry


# SUSP, 5.1 and 5.3; RRIP, 4.1.1, 4.1.2 and 4.1.6 with one time.
CE = _entry(
    b"CE",
    28,
    ("LOCATION", "<>I"),
    ("OFFSET", "<>I"),
    ("LENGTH", "<>I"),
)
SP = _entry(b"SP", 7, ("CHECK", "2s", b"\xbe\xef"), ("LEN_SKP", "B", 0))
PX = _entry(
    b"PX",
    44,
    ("st_mode", "<>I"),
    ("st_nlink", "<>I"),
    ("st_uid", "<>I"),
    ("st_gid", "<>I"),
    ("st_ino", "<>I"),
)
PN = _entry(b"PN", 20, ("dev_t_high", "<>I"), ("dev_t_low", "<>I"))
TF = _entry(b"TF", 12, ("FLAGS", "B", 0x02), ("MODIFY", "7s"))

_ALWAYS_BYTES = PX.size + TF.size
_PN_BYTES = PN.size
_CE_BYTES = CE.size
_MOST_ENTRY_BYTES = 255
_NM_HEADER = 5
_MOST_NM_BYTES = _MOST_ENTRY_BYTES - _NM_HEADER
LINUX_NAME_BYTES = 253
_CONTINUE = 1

_EXTENSION = (
    b"IEEE_P1282",
    b"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS",
    b"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 "
    b"SPECIFICATION",
)
# SUSP, 5.5: which extension this is.
_ER_DATA = bytes((*map(len, _EXTENSION), 1)) + b"".join(_EXTENSION)
ER = b"ER" + bytes((4 + len(_ER_DATA),)) + _VERSION + _ER_DATA


class Attributes(NamedTuple):
    """The attributes of nodes as Rock Ridge says them, where the host says others or none."""

    tree: Tree
    dates: NodeDates
    preserve: bool
    """Modes and owners as they are on the host; otherwise whoever mounts it may read all."""
    first_links: Mapping[int, int]
    """Of each node that is another name of one before it, that one."""
    link_counts: Mapping[int, int]
    """The number of names that a file has, by the first of them, where it has more than one."""
    settled: Posix = Posix()

    def mode(self, node: int) -> int:
        """Return the mode of a node, type and permissions."""
        mode = self.tree.modes[node]
        kind = stat.S_IFMT(mode)
        settled = self.settled.mode_of(kind, is_made=not self.tree.inodes[node])
        if settled is not None:
            return kind | settled
        if self.preserve:
            return mode
        if kind == stat.S_IFDIR:
            return kind | 0o555
        if kind == stat.S_IFLNK:
            return kind | 0o777
        return kind | (0o555 if mode & 0o111 else 0o444)

    def is_device(self, node: int) -> bool:
        """Return whether a node has a number of a device."""
        return stat.S_IFMT(self.tree.modes[node]) in {stat.S_IFCHR, stat.S_IFBLK}

    def links(self, node: int) -> int:
        """Return how many names a node has in the tree; of a directory, with `.` and each `..`."""
        if self.tree.is_directory(node):
            return 2 + len(self.tree.subdirectories(self.tree.ordinal(node)))
        return self.link_counts.get(self.first_links.get(node, node), 1)

    def owner(self, node: int) -> tuple[int, int]:
        """Return the numbers of user and group."""
        user, group = self.tree.owner_ids[self.tree.owners[node]] if self.preserve else (0, 0)
        uid, gid = self.settled.uid, self.settled.gid
        return user if uid is None else uid, group if gid is None else gid

    def serial(self, node: int) -> int:
        """Return a number that only other names of the same file have too."""
        return self.first_links.get(node, node) + 1


class RockRidge:
    """The system use fields of a tree's directory records."""

    def __init__(self, attributes: Attributes, continuations: Continuations) -> None:
        self._attributes = attributes
        self._tree = attributes.tree
        self.continuations = continuations
        self._posix: dict[tuple[int, int, int], bytes] = {}
        self._devices = {
            node: number for node, number in self._tree.rdevs.items() if attributes.is_device(node)
        }
        self._unusual = self._tree.targets.keys() | self._devices.keys()

    def record_lengths(self, children: range, bare_lengths: Sequence[int]) -> list[int]:
        """Return the lengths of the records of some nodes, given those without system use (all
        even).
        """
        lengths = self._usual_lengths(children, bare_lengths)
        for at, node in self._doubtful(children, lengths):
            in_record, continued = self._divide(node, bare_lengths[at])
            length = bare_lengths[at] + self._own_length(node) + sum(map(len, in_record))
            lengths[at] = length + (_CE_BYTES if continued else 0) + 1 & ~1
        return lengths

    def continue_all(self, children: range, bare_lengths: Sequence[int]) -> None:
        """Find places in the continuation area for those nodes that need one."""
        longest = max(bare_lengths) + max(self._name_bytes(children)) + _ALWAYS_BYTES + _NM_HEADER
        if longest <= MOST_RECORD_BYTES and not self._unusual:
            return
        for at, node in self._doubtful(children, self._usual_lengths(children, bare_lengths)):
            in_record, continued = self._divide(node, bare_lengths[at])
            if continued:
                if in_record:
                    self.continuations.named.add(node)
                self.continuations.add(node, _parts(continued))

    def _usual_lengths(self, children: range, bare_lengths: Sequence[int]) -> list[int]:
        """Return what the lengths are if everything has room, and nothing is a link or a device."""
        fixed = _ALWAYS_BYTES + _NM_HEADER
        # The byte of the separators rounds up to the next even number.
        return [
            (bare + size + fixed) & ~1
            for bare, size in zip(bare_lengths, self._name_bytes(children), strict=True)
        ]

    def _name_bytes(self, children: range) -> Iterator[int]:
        """Return the lengths of some nodes' names, with their separators."""
        ends = self._tree.name_ends[children.start - 1 : children.stop]
        return map(sub, ends[1:], ends)

    def _doubtful(self, children: range, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Return those nodes whose lengths may be others, and where they are among the children."""
        if max(lengths) <= MOST_RECORD_BYTES and not self._unusual:
            return []
        return [
            (at, node)
            for at, node in enumerate(children)
            if lengths[at] > MOST_RECORD_BYTES or node in self._unusual
        ]

    def _divide(self, node: int, bare_length: int) -> tuple[list[bytes], list[bytes]]:
        """Return the entries that may outgrow a node's record: those in it, those continued.

        All are in it if they have room. If not, the name stays that is whole and has a target of a
        link behind it, where it and a CE have room; the others are continued, or all are. So if
        some are continued, the first entry at most is in the record: `Continuations.named` tells.
        """
        entries = self.outgrowing(node)
        length = bare_length + self._own_length(node)
        if length + sum(map(len, entries)) <= MOST_RECORD_BYTES:
            return entries, []
        is_whole = len(entries) > 1 and entries[1].startswith(b"SL")
        stays = is_whole and length + len(entries[0]) + _CE_BYTES <= MOST_RECORD_BYTES
        return entries[:stays], entries[stays:]

    def _own_length(self, node: int) -> int:
        return _ALWAYS_BYTES + (_PN_BYTES if node in self._devices else 0)

    def header_use(self, node: int, first_block: int | None) -> bytes:
        """Return what `.` and `..` have; with the `first_block` of directories and area, it is the
        root's `.`.
        """
        if first_block is None:
            return self._always(node)
        sp = SP.build({})
        block = first_block + self.continuations.area_place(0)
        return sp + self._always(node) + _continue_at(block, 0, len(ER))

    def system_use(self, node: int, bare_length: int, first_block: int) -> bytes:
        """Return all that a node's record has; directories and continuation area start at
        `first_block`.
        """
        own = self._always(node)
        if node not in self._unusual:
            name = self._tree.name(node)
            if bare_length + _ALWAYS_BYTES + _NM_HEADER + len(name) <= MOST_RECORD_BYTES:
                return own + b"NM" + bytes((_NM_HEADER + len(name), 1, 0)) + name
        rdev = self._devices.get(node)
        if rdev is not None:
            own += PN.build(_device(rdev))
        in_record, continued = self._divide(node, bare_length)
        own += b"".join(in_record)
        if not continued:
            return own
        block, offset = divmod(self.continuations.offset(node), BLOCK_BYTES)
        size = _part_bytes(_parts(continued), 0)
        return own + _continue_at(first_block + self.continuations.area_place(block), offset, size)

    def outgrowing(self, node: int) -> list[bytes]:
        """Return the entries of a node that its record may have no room for: NM and SL."""
        name = self._tree.name(node)
        # Linux takes an entry as long as all have 253 bytes together, so the second one is short.
        parts = [name]
        if len(name) > _MOST_NM_BYTES:
            parts = [name[:_MOST_NM_BYTES], name[_MOST_NM_BYTES:LINUX_NAME_BYTES]]
            parts += filter(None, [name[LINUX_NAME_BYTES:]])
        entries = [
            b"NM" + bytes((_NM_HEADER + len(part), 1, _CONTINUE if more else 0)) + part
            for more, part in zip([*[True] * (len(parts) - 1), False], parts, strict=True)
        ]
        target = self._tree.targets.get(node)
        if target is not None:
            entries += link_entries(target)
        return entries

    def area_parts(self, node: int, first_block: int) -> Iterator[tuple[int, bytes]]:
        """Yield a node's entries in the continuation area: offset there, and bytes within a
        block.
        """
        start = self.continuations.offset(node)
        parts = _parts(self.outgrowing(node)[node in self.continuations.named :])  # as `_divide`
        for number, part in enumerate(parts):
            data = b"".join(part)
            if number + 1 < len(parts):
                block = self.continuations.area_place(start // BLOCK_BYTES + number + 1)
                data += _continue_at(first_block + block, 0, _part_bytes(parts, number + 1))
            yield start + number * BLOCK_BYTES, data

    def _always(self, node: int) -> bytes:
        attributes = self._attributes
        serial = attributes.serial(node)
        links = attributes.link_counts.get(serial - 1, 1)
        owner = self._tree.owners[node] if attributes.preserve else 0
        mode = self._tree.modes[node]
        posix = self._posix.get((mode, links, owner))
        if posix is None:
            numbers = (attributes.mode(node), attributes.links(node), *attributes.owner(node))
            posix = b"PX\x2c\1" + b"".join(map(pack_32_both, numbers))
            if not self._tree.is_directory(node):  # a few of them serve all files
                self._posix[mode, links, owner] = posix
        date = attributes.dates.date(node)
        return b"".join((posix, PACK_32_LITTLE(serial), PACK_32_BIG(serial), b"TF\x0c\1\2", date))


class ContinuationArea(Computed):
    """The entries that directory records have no room for, by blocks, as if in one piece.

    Directories and the area start at `first_block`.
    """

    kind = Kind.DIRECTORY

    def __init__(self, rock_ridge: RockRidge, first_block: int) -> None:
        self.size = rock_ridge.continuations.blocks * BLOCK_BYTES
        self._rock_ridge = rock_ridge
        self._first_block = first_block

    def pieces(self, offset: int, length: int) -> list[Piece]:
        first = offset // BLOCK_BYTES * BLOCK_BYTES
        end = offset + length
        buffer = bytearray(-(-end // BLOCK_BYTES) * BLOCK_BYTES - first)
        if first == 0:
            buffer[: len(ER)] = ER
        continuations = self._rock_ridge.continuations
        offsets, nodes = continuations.offsets, continuations.nodes
        # One back: what is longer than a block may have started before.
        at = max(bisect_right(offsets, first) - 1, 0)
        while at < len(nodes) and offsets[at] < end:
            for start, data in self._rock_ridge.area_parts(nodes[at], self._first_block):
                if first <= start < end:
                    buffer[start - first : start - first + len(data)] = data
            at += 1
        return [bytes(buffer[offset - first : end - first])]

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.DIRECTORY, "continuation area")


def hard_links(tree: Tree, *, but: int | None = None) -> tuple[dict[int, int], dict[int, int]]:
    """Return the first node of a file by its other ones, and the number of its nodes by the first.

    Only nodes that the host says to have several links are looked at, and not the node `but`.
    """
    first_links: dict[int, int] = {}
    counts: dict[int, int] = {}
    found: dict[tuple[int, ...], int] = {}
    for node, links in enumerate(tree.links):
        if links > 1 and not tree.is_directory(node) and node != but:
            key = (tree.devices[node], tree.inodes[node], tree.sizes[node], tree.mtimes_ns[node])
            first_link = found.setdefault(key, node)
            counts[first_link] = counts.get(first_link, 0) + 1
            if first_link != node:
                first_links[node] = first_link
    return first_links, counts


def _device(number: int) -> dict[str, int]:
    """Return a device's number in the fields of PN (RRIP, 4.1.2).

    They are the halves of 64 bits, where the smaller of Linux's numbers are major << 8 | minor:
    all readers take these. What doesn't fit there has major and minor in the fields, as mkisofs
    has it for all of them, and only Linux takes that.
    """
    major, minor = os.major(number), os.minor(number)
    if 0 < major < 1 << 12 and minor < 1 << 8:
        return {"dev_t_high": 0, "dev_t_low": major << 8 | minor}
    return {"dev_t_high": major, "dev_t_low": minor}


def _parts(entries: Sequence[bytes]) -> list[list[bytes]]:
    """Return entries as they stand in blocks: one part, or several that leave room for a CE
    each.
    """
    if sum(map(len, entries)) <= BLOCK_BYTES:
        return [list(entries)]
    parts: list[list[bytes]] = [[]]
    room = BLOCK_BYTES - CE.size
    for entry in entries:
        if sum(map(len, parts[-1])) + len(entry) > room:
            parts.append([])
        parts[-1].append(entry)
    return parts


def _part_bytes(parts: Sequence[Sequence[bytes]], number: int) -> int:
    """Return the length of a part, with the CE that leads to the next one."""
    size = sum(map(len, parts[number]))
    return size + _CE_BYTES if number + 1 < len(parts) else size


def _continue_at(block: int, offset: int, length: int) -> bytes:
    return b"CE\x1c\1" + pack_32_both(block) + pack_32_both(offset) + pack_32_both(length)
