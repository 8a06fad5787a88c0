"""The structures of an ISO 9660 image, declared in the specifications' field names; no logic.

Specifications: ECMA-119 (ISO 9660), the Joliet specification, El Torito 1.0. Extensions of
directory records (SUSP, RRIP) are in `rockridge`. Block: 2048 bytes, sector and logical block.
"""

from __future__ import annotations

import struct
from typing import Any

from construct import (
    Adapter,
    Bytes,
    Const,
    Construct,
    Int8ul,
    Int16ub,
    Int16ul,
    Int32ub,
    Int32ul,
    Padding,
    Struct,
)

BLOCK_BYTES = 2048
SYSTEM_BLOCKS = 16  # ECMA-119, 6.2.1: for the system, and not ours to define
PADDING_BLOCKS = 150  # by convention: some drives read ahead past the end
MOST_BLOCKS = 0xFFFF_FFFF
MOST_EXTENT_BYTES = 0xFFFF_F800  # the longest whole number of blocks that 32 bits hold

PACK_16_LITTLE = struct.Struct("<H").pack
PACK_16_BIG = struct.Struct(">H").pack
PACK_32_LITTLE = struct.Struct("<I").pack
PACK_32_BIG = struct.Struct(">I").pack


class _BothEndian(Adapter):  # type: ignore[misc]  # construct has no types
    """ECMA-119, 7.2.3 and 7.3.3: a number little-endian, then the same number big-endian."""

    def _decode(self, found: Any, _context: Any, _path: Any) -> int:
        if found[0] != found[1]:
            raise ValueError(f"both-endian field holds {found[0]} and {found[1]}")
        number: int = found[0]
        return number

    def _encode(self, number: int, _context: Any, _path: Any) -> list[int]:
        return [number, number]


def _both(little: Construct, big: Construct) -> Construct:
    return _BothEndian(little >> big)


Int16both = _both(Int16ul, Int16ub)
Int32both = _both(Int32ul, Int32ub)

# ECMA-119, 9.1.5: year from 1900, month, day, hour, minute, second, quarter hours from UTC.
RECORDING_DATE = struct.Struct("6Bb")

# ECMA-119, 9.1; then the identifier, a zero byte if its length is even, and system use.
DIRECTORY_RECORD = Struct(
    "LengthOfDirectoryRecord" / Int8ul,
    "ExtendedAttributeRecordLength" / Const(0, Int8ul),
    "LocationOfExtent" / Int32both,
    "DataLength" / Int32both,
    "RecordingDateAndTime" / Bytes(7),
    "FileFlags" / Int8ul,
    "FileUnitSize" / Const(0, Int8ul),
    "InterleaveGapSize" / Const(0, Int8ul),
    "VolumeSequenceNumber" / Int16both,
    "LengthOfFileIdentifier" / Int8ul,
)
RECORD_BYTES = 33
MOST_RECORD_BYTES = 254  # 255 is odd
assert DIRECTORY_RECORD.sizeof() == RECORD_BYTES

FLAG_DIRECTORY = 0x02
FLAG_MULTI_EXTENT = 0x80
SELF, PARENT = b"\0", b"\1"  # ECMA-119, 7.6.2: the identifiers of `.` and `..`

# ECMA-119, 9.4, in both orders of bytes; then the identifier, and a zero byte if that is odd.
PATH_TABLE_RECORD_LITTLE = struct.Struct("<BBIH")
PATH_TABLE_RECORD_BIG = struct.Struct(">BBIH")
PATH_TABLE_RECORD_BYTES = 8
MOST_PARENT_NUMBER = 0xFFFF
assert PATH_TABLE_RECORD_LITTLE.size == PATH_TABLE_RECORD_BIG.size == PATH_TABLE_RECORD_BYTES

# ECMA-119, 8.4 and 8.5: the primary descriptor, and Joliet's with flags and escape sequences.
TYPE_BOOT, TYPE_PRIMARY, TYPE_SUPPLEMENTARY = 0, 1, 2
VOLUME_DESCRIPTOR = Struct(
    "VolumeDescriptorType" / Int8ul,
    "StandardIdentifier" / Const(b"CD001"),
    "VolumeDescriptorVersion" / Const(1, Int8ul),
    "VolumeFlags" / Const(0, Int8ul),
    "SystemIdentifier" / Bytes(32),
    "VolumeIdentifier" / Bytes(32),
    Padding(8),
    "VolumeSpaceSize" / Int32both,
    "EscapeSequences" / Bytes(32),
    "VolumeSetSize" / Const(1, Int16both),
    "VolumeSequenceNumber" / Const(1, Int16both),
    "LogicalBlockSize" / Const(BLOCK_BYTES, Int16both),
    "PathTableSize" / Int32both,
    "LocationOfTypeLPathTable" / Int32ul,
    "LocationOfOptionalTypeLPathTable" / Const(0, Int32ul),
    "LocationOfTypeMPathTable" / Int32ub,
    "LocationOfOptionalTypeMPathTable" / Const(0, Int32ub),
    "DirectoryRecordForRootDirectory" / Bytes(34),
    "VolumeSetIdentifier" / Bytes(128),
    "PublisherIdentifier" / Bytes(128),
    "DataPreparerIdentifier" / Bytes(128),
    "ApplicationIdentifier" / Bytes(128),
    "CopyrightFileIdentifier" / Bytes(37),
    "AbstractFileIdentifier" / Bytes(37),
    "BibliographicFileIdentifier" / Bytes(37),
    "VolumeCreationDateAndTime" / Bytes(17),
    "VolumeModificationDateAndTime" / Bytes(17),
    "VolumeExpirationDateAndTime" / Bytes(17),
    "VolumeEffectiveDateAndTime" / Bytes(17),
    "FileStructureVersion" / Const(1, Int8ul),
    Padding(1),
    "ApplicationUse" / Const(b" " * 512),  # isomd5sum puts its sums into nothing but spaces
    Padding(653),
)
assert VOLUME_DESCRIPTOR.sizeof() == BLOCK_BYTES
JOLIET_ESCAPE = b"%/E"  # Joliet, "SVD Escape Sequences field": UCS-2, level 3
TERMINATOR = (b"\xffCD001\x01").ljust(BLOCK_BYTES, b"\0")  # ECMA-119, 8.3

