"""El Torito: the boot record, the boot catalogue, and the table patched into a boot file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ...export import FileRun, Hole, Kind, Piece, whole_sectors
from ..image.files import Files, FileSource, OpenedFiles
from ..image.section import OpenSection, Region, Section
from .layout import GRUB_BLOCK_LIST, Start
from .options import WHOLE_FILE
from .records import (
    BLOCK_BYTES,
    BOOT_ENTRY,
    BOOT_INFO_END,
    BOOT_INFO_OFFSET,
    BOOT_INFO_TABLE,
    BOOT_RECORD,
    LAST_SECTION_HEADER,
    NO_EMULATION,
    PLATFORM_BIOS,
    PLATFORM_UEFI,
    SECTION_HEADER,
    SYSTEM_BLOCKS,
    VALIDATION_ENTRY,
)

_SECTOR_BYTES = 512
_MOST_SECTORS = 0xFFFF
_CHUNK_BYTES = 1 << 20
_GRUB_REST_SECTORS = 5
_WORD = struct.Struct("<I")


def boot_record(catalogue_block: int) -> bytes:
    """Return the descriptor that leads to the catalogue."""
    record: bytes = BOOT_RECORD.build({"BootCatalogPointer": catalogue_block})
    return record


def boot_catalogue(
    bios: Start | None, uefi: Start | None, load_size: int, media: int = NO_EMULATION
) -> bytes:
    """Return the catalogue, as a block; `load_size` is what a BIOS loads, in sectors of 512 bytes
    or `WHOLE_FILE`, and `media` what it emulates.
    """
    if bios and load_size == WHOLE_FILE:
        blocks = -(-bios.size // BLOCK_BYTES)
        load_size = min(blocks * (BLOCK_BYTES // _SECTOR_BYTES), _MOST_SECTORS)
    # A length that its field can't hold is 0: up to the end of the medium, say UEFI's loaders.
    uefi_sectors = -(-uefi.size // _SECTOR_BYTES) if uefi else 0
    if uefi_sectors > _MOST_SECTORS:
        uefi_sectors = 0
    entries: list[bytes] = []
    if bios:
        entries += [_validation(PLATFORM_BIOS), _boot_entry(load_size, bios.block, media)]
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


def _boot_entry(sectors: int, block: int, media: int = NO_EMULATION) -> bytes:
    fields = {"BootMediaType": media, "SectorCount": sectors, "LoadRBA": block}
    entry: bytes = BOOT_ENTRY.build(fields)
    return entry


class BootFile(Section):
    """The section of a file with a place of its own: the host's bytes, and a few that tell it that.

    The boot info table holds a checksum of the file, so the file is read when the table is first
    asked for. With `grub_block_list`, GRUB's image is told where the rest of it is on a disk.
    """

    def __init__(
        self,
        source: FileSource,
        node: int,
        start: Start,
        *,
        info: bool = False,
        grub_block_list: bool = False,
        label: str = "boot file, told where it is",
    ) -> None:
        self.size = -(-start.size // BLOCK_BYTES) * BLOCK_BYTES
        self.sources = (source,)
        self.node = node
        self.start = start
        self.info = info
        self.grub_block_list = grub_block_list
        self._label = label

    def open(self, files: OpenedFiles) -> OpenSection:
        """See `Section.open`."""
        return _OpenBootFile(self, files.of(self.sources[0]))

    def regions(self) -> Iterator[Region]:
        yield Region(0, self.size, Kind.FILE, self._label)


class _OpenBootFile(OpenSection):
    """The same with open files."""

    kind = Kind.FILE

    def __init__(self, section: BootFile, files: Files) -> None:
        self.size = section.size
        self._files = files
        self._node = section.node
        self._start = section.start
        self._grub_block_list = section.grub_block_list
        self._patches: list[tuple[int, int, Callable[[], bytes]]] = []
        if section.info:
            self._patches.append((BOOT_INFO_OFFSET, BOOT_INFO_END, self._table))
        if section.grub_block_list:
            self._patches.append((*GRUB_BLOCK_LIST, self._block_list))
        self._info: bytes | None = None

    def pieces(self, offset: int, length: int) -> list[Piece]:
        pieces: list[Piece] = []
        end = offset + length
        for start, stop, patch in self._patches:
            if offset < min(start, end):
                pieces += self._host_pieces(offset, min(start, end))
                offset = min(start, end)
            if start <= offset < min(stop, end):
                pieces.append(patch()[offset - start : end - start])
                offset = min(stop, end)
        return pieces + self._host_pieces(offset, end)

    def _host_pieces(self, start: int, end: int) -> list[Piece]:
        """Return what is the host's in a range, and the slack behind it."""
        pieces: list[Piece] = []
        size = self._start.size
        if start < min(end, size):
            pieces.append(self._files.piece(self._node, start, min(end, size) - start))
        if max(start, size) < end:
            pieces.append(Hole(end - max(start, size)))
        return pieces

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        used = min(max(whole_sectors(self._start.size) - offset, 0), length)
        if used:
            yield FileRun(used, self._node + 1)
        if used < length:
            yield FileRun(length - used, 0)

    def _block_list(self) -> bytes:
        """Return the sector of what follows the image's second block, as GRUB's `diskboot` has
        it.
        """
        sector = self._start.block * (BLOCK_BYTES // _SECTOR_BYTES) + _GRUB_REST_SECTORS
        return sector.to_bytes(8, "little")

    def _as_patched(self, data: bytes) -> bytes:
        """Return the file's beginning with the list of blocks, which the checksum counts."""
        start, stop = GRUB_BLOCK_LIST
        if not self._grub_block_list:
            return data
        return data[:start] + self._block_list() + data[stop:]

    def _table(self) -> bytes:
        if self._info is None:
            total = 0
            for offset in range(0, self._start.size, _CHUNK_BYTES):
                share = min(_CHUNK_BYTES, self._start.size - offset)
                data = self._files.read(self._node, offset, share)
                if not offset:
                    data = self._as_patched(data)[BOOT_INFO_END:]
                data += bytes(-len(data) % 4)
                total += sum(word for (word,) in _WORD.iter_unpack(data))
            self._info = BOOT_INFO_TABLE.build(
                {
                    "PrimaryVolumeDescriptor": SYSTEM_BLOCKS,
                    "BootFile": self._start.block,
                    "BootFileLength": self._start.size,
                    "Checksum": total & 0xFFFF_FFFF,
                }
            )
        return self._info
