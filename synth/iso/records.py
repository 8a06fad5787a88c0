"""The structures of an ISO 9660 image, declared in the specifications' field names; no logic.

Specifications: ECMA-119 (ISO 9660), the Joliet specification, El Torito 1.0. Extensions of
directory records (SUSP, RRIP) are in `rockridge`. Block: 2048 bytes, sector and logical block.
"""

from __future__ import annotations

import struct

from ..structures import Structure

BLOCK_BYTES = 2048
SYSTEM_BLOCKS = 16  # ECMA-119, 6.2.1: for the system, and not ours to define
PADDING_BLOCKS = 150  # by convention: some drives read ahead past the end
MOST_BLOCKS = 0xFFFF_FFFF
MOST_EXTENT_BYTES = 0xFFFF_F800  # the longest whole number of blocks that 32 bits hold

PACK_16_LITTLE = struct.Struct("<H").pack
PACK_16_BIG = struct.Struct(">H").pack
PACK_32_LITTLE = struct.Struct("<I").pack
PACK_32_BIG = struct.Struct(">I").pack


# ECMA-119, 9.1.5: year from 1900, month, day, hour, minute, second, quarter hours from UTC.
RECORDING_DATE = struct.Struct("6Bb")

# ECMA-119, 9.1; then the identifier, a zero byte if its length is even, and system use.
DIRECTORY_RECORD = Structure(
    ("LengthOfDirectoryRecord", "B"),
    ("ExtendedAttributeRecordLength", "B", 0),
    ("LocationOfExtent", "<>I"),
    ("DataLength", "<>I"),
    ("RecordingDateAndTime", "7s"),
    ("FileFlags", "B"),
    ("FileUnitSize", "B", 0),
    ("InterleaveGapSize", "B", 0),
    ("VolumeSequenceNumber", "<>H"),
    ("LengthOfFileIdentifier", "B"),
)
RECORD_BYTES = 33
MOST_RECORD_BYTES = 254  # 255 is odd
assert DIRECTORY_RECORD.size == RECORD_BYTES

FLAG_DIRECTORY = 0x02
FLAG_MULTI_EXTENT = 0x80
SELF, PARENT = b"\0", b"\1"  # ECMA-119, 7.6.2: the identifiers of `.` and `..`

# ECMA-119, 9.4, in both orders of bytes; then the identifier, and a zero byte if that is odd.
PATH_TABLE_RECORD_LITTLE = struct.Struct("<BBIH")
PATH_TABLE_RECORD_BIG = struct.Struct(">BBIH")
PATH_TABLE_RECORD_BYTES = 8
ROOT_NUMBER, MOST_PARENT_NUMBER = 1, 0xFFFF
assert PATH_TABLE_RECORD_LITTLE.size == PATH_TABLE_RECORD_BIG.size == PATH_TABLE_RECORD_BYTES

