"""Partition tables around a file system: MBR and GPT."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from ...errors import PlanError, option_named
from ...export import Kind
from ..structures import Structure
from .image import Image
from .section import Fixed, Zeros

CODE_BYTES = 440  # of an MBR, for a BIOS to run
FIRST_BYTE = 1 << 20  # where every current tool puts the first partition
MOST_SECTORS = 0xFFFF_FFFF

# UEFI 2.10, section 5.2.1 "Legacy Master Boot Record".
PARTITION_RECORD = Structure(
    ("BootIndicator", "B"),
    ("StartingCHS", "3s"),
    ("OSType", "B"),
    ("EndingCHS", "3s"),
    ("StartingLBA", "<I"),
    ("SizeInLBA", "<I"),
)
MBR = Structure(
    ("BootCode", f"{CODE_BYTES}s"),
    ("UniqueMBRDiskSignature", "<I"),
    ("", "2x"),
    ("PartitionRecord", "64s"),  # four of PARTITION_RECORD
    ("Signature", "<H", 0xAA55),
)
assert MBR.size == 512


def chs(lba: int, heads: int, sectors_per_track: int) -> bytes:
    """Return a sector's address as cylinder, head and sector in 3 bytes; beyond 8 GB the largest
    one.
    """
    cylinder, rest = divmod(lba, heads * sectors_per_track)
    head, sector = divmod(rest, sectors_per_track)
    if cylinder > 1023:
        cylinder, head, sector = 1023, heads - 1, sectors_per_track - 1
    return bytes((head, (sector + 1) | cylinder >> 8 << 6, cylinder & 0xFF))


class MbrPartition(NamedTuple):
    """Attributes of an MBR's one partition, besides its place."""

    os_type: int
    active: bool
    """True if a BIOS may start from it."""
    heads: int
    sectors_per_track: int


def with_mbr(
    volume: Image,
    sector_bytes: int,
    partition: MbrPartition,
    signature: int,
    boot_code: bytes = b"",
) -> Image:
    """Return a disk whose one partition is `volume`, from 1 MiB to the end."""
    first_lba = FIRST_BYTE // sector_bytes
    count = volume.size // sector_bytes
    measures = partition.heads, partition.sectors_per_track
    record = mbr(
        boot_code,
        signature,
        [partition_record(partition.os_type, first_lba, count, *measures, active=partition.active)],
    ).ljust(sector_bytes, b"\0")
    return Image(
        [
            Fixed(record, Kind.PARTITION_TABLE, "master boot record"),
            Zeros(FIRST_BYTE - sector_bytes, Kind.RESERVED, "gap before the partition"),
            volume,
        ]
    )


def partition_record(
    os_type: int,
    first_lba: int,
    count: int,
    heads: int = 255,
    sectors_per_track: int = 63,
    *,
    active: bool = False,
) -> dict[str, object]:
    """Return what an MBR says of a partition of `count` sectors."""
    return {
        "BootIndicator": 0x80 if active else 0,
        "StartingCHS": chs(first_lba, heads, sectors_per_track),
        "OSType": os_type,
        "EndingCHS": chs(first_lba + count - 1, heads, sectors_per_track),
        "StartingLBA": first_lba,
        "SizeInLBA": count,
    }


def protective_record(total: int) -> dict[str, object]:
    """Return what an MBR says of a GPT on a disk of `total` sectors (UEFI 2.10, section 5.2.3)."""
    return {
        "BootIndicator": 0,
        "StartingCHS": b"\x00\x02\x00",
        "OSType": _TYPE_PROTECTIVE,
        "EndingCHS": b"\xff\xff\xff",
        "StartingLBA": 1,
        "SizeInLBA": min(total - 1, MOST_SECTORS),
    }


def checked_boot_code(code: bytes | None) -> bytes:
    """Return what of a file with `--mbr-code` fits before the partition table. Raise PlanError."""
    if code is None:
        return b""
    if code[CODE_BYTES:510].strip(b"\0") or len(code) > 512:
        raise PlanError(
            f"{option_named('mbr_code')} has {len(code)} bytes; {CODE_BYTES} fit before the "
            "partition table (a "
            "whole sector is taken too, if the rest of it is zero)"
        )
    return code[:CODE_BYTES]


def mbr(boot_code: bytes, signature: int, partitions: Sequence[dict[str, object]]) -> bytes:
    """Return a master boot record of 512 bytes with up to four partitions."""
    return MBR.build(
        {
            "BootCode": boot_code.ljust(CODE_BYTES, b"\0"),
            "UniqueMBRDiskSignature": signature,
            "PartitionRecord": b"".join(map(PARTITION_RECORD.build, partitions)).ljust(64, b"\0"),
        }
    )


# UEFI 2.10, section 5.3.2 "GPT Header"; what follows up to the end of the sector is zero.
GPT_HEADER = Structure(
    ("Signature", "8s", b"EFI PART"),
    ("Revision", "<I", 0x00010000),
    ("HeaderSize", "<I", 92),
    ("HeaderCRC32", "<I"),
    ("", "4x"),
    ("MyLBA", "<Q"),
    ("AlternateLBA", "<Q"),
    ("FirstUsableLBA", "<Q"),
    ("LastUsableLBA", "<Q"),
    ("DiskGUID", "16s"),
    ("PartitionEntryLBA", "<Q"),
    ("NumberOfPartitionEntries", "<I"),
    ("SizeOfPartitionEntry", "<I"),
    ("PartitionEntryArrayCRC32", "<I"),
)
assert GPT_HEADER.size == 92

