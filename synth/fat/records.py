"""The structures of a FAT file system, declared in the specification's field names; no logic.

Specification: "FAT: General Overview of On-Disk Format" (Microsoft, 1.03), cited as FATGEN, and
the exFAT-era revision of the same for dates. All fields are little-endian.
"""

from __future__ import annotations

import struct

from ..structures import Field, Structure

# FATGEN, "Boot Sector and BPB": what all types share.
_PARAMETERS: tuple[Field, ...] = (
    ("BS_jmpBoot", "3s"),
    ("BS_OEMName", "8s"),
    ("BPB_BytsPerSec", "<H"),
    ("BPB_SecPerClus", "B"),
    ("BPB_RsvdSecCnt", "<H"),
    ("BPB_NumFATs", "B"),
    ("BPB_RootEntCnt", "<H"),
    ("BPB_TotSec16", "<H"),
    ("BPB_Media", "B"),
    ("BPB_FATSz16", "<H"),
    ("BPB_SecPerTrk", "<H"),
    ("BPB_NumHeads", "<H"),
    ("BPB_HiddSec", "<I"),
    ("BPB_TotSec32", "<I"),
)

# FATGEN, the FAT32 continuation from byte 36 on.
BOOT_SECTOR_FAT32 = Structure(
    *_PARAMETERS,
    ("BPB_FATSz32", "<I"),
    ("BPB_ExtFlags", "<H"),
    ("BPB_FSVer", "<H"),
    ("BPB_RootClus", "<I"),
    ("BPB_FSInfo", "<H"),
    ("BPB_BkBootSec", "<H"),
    ("", "12x"),
    ("BS_DrvNum", "B"),
    ("", "1x"),
    ("BS_BootSig", "B", 0x29),
    ("BS_VolID", "<I"),
    ("BS_VolLab", "11s"),
    ("BS_FilSysType", "8s", b"FAT32   "),
    ("BS_BootCode", "420s"),
    ("Signature_word", "<H", 0xAA55),
)
assert BOOT_SECTOR_FAT32.size == 512

# FATGEN, "Boot Sector and BPB", and its FAT12 and FAT16 continuation from byte 36 on.
BOOT_SECTOR_FAT16 = Structure(
    *_PARAMETERS,
    ("BS_DrvNum", "B"),
    ("", "1x"),
    ("BS_BootSig", "B", 0x29),
    ("BS_VolID", "<I"),
    ("BS_VolLab", "11s"),
    ("BS_FilSysType", "8s"),
    ("BS_BootCode", "448s"),
    ("Signature_word", "<H", 0xAA55),
)
assert BOOT_SECTOR_FAT16.size == 512

# FATGEN, "FAT32 FSInfo Sector Structure and Backup Boot Sector".
FSINFO = Structure(
    ("FSI_LeadSig", "<I", 0x41615252),
    ("", "480x"),
    ("FSI_StrucSig", "<I", 0x61417272),
    ("FSI_Free_Count", "<I"),
    ("FSI_Nxt_Free", "<I"),
    ("", "12x"),
    ("FSI_TrailSig", "<I", 0xAA550000),
)
assert FSINFO.size == 512

# FATGEN, "FAT Directory Structure".
DIRECTORY_ENTRY = Structure(
    ("DIR_Name", "11s"),
    ("DIR_Attr", "B"),
    ("DIR_NTRes", "B"),
    ("DIR_CrtTimeTenth", "B"),
    ("DIR_CrtTime", "<H"),
    ("DIR_CrtDate", "<H"),
    ("DIR_LstAccDate", "<H"),
    ("DIR_FstClusHI", "<H"),
    ("DIR_WrtTime", "<H"),
    ("DIR_WrtDate", "<H"),
    ("DIR_FstClusLO", "<H"),
    ("DIR_FileSize", "<I"),
)
assert DIRECTORY_ENTRY.size == 32

# FATGEN, "Long Directory Entry Structure".
LONG_NAME_ENTRY = Structure(
    ("LDIR_Ord", "B"),
    ("LDIR_Name1", "10s"),
    ("LDIR_Attr", "B"),
    ("LDIR_Type", "B"),
    ("LDIR_Chksum", "B"),
    ("LDIR_Name2", "12s"),
    ("LDIR_FstClusLO", "<H"),
    ("LDIR_Name3", "4s"),
)
assert LONG_NAME_ENTRY.size == 32

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
