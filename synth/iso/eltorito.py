"""El Torito: the boot record, the boot catalogue, and the table patched into a boot file."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ...pieces import Extent, Hole, HostSlice, Kind, Piece
from ..host import ScannedFiles
from ..image import Region
from .layout import BOOT_INFO_BYTES, Start
from .records import (
    BLOCK_BYTES,
    BOOT_ENTRY,
    BOOT_INFO_OFFSET,
    BOOT_INFO_TABLE,
    BOOT_RECORD,
    LAST_SECTION_HEADER,
    PLATFORM_BIOS,
    PLATFORM_UEFI,
    SECTION_HEADER,
    SYSTEM_BLOCKS,
    VALIDATION_ENTRY,
)

_SECTOR_BYTES = 512
_MOST_SECTORS = 0xFFFF
_CHUNK_BYTES = 1 << 20
_WORD = struct.Struct("<I")


def boot_record(catalogue_block: int) -> bytes:
    """The descriptor that leads to the catalogue."""
    record: bytes = BOOT_RECORD.build({"BootCatalogPointer": catalogue_block})
    return record


def boot_catalogue(bios: Start | None, uefi: Start | None, load_size: int) -> bytes:
    """The catalogue, as a block; `load_size` is what a BIOS loads, in sectors of 512 bytes."""
    # A length that its field can't hold is 0: up to the end of the medium, say UEFI's loaders.
    uefi_sectors = -(-uefi.size // _SECTOR_BYTES) if uefi else 0
    if uefi_sectors > _MOST_SECTORS:
        uefi_sectors = 0
    entries: list[bytes] = []
    if bios:
        entries += [_validation(PLATFORM_BIOS), _boot_entry(load_size, bios.block)]
    elif uefi:
        entries += [_validation(PLATFORM_UEFI), _boot_entry(uefi_sectors, uefi.block)]
    if bios and uefi:
        header = {
            "HeaderIndicator": LAST_SECTION_HEADER,
            "PlatformID": PLATFORM_UEFI,
            "NumberOfSectionEntries": 1,
        }
        entries += [SECTION_HEADER.build(header), _boot_entry(uefi_sectors, uefi.block)]
    return b"".join(entries).ljust(BLOCK_BYTES, b"\0")


def _validation(platform: int) -> bytes:
    fields = {"PlatformID": platform, "Checksum": 0}
    words = struct.unpack("<16H", VALIDATION_ENTRY.build(fields))
    entry: bytes = VALIDATION_ENTRY.build(fields | {"Checksum": -sum(words) & 0xFFFF})
    return entry


def _boot_entry(sectors: int, block: int) -> bytes:
    entry: bytes = BOOT_ENTRY.build({"SectorCount": sectors, "LoadRBA": block})
    return entry


class BootFile:
    """The section of a boot file that is told where it is: the host's bytes but for a table.

    The table holds a checksum of the file, so the file is read when the table is first asked for.
    """

    def __init__(self, files: ScannedFiles, node: int, start: Start) -> None:
        self.size = -(-start.size // BLOCK_BYTES) * BLOCK_BYTES
        self._files = files
        self._node = node
        self._start = start
        self._head: bytes | None = None

    def pieces(self, offset: int, length: int) -> list[Piece]:
        pieces: list[Piece] = []
        end, size = offset + length, self._start.size
        if offset < BOOT_INFO_BYTES:
            pieces.append(self._patched_head()[offset:end])
        start, stop = max(offset, BOOT_INFO_BYTES), min(end, size)
        if start < stop:
            pieces.append(HostSlice(self._files, self._node, start, stop - start))
        if end > max(offset, size):
            pieces.append(Hole(end - max(offset, size)))
        return pieces

    def extents(self, offset: int, length: int) -> Iterator[Extent]:  # noqa: ARG002
        yield Extent(length, False, Kind.FILE)

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.FILE, "boot file, with boot info table")

    def _patched_head(self) -> bytes:
        """The first 64 bytes."""
        if self._head is None:
            total = 0
            for offset in range(0, self._start.size, _CHUNK_BYTES):
                share = min(_CHUNK_BYTES, self._start.size - offset)
                data = self._files.read(self._node, offset, share)
                if not offset:
                    head, data = data[:BOOT_INFO_OFFSET], data[BOOT_INFO_BYTES:]
                data += bytes(-len(data) % 4)
                total += sum(word for (word,) in _WORD.iter_unpack(data))
            table = BOOT_INFO_TABLE.build(
                {
                    "PrimaryVolumeDescriptor": SYSTEM_BLOCKS,
                    "BootFile": self._start.block,
                    "BootFileLength": self._start.size,
                    "Checksum": total & 0xFFFF_FFFF,
                }
            )
            self._head = head + table
        return self._head