# ECMA-119, 8.4 and 8.5: the primary descriptor, and Joliet's with flags and escape sequences.
TYPE_BOOT, TYPE_PRIMARY, TYPE_SUPPLEMENTARY = 0, 1, 2
VOLUME_DESCRIPTOR = Structure(
    ("VolumeDescriptorType", "B"),
    ("StandardIdentifier", "5s", b"CD001"),
    ("VolumeDescriptorVersion", "B", 1),
    ("VolumeFlags", "B", 0),
    ("SystemIdentifier", "32s"),
    ("VolumeIdentifier", "32s"),
    ("", "8x"),
    ("VolumeSpaceSize", "<>I"),
    ("EscapeSequences", "32s"),
    ("VolumeSetSize", "<>H", 1),
    ("VolumeSequenceNumber", "<>H", 1),
    ("LogicalBlockSize", "<>H", BLOCK_BYTES),
    ("PathTableSize", "<>I"),
    ("LocationOfTypeLPathTable", "<I"),
    ("LocationOfOptionalTypeLPathTable", "<I", 0),
    ("LocationOfTypeMPathTable", ">I"),
    ("LocationOfOptionalTypeMPathTable", ">I", 0),
    ("DirectoryRecordForRootDirectory", "34s"),
    ("VolumeSetIdentifier", "128s"),
    ("PublisherIdentifier", "128s"),
    ("DataPreparerIdentifier", "128s"),
    ("ApplicationIdentifier", "128s"),
    ("CopyrightFileIdentifier", "37s"),
    ("AbstractFileIdentifier", "37s"),
    ("BibliographicFileIdentifier", "37s"),
    ("VolumeCreationDateAndTime", "17s"),
    ("VolumeModificationDateAndTime", "17s"),
    ("VolumeExpirationDateAndTime", "17s"),
    ("VolumeEffectiveDateAndTime", "17s"),
    ("FileStructureVersion", "B", 1),
    ("", "1x"),
    ("ApplicationUse", "512s", b" " * 512),  # isomd5sum puts its sums into nothing but spaces
    ("", "653x"),
)
assert VOLUME_DESCRIPTOR.size == BLOCK_BYTES
JOLIET_ESCAPE = b"%/E"  # Joliet, "SVD Escape Sequences field": UCS-2, level 3
TERMINATOR = (b"\xffCD001\x01").ljust(BLOCK_BYTES, b"\0")  # ECMA-119, 8.3

# El Torito, figure 7, "Boot Record Volume Descriptor".
BOOT_RECORD = Structure(
    ("BootRecordIndicator", "B", TYPE_BOOT),
    ("ISO9660Identifier", "5s", b"CD001"),
    ("Version", "B", 1),
    ("BootSystemIdentifier", "32s", b"EL TORITO SPECIFICATION".ljust(32, b"\0")),
    ("", "32x"),
    ("BootCatalogPointer", "<I"),
    ("", "1973x"),
)
assert BOOT_RECORD.size == BLOCK_BYTES

# El Torito, figures 2 to 5.
PLATFORM_BIOS, PLATFORM_UEFI = 0x00, 0xEF
VALIDATION_ENTRY = Structure(
    ("HeaderID", "B", 1),
    ("PlatformID", "B"),
    ("", "2x"),
    ("", "24x"),  # IDString
    ("Checksum", "<H"),
    ("Key", "2s", b"\x55\xaa"),
)
BOOT_ENTRY = Structure(
    ("BootIndicator", "B", 0x88),
    ("BootMediaType", "B"),
    ("LoadSegment", "<H", 0),
    ("SystemType", "B", 0),
    ("", "1x"),
    ("SectorCount", "<H"),  # of 512 bytes
    ("LoadRBA", "<I"),
    ("", "20x"),
)
NO_EMULATION = 0
FLOPPY_MEDIA = {1200 << 10: 1, 1440 << 10: 2, 2880 << 10: 3}
"""The media types of diskettes that a BIOS emulates, by their length in bytes."""
SECTION_HEADER = Structure(
    ("HeaderIndicator", "B"),
    ("PlatformID", "B"),
    ("NumberOfSectionEntries", "<H"),
    ("", "28x"),  # IDString
)
LAST_SECTION_HEADER = 0x91
assert VALIDATION_ENTRY.size == BOOT_ENTRY.size == SECTION_HEADER.size == 32

# What isolinux and GRUB expect at byte 8 of their image; mkisofs' manual, "-boot-info-table".
BOOT_INFO_TABLE = Structure(
    ("PrimaryVolumeDescriptor", "<I"),
    ("BootFile", "<I"),
    ("BootFileLength", "<I"),
    ("Checksum", "<I"),
    ("", "40x"),
)
BOOT_INFO_TABLE_START = struct.Struct("<3I")  # all but the checksum
BOOT_INFO_OFFSET = 8
BOOT_INFO_END = 64
assert BOOT_INFO_OFFSET + BOOT_INFO_TABLE.size == BOOT_INFO_END


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
