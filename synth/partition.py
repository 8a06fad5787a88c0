"""Partition tables around a file system."""

from __future__ import annotations

from construct import Array, Bytes, Const, Int8ul, Int16ul, Int32ul, Padding, Struct

from ..pieces import Kind
from .image import Fixed, Image, Section, Zeros

SECTOR_BYTES = 512
FIRST_LBA = 2048  # 1 MiB: where every current tool puts the first partition
TYPE_FAT32_LBA = 0x0C
MOST_SECTORS = 0xFFFF_FFFF

# UEFI 2.10, section 5.2.1 "Legacy Master Boot Record".
PARTITION_RECORD = Struct(
    "BootIndicator" / Int8ul,
    "StartingCHS" / Bytes(3),
    "OSType" / Int8ul,
    "EndingCHS" / Bytes(3),
    "StartingLBA" / Int32ul,
    "SizeInLBA" / Int32ul,
)
MBR = Struct(
    "BootCode" / Bytes(440),
    "UniqueMBRDiskSignature" / Int32ul,
    Padding(2),
    "PartitionRecord" / Array(4, PARTITION_RECORD),
    "Signature" / Const(0xAA55, Int16ul),
)
assert MBR.sizeof() == SECTOR_BYTES

_NO_PARTITION = {
    "BootIndicator": 0,
    "StartingCHS": bytes(3),
    "OSType": 0,
    "EndingCHS": bytes(3),
    "StartingLBA": 0,
    "SizeInLBA": 0,
}


def chs(lba: int, heads: int, sectors_per_track: int) -> bytes:
    """A sector's address as cylinder, head and sector in 3 bytes; beyond 8 GB the largest one."""
    cylinder, rest = divmod(lba, heads * sectors_per_track)
    head, sector = divmod(rest, sectors_per_track)
    if cylinder > 1023:
        cylinder, head, sector = 1023, heads - 1, sectors_per_track - 1
    return bytes((head, (sector + 1) | cylinder >> 8 << 6, cylinder & 0xFF))


def master_boot_record(
    first_lba: int, sector_count: int, os_type: int, signature: int, heads: int, sectors: int
) -> bytes:
    """The sector 0 of a disk with one partition; `heads` and `sectors` per track for old BIOSes."""
    partition = {
        "BootIndicator": 0,
        "StartingCHS": chs(first_lba, heads, sectors),
        "OSType": os_type,
        "EndingCHS": chs(first_lba + sector_count - 1, heads, sectors),
        "StartingLBA": first_lba,
        "SizeInLBA": sector_count,
    }
    record: bytes = MBR.build(
        {
            "BootCode": bytes(440),
            "UniqueMBRDiskSignature": signature,
            "PartitionRecord": [partition, _NO_PARTITION, _NO_PARTITION, _NO_PARTITION],
        }
    )
    return record


def with_mbr(volume: Section, os_type: int, signature: int, heads: int, sectors: int) -> Image:
    """A disk whose one partition is `volume`, from LBA `FIRST_LBA` to the end."""
    record = master_boot_record(
        FIRST_LBA, volume.size // SECTOR_BYTES, os_type, signature, heads, sectors
    )
    gap = (FIRST_LBA - 1) * SECTOR_BYTES
    return Image(
        [
            Fixed(record, Kind.PARTITION_TABLE, "master boot record"),
            Zeros(gap, Kind.RESERVED, "gap before the partition"),
            volume,
        ]
    )
