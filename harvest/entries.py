"""Entries of a directory as somebody else wrote them: parsed, with whatever is wrong."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from ..synth.fat.names import checksums
from ..synth.fat.records import (
    ATTR_DIRECTORY,
    ATTR_LONG_NAME,
    ATTR_READ_ONLY,
    ATTR_VOLUME_ID,
    ENTRY_BYTES,
    LAST_LONG_ENTRY,
    UNITS_PER_LONG_ENTRY,
)
from ..synth.fat.slots import CHECKSUM_PLACE

if TYPE_CHECKING:
    from .directories import Directory

_END, _DELETED, _JAPANESE = 0x00, 0xE5, 0x05
_LOWER_BASE, _LOWER_EXTENSION = 0x08, 0x10  # DIR_NTRes, as Windows and Linux use it
_ATTRIBUTES = 0x3F
_MOST_PARTS = 20  # of a name of 255 units
# What no name of a FAT has; half a pair of surrogates is no text.
_IMPOSSIBLE = re.compile('[\x00-\x1f"*/:<>?\\\\|\ud800-\udfff]')
_UNPACK = Struct("<11sBBBHHHHHHHI").unpack_from
_CODE_PAGE = "cp437"  # of 8.3 names: what DOS, Windows and Linux have by default


class Entry:
    """A file or directory as an entry tells of it."""

    __slots__ = ("attributes", "chain", "created", "first", "is_bad", "name", "parent", "size",
                 "written")  # fmt: skip

    def __init__(
        self,
        name: str,
        attributes: int,
        first: int,
        size: int,
        created: tuple[int, int, int],
        written: tuple[int, int],
    ) -> None:
        self.name = name
        self.attributes = attributes
        self.first = first
        """The first cluster; 0 if there is none."""
        self.size = size
        self.created = created
        """Date, time and hundredths, as FAT has them."""
        self.written = written
        self.parent: Directory | None = None
        self.chain: tuple[tuple[int, int], ...] = ()
        """First cluster and number of each run."""
        self.is_bad = False
        """Its content can't be told, or isn't its own alone."""

    @property
    def is_directory(self) -> bool:
        """Return whether it is a directory."""
        return bool(self.attributes & ATTR_DIRECTORY)

    @property
    def is_read_only(self) -> bool:
        """Return whether the file should not be written to."""
        return bool(self.attributes & ATTR_READ_ONLY)

    def written_ns(self, zone: tzinfo | None) -> int | None:
        """Return the time of modification in UTC, in nanoseconds; None for what is no time.

        Without a zone the time is local to this machine.
        """
        date, time = self.written
        try:
            moment = datetime(
                1980 + (date >> 9), date >> 5 & 15, date & 31,
                time >> 11, time >> 5 & 63, 2 * (time & 31), tzinfo=zone,
            )  # fmt: skip
            return int(moment.timestamp()) * 1_000_000_000
        except (ValueError, OverflowError, OSError):
            return None


class Parsed(NamedTuple):
    """The entries of a directory."""

    entries: list[Entry]
    faults: list[str]
    """Sentences without a subject: what is wrong with some of them."""
    dot: int | None
    """The first cluster that `.` tells; None where the directory does not start with it."""


def parsed(data: bytes) -> Parsed:
    """Parse the slots of a directory, up to its end."""
    shorts: list[int] = []
    longs: list[list[int]] = []  # places of the parts of each one's long name, last part first
    parts: list[int] = []
    dot: int | None = None
    for at in range(0, len(data) - ENTRY_BYTES + 1, ENTRY_BYTES):
        first, attributes = data[at], data[at + 11] & _ATTRIBUTES
        if first == _END:
            break
        if first == _DELETED:
            parts = []
        elif attributes == ATTR_LONG_NAME:
            if first & LAST_LONG_ENTRY:
                parts = [at] if 0 < first & ~LAST_LONG_ENTRY <= _MOST_PARTS else []
            elif parts and first == (data[parts[0]] & ~LAST_LONG_ENTRY) - len(parts):
                parts.append(at)
            else:
                parts = []
        elif attributes & ATTR_VOLUME_ID:
            parts = []
        elif first == 0x2E and data[at : at + 11].rstrip() in {b".", b".."}:
            if not at and data[1] != 0x2E and attributes & ATTR_DIRECTORY:
                dot = _cluster(data, at)
            parts = []
        else:
            shorts.append(at)
            longs.append(parts)
            parts = []
    return _entries(data, shorts, longs, dot)


def _entries(data: bytes, shorts: list[int], longs: list[list[int]], dot: int | None) -> Parsed:
    entries: list[Entry] = []
    faults: list[str] = []
    taken: set[str] = set()
    sums = checksums([data[at : at + 11] for at in shorts])
    for at, parts, total in zip(shorts, longs, sums, strict=True):
        short, attributes, case, tenth, *created, _, high, time, date, low, size = _UNPACK(data, at)
        if (
            parts
            and len(parts) == data[parts[0]] & ~LAST_LONG_ENTRY
            and all(data[part + CHECKSUM_PLACE] == total for part in parts)
        ):
            name = _long_name(data, parts)
        else:
            name = _short_name(short, case)
        if _IMPOSSIBLE.search(name) or name in {"", ".", ".."}:
            faults.append(f"holds {name!a}, which is no name")
            continue
        key = name.upper() if name.isascii() else name
        if key in taken:
            faults.append(f"holds {name!a} twice")
            continue
        taken.add(key)
        stamp = (created[1], created[0], tenth)
        entries.append(Entry(name, attributes, high << 16 | low, size, stamp, (date, time)))
    return Parsed(entries, faults, dot)


def _cluster(data: bytes, at: int) -> int:
    return int.from_bytes(data[at + 26 : at + 28] + data[at + 20 : at + 22], "little")


def _long_name(data: bytes, parts: list[int]) -> str:
    raw = b"".join(
        data[at + 1 : at + 11] + data[at + 14 : at + 26] + data[at + 28 : at + 32]
        for at in reversed(parts)
    )
    text = raw.decode("utf-16-le", "surrogatepass")
    assert len(text) <= len(parts) * UNITS_PER_LONG_ENTRY
    return text.partition("\0")[0]


def _short_name(short: bytes, case: int) -> str:
    if short[0] == _JAPANESE:
        short = bytes((_DELETED,)) + short[1:]
    base, extension = (part.decode(_CODE_PAGE).rstrip(" ") for part in (short[:8], short[8:]))
    if case & _LOWER_BASE:
        base = base.lower()
    if case & _LOWER_EXTENSION:
        extension = extension.lower()
    return f"{base}.{extension}" if extension else base
