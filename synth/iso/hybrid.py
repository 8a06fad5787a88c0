"""Hybrids: partition tables in an image's system area, so that the same bytes start as a disk."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import PlanError, option_named
from ...export import Kind
from ..image.partition import (
    CODE_BYTES,
    MOST_SECTORS,
    TYPE_BASIC_DATA,
    TYPE_EFI_SYSTEM,
    Gpt,
    GptPartition,
    checked_boot_code,
    gpt,
    guid_of,
    mbr,
    partition_record,
    protective_record,
)
from ..image.section import Fixed, Section, Zeros
from .layout import IsoLayout, Start
from .places import HYBRID_HEADS, HYBRID_SECTORS_PER_TRACK, PARTITION_BLOCKS, Part
from .records import BLOCK_BYTES, SYSTEM_BLOCKS

SECTOR_BYTES = 512
_SECTORS_A_BLOCK = BLOCK_BYTES // SECTOR_BYTES
_TYPE_HIDDEN = 0x17  # what isohybrid gives the whole image
# Where the codes of isolinux and of GRUB have the sector of what they go on with, in 64 bits.
_START_FIELD = slice(432, 440)
_GRUB_SKIPS_SECTORS = 4  # of its image, GRUB's code loads what follows the first block


def system_area(layout: IsoLayout) -> Iterator[Section]:
    """Yield the sections of the first 16 blocks.

    Raise PlanError when the boot code is none, or what it starts is beyond what an MBR reaches.
    """
    size = SYSTEM_BLOCKS * BLOCK_BYTES
    if not layout.options.hybrid:
        yield Zeros(size, Kind.RESERVED, "system area")
        return
    kind, total = Kind.PARTITION_TABLE, layout.blocks * _SECTORS_A_BLOCK
    if layout.partition:
        # The partition for UEFI is in the GPT alone: xorriso would take one in an MBR for something
        # to append. Some BIOSes start only what has an active partition: of no type, of one sector.
        records = [protective_record(total), partition_record(0, 0, 1, active=True)]
    elif total > MOST_SECTORS:
        raise PlanError(
            f"{option_named('hybrid')} needs a partition that ends at {total * SECTOR_BYTES} "
            f"bytes; an MBR ends at {MOST_SECTORS * SECTOR_BYTES}"
        )
    else:
        geometry = HYBRID_HEADS, HYBRID_SECTORS_PER_TRACK
        first = _volume_sectors(layout)[0]
        record = partition_record(_TYPE_HIDDEN, first, total - first, *geometry, active=True)
        records = [record]
    signature = int.from_bytes(layout.identity[:4], "little")
    yield Fixed(mbr(_boot_code(layout), signature, records), kind, "master boot record")
    size -= SECTOR_BYTES
    tables = _tables(layout)
    if tables:
        yield Fixed(tables.header, kind, "GPT header")
        yield Fixed(tables.entries, kind, "GPT entries")
        size -= SECTOR_BYTES + len(tables.entries)
    yield Zeros(size, Kind.RESERVED, "system area")


def tail(layout: IsoLayout) -> Iterator[Section]:
    """Yield the sections at the end of the image."""
    size = len(layout.places[Part.TAIL]) * BLOCK_BYTES
    tables = _tables(layout)
    if not tables:
        yield Zeros(size, Kind.RESERVED, "padding")
        return
    gap = size - len(tables.entries) - SECTOR_BYTES
    yield Zeros(gap, Kind.RESERVED, "padding")
    yield Fixed(tables.entries, Kind.PARTITION_TABLE, "backup GPT entries")
    yield Fixed(tables.backup_header, Kind.PARTITION_TABLE, "backup GPT header")


def _tables(layout: IsoLayout) -> Gpt | None:
    """Return the GPT, which only UEFI needs."""
    if not layout.partition:
        return None
    partition = GptPartition(
        TYPE_EFI_SYSTEM,
        guid_of(layout.identity[20:36]),
        *_sectors(layout.partition),
        "EFI System",
    )
    partitions = [partition]
    if layout.options.volume_partition:
        guid = guid_of(bytes(each ^ 0xFF for each in layout.identity[20:36]))
        volume = GptPartition(TYPE_BASIC_DATA, guid, *_volume_sectors(layout), "ISO9660")
        partitions.insert(0, volume)
    disk_guid = guid_of(layout.identity[4:20])
    return gpt(partitions, disk_guid, layout.blocks * _SECTORS_A_BLOCK, SECTOR_BYTES)


def _volume_sectors(layout: IsoLayout) -> tuple[int, int]:
    """Return the first sector of the volume's partition, or of the image, and their number."""
    first = PARTITION_BLOCKS if layout.options.volume_partition else 0
    return first * _SECTORS_A_BLOCK, (layout.volume_blocks - first) * _SECTORS_A_BLOCK


def _sectors(start: Start) -> tuple[int, int]:
    """Return the first sector of a boot image, and how many sectors its blocks have."""
    blocks = -(-start.size // BLOCK_BYTES)
    return start.block * _SECTORS_A_BLOCK, blocks * _SECTORS_A_BLOCK


def _boot_code(layout: IsoLayout) -> bytes:
    """Return the code for a BIOS, told where to go on. Raise PlanError when it is none."""
    code = checked_boot_code(layout.options.mbr_code)
    if not code:
        return code
    patched = bytearray(code.ljust(CODE_BYTES, b"\0"))
    is_grub = layout.options.goes_on_with_grub
    if layout.bios and (is_grub or b"isolinux" in code):
        sector = layout.bios.block * _SECTORS_A_BLOCK
        if is_grub:
            sector += _GRUB_SKIPS_SECTORS
        patched[_START_FIELD] = sector.to_bytes(8, "little")
    return bytes(patched)