# El Torito, figure 7, "Boot Record Volume Descriptor".
BOOT_RECORD = Struct(
    "BootRecordIndicator" / Const(TYPE_BOOT, Int8ul),
    "ISO9660Identifier" / Const(b"CD001"),
    "Version" / Const(1, Int8ul),
    "BootSystemIdentifier" / Const(b"EL TORITO SPECIFICATION".ljust(32, b"\0")),
    Padding(32),
    "BootCatalogPointer" / Int32ul,
    Padding(1973),
)
assert BOOT_RECORD.sizeof() == BLOCK_BYTES

# El Torito, figures 2 to 5.
PLATFORM_BIOS, PLATFORM_UEFI = 0x00, 0xEF
VALIDATION_ENTRY = Struct(
    "HeaderID" / Const(1, Int8ul),
    "PlatformID" / Int8ul,
    Padding(2),
    "IDString" / Padding(24),
    "Checksum" / Int16ul,
    "Key" / Const(b"\x55\xaa"),
)
BOOT_ENTRY = Struct(
    "BootIndicator" / Const(0x88, Int8ul),
    "BootMediaType" / Int8ul,
    "LoadSegment" / Const(0, Int16ul),
    "SystemType" / Const(0, Int8ul),
    Padding(1),
    "SectorCount" / Int16ul,  # of 512 bytes
    "LoadRBA" / Int32ul,
    Padding(20),
)
NO_EMULATION = 0
FLOPPY_MEDIA = {1200 << 10: 1, 1440 << 10: 2, 2880 << 10: 3}
"""The media types of diskettes that a BIOS emulates, by their length in bytes."""
SECTION_HEADER = Struct(
    "HeaderIndicator" / Int8ul,
    "PlatformID" / Int8ul,
    "NumberOfSectionEntries" / Int16ul,
    "IDString" / Padding(28),
)
LAST_SECTION_HEADER = 0x91
assert VALIDATION_ENTRY.sizeof() == BOOT_ENTRY.sizeof() == SECTION_HEADER.sizeof() == 32

# What isolinux and GRUB expect at byte 8 of their image; mkisofs' manual, "-boot-info-table".
BOOT_INFO_TABLE = Struct(
    "PrimaryVolumeDescriptor" / Int32ul,
    "BootFile" / Int32ul,
    "BootFileLength" / Int32ul,
    "Checksum" / Int32ul,
    Padding(40),
)
BOOT_INFO_OFFSET = 8
BOOT_INFO_END = 64
assert BOOT_INFO_OFFSET + BOOT_INFO_TABLE.sizeof() == BOOT_INFO_END


def pack_16_both(number: int) -> bytes:
    """Return a 16-bit both-endian field."""
    return PACK_16_LITTLE(number) + PACK_16_BIG(number)


def pack_32_both(number: int) -> bytes:
    """Return a 32-bit both-endian field."""
    return PACK_32_LITTLE(number) + PACK_32_BIG(number)


# What lies between the numbers and the identifier, in one go; see DIRECTORY_RECORD.
_PACK_MIDDLE = struct.Struct(">7sBHHHB").pack
_VOLUME_LITTLE, _VOLUME_BIG = 0x0100, 0x0001  # volume 1, as one number each


def pack_directory_record(
    identifier: bytes, block: int, length: int, date: bytes, flags: int, system_use: bytes = b""
) -> bytes:
    """Return a whole directory record, of even length, at most 254 bytes; see DIRECTORY_RECORD."""
    size = len(identifier)
    total = RECORD_BYTES + size + (not size & 1) + len(system_use)
    return b"".join(
        (
            bytes((total + (total & 1), 0)),
            PACK_32_LITTLE(block),
            PACK_32_BIG(block),
            PACK_32_LITTLE(length),
            PACK_32_BIG(length),
            _PACK_MIDDLE(date, flags, 0, _VOLUME_LITTLE, _VOLUME_BIG, size),
            identifier,
            b"" if size & 1 else b"\0",
            system_use,
            b"\0" if total & 1 else b"",
        )
    )