# UEFI 2.10, section 5.3.3 "GPT Partition Entry Array".
GPT_ENTRY = Structure(
    ("PartitionTypeGUID", "16s"),
    ("UniquePartitionGUID", "16s"),
    ("StartingLBA", "<Q"),
    ("EndingLBA", "<Q"),
    ("Attributes", "<Q"),
    ("PartitionName", "72s"),
)
GPT_ENTRY_BYTES = 128
assert GPT_ENTRY.size == GPT_ENTRY_BYTES

GPT_ENTRIES = 128
_LEGACY_BIOS_BOOTABLE = 1 << 2
# GUIDs as a GPT holds them, the first three fields little-endian (UEFI 2.10, appendix A).
TYPE_BASIC_DATA = bytes.fromhex("a2a0d0eb e5b9 3344 87c0 68b6b72699c7")  # EBD0A0A2-B9E5-4433-...
TYPE_EFI_SYSTEM = bytes.fromhex("28732ac1 1ff8 d211 ba4b 00a0c93ec93b")  # C12A7328-F81F-11D2-...
_TYPE_PROTECTIVE = 0xEE


def guid_of(digest: bytes) -> bytes:
    """Return a GUID made of 16 bytes of a digest, as a GPT holds it (RFC 9562, 5.5: version 5)."""
    import uuid  # noqa: PLC0415  seldom wanted, and slow to import

    return uuid.UUID(bytes=digest, version=5).bytes_le


class GptPartition(NamedTuple):
    """A partition as a GPT describes it. Sectors are counted from the start of the disk."""

    type_guid: bytes
    guid: bytes
    first_lba: int
    sectors: int
    name: str
    active: bool = False
    """To be booted by a BIOS (UEFI, "Legacy BIOS Bootable")."""


class Gpt(NamedTuple):
    """The parts of a GPT: each header is a sector, the entries are the same in both copies."""

    header: bytes
    entries: bytes
    backup_header: bytes


def gpt(partitions: Sequence[GptPartition], disk_guid: bytes, total: int, sector_bytes: int) -> Gpt:
    """Return the GPT of a disk of `total` sectors: from sector 1 on, and in its last sectors."""
    array_sectors = GPT_ENTRIES * GPT_ENTRY_BYTES // sector_bytes
    entries = b"".join(
        GPT_ENTRY.build(
            {
                "PartitionTypeGUID": each.type_guid,
                "UniquePartitionGUID": each.guid,
                "StartingLBA": each.first_lba,
                "EndingLBA": each.first_lba + each.sectors - 1,
                "Attributes": _LEGACY_BIOS_BOOTABLE if each.active else 0,
                "PartitionName": each.name.encode("utf-16-le").ljust(72, b"\0"),
            }
        )
        for each in partitions
    ).ljust(array_sectors * sector_bytes, b"\0")
    header = partial(_gpt_header, entries, disk_guid, total, sector_bytes)
    last = total - 1
    return Gpt(header(1, last, 2), entries, header(last, 1, last - array_sectors))


def _gpt_header(
    entries: bytes,
    disk_guid: bytes,
    total: int,
    sector_bytes: int,
    own_lba: int,
    other_lba: int,
    array_lba: int,
) -> bytes:
    """Return one of the two headers, as a sector of a disk of `total` sectors."""
    array_sectors = len(entries) // sector_bytes
    fields = {
        "HeaderCRC32": 0,
        "MyLBA": own_lba,
        "AlternateLBA": other_lba,
        "FirstUsableLBA": 2 + array_sectors,
        "LastUsableLBA": total - 2 - array_sectors,
        "DiskGUID": disk_guid,
        "PartitionEntryLBA": array_lba,
        "NumberOfPartitionEntries": GPT_ENTRIES,
        "SizeOfPartitionEntry": GPT_ENTRY_BYTES,
        "PartitionEntryArrayCRC32": zlib.crc32(entries),
    }
    fields["HeaderCRC32"] = zlib.crc32(GPT_HEADER.build(fields))
    return GPT_HEADER.build(fields).ljust(sector_bytes, b"\0")


def gpt_overhead(sector_bytes: int) -> int:
    """Return the bytes of the copy of the table behind the partition."""
    return GPT_ENTRIES * GPT_ENTRY_BYTES + sector_bytes


def with_gpt(
    volume: Image,
    sector_bytes: int,
    type_guid: bytes,
    *,
    disk_guid: bytes,
    partition_guid: bytes,
    name: str,
    active: bool = False,
    boot_code: bytes = b"",
) -> Image:
    """Return a disk whose one partition is `volume`, with both copies of the table.

    The partition starts at 1 MiB and ends where the copy of the table starts.
    """
    first_lba = FIRST_BYTE // sector_bytes
    total = (FIRST_BYTE + volume.size + gpt_overhead(sector_bytes)) // sector_bytes
    partition = GptPartition(
        type_guid, partition_guid, first_lba, volume.size // sector_bytes, name, active
    )
    tables = gpt([partition], disk_guid, total, sector_bytes)
    protective = mbr(boot_code, 0, [protective_record(total)]).ljust(sector_bytes, b"\0")
    gap = FIRST_BYTE - 2 * sector_bytes - len(tables.entries)
    table = Kind.PARTITION_TABLE
    return Image(
        [
            Fixed(protective, table, "protective MBR"),
            Fixed(tables.header, table, "GPT header"),
            Fixed(tables.entries, table, "GPT entries"),
            Zeros(gap, Kind.RESERVED, "gap before the partition"),
            volume,
            Fixed(tables.entries, table, "backup GPT entries"),
            Fixed(tables.backup_header, table, "backup GPT header"),
        ]
    )
