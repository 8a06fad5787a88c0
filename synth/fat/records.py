"""The structures of a FAT file system, declared in the specification's field names; no logic.

Specification: "FAT: General Overview of On-Disk Format" (Microsoft, 1.03), cited as FATGEN, and
the exFAT-era revision of the same for dates. All fields are little-endian.
"""

from __future__ import annotations

import struct

from construct import Bytes, Const, Int8ul, Int16ul, Int32ul, Padding, Struct

# FATGEN, "Boot Sector and BPB": what all types share.
_PARAMETERS = (
    "BS_jmpBoot" / Bytes(3),
    "BS_OEMName" / Bytes(8),
    "BPB_BytsPerSec" / Int16ul,
    "BPB_SecPerClus" / Int8ul,
    "BPB_RsvdSecCnt" / Int16ul,
    "BPB_NumFATs" / Int8ul,
    "BPB_RootEntCnt" / Int16ul,
    "BPB_TotSec16" / Int16ul,
    "BPB_Media" / Int8ul,
    "BPB_FATSz16" / Int16ul,
    "BPB_SecPerTrk" / Int16ul,
    "BPB_NumHeads" / Int16ul,
    "BPB_HiddSec" / Int32ul,
    "BPB_TotSec32" / Int32ul,
)

# FATGEN, the FAT32 continuation from byte 36 on.
BOOT_SECTOR_FAT32 = Struct(
    *_PARAMETERS,
    "BPB_FATSz32" / Int32ul,
    "BPB_ExtFlags" / Int16ul,
    "BPB_FSVer" / Int16ul,
    "BPB_RootClus" / Int32ul,
    "BPB_FSInfo" / Int16ul,
    "BPB_BkBootSec" / Int16ul,
    Padding(12),
    "BS_DrvNum" / Int8ul,
    Padding(1),
    "BS_BootSig" / Const(0x29, Int8ul),
    "BS_VolID" / Int32ul,
    "BS_VolLab" / Bytes(11),
    "BS_FilSysType" / Const(b"FAT32   "),
    "BS_BootCode" / Bytes(420),
    "Signature_word" / Const(0xAA55, Int16ul),
)
assert BOOT_SECTOR_FAT32.sizeof() == 512

# FATGEN, "Boot Sector and BPB", and its FAT12 and FAT16 continuation from byte 36 on.
BOOT_SECTOR_FAT16 = Struct(
    *_PARAMETERS,
    "BS_DrvNum" / Int8ul,
    Padding(1),
    "BS_BootSig" / Const(0x29, Int8ul),
    "BS_VolID" / Int32ul,
    "BS_VolLab" / Bytes(11),
    "BS_FilSysType" / Bytes(8),
    "BS_BootCode" / Bytes(448),
    "Signature_word" / Const(0xAA55, Int16ul),
)
assert BOOT_SECTOR_FAT16.sizeof() == 512

# FATGEN, "FAT32 FSInfo Sector Structure and Backup Boot Sector".
FSINFO = Struct(
    "FSI_LeadSig" / Const(0x41615252, Int32ul),
    Padding(480),
    "FSI_StrucSig" / Const(0x61417272, Int32ul),
    "FSI_Free_Count" / Int32ul,
    "FSI_Nxt_Free" / Int32ul,
    Padding(12),
    "FSI_TrailSig" / Const(0xAA550000, Int32ul),
)
assert FSINFO.sizeof() == 512

# FATGEN, "FAT Directory Structure".
DIRECTORY_ENTRY = Struct(
    "DIR_Name" / Bytes(11),
    "DIR_Attr" / Int8ul,
    "DIR_NTRes" / Int8ul,
    "DIR_CrtTimeTenth" / Int8ul,
    "DIR_CrtTime" / Int16ul,
    "DIR_CrtDate" / Int16ul,
    "DIR_LstAccDate" / Int16ul,
    "DIR_FstClusHI" / Int16ul,
    "DIR_WrtTime" / Int16ul,
    "DIR_WrtDate" / Int16ul,
    "DIR_FstClusLO" / Int16ul,
    "DIR_FileSize" / Int32ul,
)
assert DIRECTORY_ENTRY.sizeof() == 32

# FATGEN, "Long Directory Entry Structure".
LONG_NAME_ENTRY = Struct(
    "LDIR_Ord" / Int8ul,
    "LDIR_Name1" / Bytes(10),
    "LDIR_Attr" / Int8ul,
    "LDIR_Type" / Int8ul,
    "LDIR_Chksum" / Int8ul,
    "LDIR_Name2" / Bytes(12),
    "LDIR_FstClusLO" / Int16ul,
    "LDIR_Name3" / Bytes(4),
)
assert LONG_NAME_ENTRY.sizeof() == 32

# The former, for the hot path; a test holds it against the declaration above.
PACK_DIRECTORY_ENTRY = struct.Struct("<11sBBBHHHHHHHI").pack

ATTR_READ_ONLY = 0x01
ATTR_HIDDEN = 0x02
ATTR_SYSTEM = 0x04
ATTR_VOLUME_ID = 0x08
ATTR_DIRECTORY = 0x10
ATTR_ARCHIVE = 0x20
ATTR_LONG_NAME = ATTR_READ_ONLY | ATTR_HIDDEN | ATTR_SYSTEM | ATTR_VOLUME_ID
LAST_LONG_ENTRY = 0x40

ENTRY_BYTES = 32
MOST_DIRECTORY_ENTRIES = 65_536  # FATGEN: a directory is at most 2 MiB long
MOST_NAME_UNITS = 255
UNITS_PER_LONG_ENTRY = 13
MOST_FILE_BYTES = 0xFFFF_FFFF
