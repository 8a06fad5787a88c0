"""A strict reader of ISO 9660, written from the specifications: asserts what they ask for.

ECMA-119, SUSP and RRIP 1.12, the Joliet specification, El Torito. It shares no code with `synth`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 2048
FILE_NAME = {
    1: re.compile(rb"[A-Z0-9_]{1,8}\.[A-Z0-9_]{0,3};1"),
    2: re.compile(rb"[A-Z0-9_]{1,30}\.[A-Z0-9_]{0,30};1"),
}
DIRECTORY_NAME = {1: re.compile(rb"[A-Z0-9_]{1,8}"), 2: re.compile(rb"[A-Z0-9_]{1,31}")}


@dataclass
class Record:
    """A directory record."""

    identifier: bytes
    block: int
    length: int
    flags: int
    use: bytes
    where: int


@dataclass
class Strict:
    """What is gathered on the way, to be compared at the end."""

    data: memoryview
    level: int
    extents: dict[int, int] = field(default_factory=dict)
    """First block and end block of each extent of a file or directory."""


def check(image: Path, *, level: int = 3) -> None:
    """Asserts that an image is an ISO 9660 in all that can be seen without looking into files."""
    data = memoryview(image.read_bytes())
    strict = Strict(data, min(level, 2))
    assert len(data) % BLOCK == 0
    kinds = []
    at = 16
    while True:
        descriptor = bytes(data[at * BLOCK : (at + 1) * BLOCK])
        assert descriptor[1:7] == b"CD001\x01", f"block {at} is no descriptor"
        kinds.append(descriptor[0])
        if descriptor[0] == 255:
            assert not descriptor[7:].strip(b"\0")
            break
        if descriptor[0] == 0:
            _check_boot(strict, descriptor)
        else:
            _check_volume(strict, descriptor)
        at += 1
    assert kinds[0] == 1
    assert kinds[-1] == 255
    assert kinds == sorted(kinds[:1]) + sorted(kinds[1:])
    end = 0
    for first, stop in sorted(strict.extents.items()):
        assert end <= first, f"the extent at {first} overlaps the one before it"
        assert stop * BLOCK <= len(data)
        end = stop


def both_32(data: bytes, at: int) -> int:
    """A both-endian number of 8 bytes."""
    little, big = struct.unpack_from("<I", data, at)[0], struct.unpack_from(">I", data, at + 4)[0]
    assert little == big, f"both-endian number at {at}: {little} and {big}"
    return int(little)


def both_16(data: bytes, at: int) -> int:
    """A both-endian number of 4 bytes."""
    little, big = struct.unpack_from("<H", data, at)[0], struct.unpack_from(">H", data, at + 2)[0]
    assert little == big, f"both-endian number at {at}: {little} and {big}"
    return int(little)


def _check_boot(strict: Strict, descriptor: bytes) -> None:
    assert descriptor[7:39] == b"EL TORITO SPECIFICATION".ljust(32, b"\0")
    (block,) = struct.unpack_from("<I", descriptor, 71)
    catalogue = bytes(strict.data[block * BLOCK : (block + 1) * BLOCK])
    strict.extents[block] = block + 1
    assert catalogue[0] == 1
    assert catalogue[1] in {0, 0xEF}
    assert sum(struct.unpack("<16H", catalogue[:32])) & 0xFFFF == 0
    assert catalogue[30:32] == b"\x55\xaa"
    assert catalogue[32] == 0x88
    at = 64
    if catalogue[at] in {0x90, 0x91}:
        assert catalogue[at] == 0x91
        count = struct.unpack_from("<H", catalogue, at + 2)[0]
        assert all(catalogue[at + 32 * n] == 0x88 for n in range(1, count + 1))
        at += 32 * (count + 1)
    assert not catalogue[at:].strip(b"\0")


def _check_volume(strict: Strict, descriptor: bytes) -> None:
    assert both_32(descriptor, 80) * BLOCK == len(strict.data)
    assert both_16(descriptor, 120) == both_16(descriptor, 124) == 1
    assert both_16(descriptor, 128) == BLOCK
    assert descriptor[881] == 1
    for at in (813, 830, 847, 864):
        assert re.fullmatch(rb"\d{16}", descriptor[at : at + 16])
    is_joliet = descriptor[0] == 2
    assert (descriptor[88:91] == b"%/E") == is_joliet
    root = _record(descriptor[156:190], 0)
    assert root.identifier == b"\0"
    directories = _walk(strict, root, joliet=is_joliet)
    size = both_32(descriptor, 132)
    little = _path_table(strict, struct.unpack_from("<I", descriptor, 140)[0], size, "<")
    big = _path_table(strict, struct.unpack_from(">I", descriptor, 148)[0], size, ">")
    assert little == big
    assert sorted(extent for _, _, extent in little) == sorted(directories)
    assert little[0][:2] == (1, b"\0")
    keys = [(parent, name) for parent, name, _ in little[1:]]
    assert keys == sorted(keys)
    for number, (parent, name, extent) in enumerate(little[1:], 2):
        assert parent < number
        assert directories[extent] == (little[parent - 1][2], name)


def _path_table(strict: Strict, block: int, size: int, order: str) -> list[tuple[int, bytes, int]]:
    strict.extents[block] = block - (-size // BLOCK)
    data = bytes(strict.data[block * BLOCK : block * BLOCK + size])
    table = []
    at = 0
    while at < size:
        length, _, extent, parent = struct.unpack_from(f"{order}BBIH", data, at)
        table.append((parent, data[at + 8 : at + 8 + length], extent))
        at += 8 + length + length % 2
    assert at == size
    return table


def _record(data: bytes, where: int) -> Record:
    length, size = data[0], data[32]
    assert length == len(data)
    assert length % 2 == 0
    assert both_16(data, 28) == 1
    assert data[1] == data[26] == data[27] == 0
    _check_date(data[18:25])
    start = 33 + size + (1 - size % 2)
    assert not data[33 + size : start].strip(b"\0")
    return Record(
        data[33 : 33 + size], both_32(data, 2), both_32(data, 10), data[25], data[start:], where
    )


def _check_date(date: bytes) -> None:
    _, month, day, hour, minute, second, zone = struct.unpack("6Bb", date)
    assert 1 <= month <= 12
    assert 1 <= day <= 31
    assert hour <= 23
    assert minute <= 59
    assert second <= 59
    assert -48 <= zone <= 52


def _walk(strict: Strict, root: Record, *, joliet: bool) -> dict[int, tuple[int, bytes]]:
    """All directories by their first block, each with that of its parent and its name."""
    directories = {root.block: (root.block, b"\0")}
    waiting = [(root, root)]
    has_rock_ridge = None
    while waiting:
        directory, parent = waiting.pop()
        records = _records(strict, directory)
        assert [each.identifier for each in records[:2]] == [b"\0", b"\1"]
        for dot, real in zip(records[:2], (directory, parent), strict=True):
            assert (dot.block, dot.length, dot.flags) == (real.block, real.length, 2)
        if directory is root:
            has_rock_ridge = records[0].use[:7] == b"SP\x07\x01\xbe\xef\x00"
            assert not (joliet and has_rock_ridge)
        _check_order(records[2:], strict.level, joliet=joliet)
        names: list[bytes] = []
        for number, each in enumerate(records):
            if has_rock_ridge:
                entries = _system_use(strict, each)
                if directory is root and not number:
                    (er,) = (entry for entry in entries if entry[:2] == b"ER")
                    assert er[8 : 8 + er[4]] == b"IEEE_P1282"
                    assert len(er) == 8 + er[4] + er[5] + er[6]
                _check_rock_ridge(entries, is_dot=number < 2)
                continues = bool(records[number - 1].flags & 0x80)
                if number > 1 and not continues:
                    names.append(b"".join(entry[5:] for entry in entries if entry[:2] == b"NM"))
            else:
                assert not each.use.strip(b"\0")
            if number > 1 and each.flags & 2:
                assert each.block not in directories
                directories[each.block] = (directory.block, each.identifier)
                waiting.append((each, directory))
            elif number > 1 and each.length:
                stop = each.block - (-each.length // BLOCK)
                assert strict.extents.setdefault(each.block, stop) == stop
            elif number > 1:
                assert each.block == 0
        assert len(set(names)) == len(names)
    return directories


def _records(strict: Strict, directory: Record) -> list[Record]:
    assert directory.length
    assert directory.length % BLOCK == 0
    stop = directory.block + directory.length // BLOCK
    strict.extents[directory.block] = stop
    records = []
    for block in range(directory.block, stop):
        data = bytes(strict.data[block * BLOCK : (block + 1) * BLOCK])
        at = 0
        while at < BLOCK and data[at]:
            assert at + data[at] <= BLOCK, "a record crosses a block"
            records.append(_record(data[at : at + data[at]], block))
            at += data[at]
        assert at, "an empty block in a directory"
        assert not data[at:].strip(b"\0")
    return records


def _check_order(records: list[Record], level: int, *, joliet: bool) -> None:
    keys = []
    for number, each in enumerate(records):
        is_directory = bool(each.flags & 2)
        if each.flags & 0x80:
            assert each.length % BLOCK == 0
            assert records[number + 1].identifier == each.identifier
            assert records[number + 1].block == each.block + each.length // BLOCK
        if joliet:
            name = each.identifier.decode("utf-16-be")
            assert not set(name) & set("*/:;?\\\0")
            assert len(each.identifier) <= 2 * 103
            stem, dot, extension = name.rpartition(".")
            if not dot or is_directory:
                stem, extension = name, ""
            keys.append((stem, extension))
            continue
        allowed = DIRECTORY_NAME if is_directory else FILE_NAME
        assert allowed[level].fullmatch(each.identifier), each.identifier
        base, _, rest = each.identifier.decode().removesuffix(";1").partition(".")
        assert len(base + rest) <= 31
        keys.append((base.ljust(40), rest.ljust(40)))
    assert keys == sorted(keys)
    single = [
        key
        for key, each, before in zip(keys, records, [None, *records], strict=False)
        if not (before and before.flags & 0x80)
    ]
    assert len(set(single)) == len(single)


def _system_use(strict: Strict, record: Record) -> list[bytes]:
    """The entries of a record, those in continuation areas too."""
    entries, use, areas = [], record.use, 0
    while use:
        after = b""
        while len(use) >= 4:
            length = use[2]
            assert 4 <= length <= len(use)
            entry, use = use[:length], use[length:]
            entries.append(entry)
            if entry[:2] == b"CE":
                assert length == 28
                assert not after
                block, offset, size = both_32(entry, 4), both_32(entry, 12), both_32(entry, 20)
                assert offset + size <= BLOCK
                after = bytes(strict.data[block * BLOCK + offset :][:size])
        assert not use.strip(b"\0")
        use = after
        areas += 1
        assert areas < 16
    return entries


def _check_rock_ridge(entries: list[bytes], *, is_dot: bool) -> None:
    kinds = [entry[:2] for entry in entries]
    assert kinds.count(b"PX") == kinds.count(b"TF") == 1
    assert (b"NM" in kinds) != is_dot
    for entry in entries:
        assert entry[3] == 1
        if entry[:2] == b"PX":
            assert len(entry) == 44
            mode = both_32(entry, 4)
            both_32(entry, 12), both_32(entry, 20), both_32(entry, 28), both_32(entry, 36)
        elif entry[:2] == b"TF":
            assert entry[4] == 2
            _check_date(entry[5:12])
        elif entry[:2] == b"PN":
            assert len(entry) == 20
            both_32(entry, 4), both_32(entry, 12)
    assert (b"SL" in kinds) == (mode >> 12 == 0o12)
    for kind in (b"NM", b"SL"):
        flags = [entry[4] & 1 for entry in entries if entry[:2] == kind]
        assert not flags or flags == [1] * (len(flags) - 1) + [0]
