"""The slots that directory entries are made of, packed for a whole directory at a time.

An entry is the slots of its long name, the last part first, and then its 8.3 slot.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from operator import mul

from .records import (
    ATTR_ARCHIVE,
    ATTR_DIRECTORY,
    ATTR_LONG_NAME,
    ATTR_READ_ONLY,
    ENTRY_BYTES,
    LAST_LONG_ENTRY,
    MOST_NAME_UNITS,
    PACK_DIRECTORY_ENTRY,
    UNITS_PER_LONG_ENTRY,
)

PART_PLACES: tuple[int, ...] = (*range(1, 11), *range(14, 26), *range(28, 32))
"""The places of a name's bytes in a long-name slot: LDIR_Name1, 2 and 3."""
CHECKSUM_PLACE = 13
"""LDIR_Chksum."""

_PART_BYTES = 2 * UNITS_PER_LONG_ENTRY
# What follows a name of so many units, up to the next name.
_FILLS = tuple(
    "\0" + "\uffff" * (-length % UNITS_PER_LONG_ENTRY - 1) if length % UNITS_PER_LONG_ENTRY else ""
    for length in range(MOST_NAME_UNITS + 1)
)


def attributes_of(mode: int) -> int:
    """Return DIR_Attr of what has this st_mode."""
    if stat.S_ISDIR(mode):
        return ATTR_DIRECTORY
    return ATTR_ARCHIVE if mode & 0o222 else ATTR_ARCHIVE | ATTR_READ_ONLY


def short_slots(
    shorts: Sequence[bytes],
    attributes: Sequence[int],
    times: Sequence[tuple[int, int, int]],
    clusters: Sequence[int],
    sizes: Sequence[int],
) -> list[bytes]:
    """Return the 8.3 slot of each of a directory's entries: names, attributes, `stamps`, first
    clusters and sizes in bytes (FATGEN, "FAT Directory Structure").
    """
    pack = PACK_DIRECTORY_ENTRY
    rows = zip(shorts, attributes, times, clusters, sizes, strict=True)
    return [
        pack(short, bits, 0, hundredths, time, date, date, cluster >> 16,
             time, date, cluster & 0xFFFF, size)
        for short, bits, (date, time, hundredths), cluster, size in rows
    ]  # fmt: skip


def long_slots(names: Sequence[str], counts: Sequence[int], totals: bytes) -> Sequence[bytes]:
    """Return the long-name slots of each of a directory's entries, last part first.

    `counts` are the numbers of slots, that of the 8.3 slot included, and `totals` the checksums of
    the 8.3 names. A name that doesn't fill its last slot ends with one zero unit, then 0xFFFF; one
    that does has neither (FATGEN, "Long Directory Entry Structure").

    All names become one text of 13 units a slot, and the bytes that stand at one place of each slot
    are put there in one go: what takes time is what is done for each name. `README.markdown` and
    `b` in 3 and 2 slots, that is 2 and 1 for their long names:

        text    b0............ README.markdo wn0..........     last name first, filled up
        parts   |             |             |
        slots   42 wn0..........  01 README.markdo  41 b0............    read from its end

    So the text's parts, taken backwards, are the slots in order: of each name the last part first.
    The first slot of a name has 0x40 in its number.
    """
    names = _in_units(names)
    if 1 in counts:
        names = [name if count > 1 else "" for name, count in zip(names, counts, strict=True)]
    texts = [""] * (2 * len(names))
    texts[0::2] = names[::-1]
    texts[1::2] = list(map(_FILLS.__getitem__, map(len, names)))[::-1]
    blob = "".join(texts).encode("utf-16-le", "surrogatepass")
    long_counts = [count - 1 for count in counts]
    orders = [_order(count) for count in range(max(counts))]
    each_total = struct.unpack(f"{len(totals)}c", totals)
    slots = bytearray(len(blob) // _PART_BYTES * ENTRY_BYTES)
    slots[0::ENTRY_BYTES] = b"".join(map(orders.__getitem__, long_counts))
    slots[11::ENTRY_BYTES] = bytes((ATTR_LONG_NAME,)) * (len(blob) // _PART_BYTES)
    slots[CHECKSUM_PLACE::ENTRY_BYTES] = b"".join(map(mul, each_total, long_counts))
    # Byte `at` of every part, from the last part to the first: the first step back is from the end
    # of the text to the start of its last part.
    for at, position in enumerate(PART_PLACES):
        slots[position::ENTRY_BYTES] = blob[at - _PART_BYTES :: -_PART_BYTES]
    forms = [f"{count * ENTRY_BYTES}s" for count in range(max(counts))]
    # Not by struct.unpack, which would keep a form as long as the directory.
    return struct.Struct("".join(map(forms.__getitem__, long_counts))).unpack(slots)


def _in_units(names: Sequence[str]) -> Sequence[str]:
    """Return the names, each character a UTF-16 unit: two surrogates for one that takes two."""
    joined = "/".join(names)
    if joined.isascii():
        return names
    encoded = joined.encode("utf-16-le")
    if len(encoded) == 2 * len(joined):
        return names
    return "".join(map(chr, struct.unpack(f"<{len(encoded) // 2}H", encoded))).split("/")


def _order(count: int) -> bytes:
    """Return what so many slots of a long name begin with."""
    numbers = bytes(range(count, 0, -1))
    return bytes((count | LAST_LONG_ENTRY,)) + numbers[1:] if count else b""
