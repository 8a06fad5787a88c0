"""A layout becomes a disk: sections that compute every byte when it is asked for.

   0 -+-----------------------------+
      | master boot record, or GPT  |  unless the disk is to have no partition table
1 MiB +-----------------------------+  -- the volume; with FAT32 it starts like this:
      | boot sector                 |  sector 0, its copy in 6
      | FSInfo                      |  sector 1, its copy in 7
      | third boot sector           |  sector 2, its copy in 8: no code, the signature only
      | (zero)                      |  up to 32
      +-----------------------------+
      | FAT 1                       |  of such a length that all below is aligned to 4 KiB
      | FAT 2                       |
      +-----------------------------+
      | root directory              |  here with FAT12 and FAT16; with FAT32 it is in clusters
      +-----------------------------+  cluster 2
      | directories                 |  each a run of clusters: the root, then level by level
      +-----------------------------+
      | file contents               |  each a run of clusters, in the order of the tree; before the
      |                             |  directories of a FAT12 or FAT16 whose first files are named
      +-----------------------------+
      | free clusters               |  as many as the type or the size asks for; they cost nothing
      +-----------------------------+
      | (backup GPT)                |
      +-----------------------------+
"""

from __future__ import annotations

from ...errors import PlanError, option_named
from ...export import Kind
from ..image.contents import Contents
from ..image.files import FileSource
from ..image.image import Image
from ..image.partition import (
    FIRST_BYTE,
    TYPE_BASIC_DATA,
    TYPE_EFI_SYSTEM,
    MbrPartition,
    checked_boot_code,
    guid_of,
    with_gpt,
    with_mbr,
)
from ..image.section import Fixed, Section, Zeros
from ..tree.columns import Tree
from .directories import FatDirectories, RootDirectory
from .geometry import Geometry
from .labels import NO_LABEL
from .plan import FatLayout
from .records import BOOT_SECTOR_FAT16, BOOT_SECTOR_FAT32, FSINFO
from .table import FIRST_CLUSTER, Table

FSINFO_SECTOR = 1
BACKUP_BOOT_SECTOR = 6

# int 18h: no system here, let the BIOS try the next device; then stop
_NO_SYSTEM = b"\xcd\x18\xf4\xeb\xfd"
# FATGEN, "BPB_BkBootSec": the boot code may be three sectors long, and all three are signed.
_THIRD_SECTOR = bytes(510) + b"\x55\xaa"
_CODE_START = {12: 62, 16: 62, 32: 90}


def disk(layout: FatLayout, tree: Tree, files: FileSource) -> Image:
    """Return the disk of a layout. Raise PlanError when a given boot code can't be put on it."""
    volume = _volume(layout, tree, files)
    options, geometry = layout.options, layout.geometry
    if options.partition == "none":
        return volume
    if options.partition == "gpt":
        return with_gpt(
            volume,
            geometry.sector_bytes,
            TYPE_EFI_SYSTEM if options.esp else TYPE_BASIC_DATA,
            disk_guid=guid_of(layout.identity[4:20]),
            partition_guid=guid_of(layout.identity[20:36]),
            name="EFI System" if options.esp else layout.label.decode().rstrip(),
            active=options.active,
            boot_code=checked_boot_code(options.mbr_code),
        )
    return with_mbr(
        volume,
        geometry.sector_bytes,
        MbrPartition(
            os_type=0xEF if options.esp else _os_type(geometry),
            active=options.active or options.mbr_code is not None,
            heads=geometry.heads,
            sectors_per_track=geometry.sectors_per_track,
        ),
        signature=layout.volume_id,
        boot_code=checked_boot_code(options.mbr_code),
    )


def _volume(layout: FatLayout, tree: Tree, files: FileSource) -> Image:
    geometry = layout.geometry
    chains = (layout.directory_starts, layout.file_starts)
    if layout.contents_first:
        chains = chains[::-1]
    table_bytes = geometry.table_sectors * geometry.sector_bytes
    tables = [
        Table(geometry.fat_bits, geometry.media, chains, table_bytes, f"FAT {number}")
        for number in (1, 2)
    ]
    directories = directories_of(layout, tree)
    contents = Contents(tree, files, layout.file_starts, geometry.cluster_bytes)
    in_clusters: tuple[Section, ...] = (directories, contents)
    return Image(
        [
            *_reserved(layout),
            *tables,
            RootDirectory(directories, geometry.root_sectors * geometry.sector_bytes),
            *(in_clusters[::-1] if layout.contents_first else in_clusters),
            Zeros(layout.free_clusters * geometry.cluster_bytes, Kind.FREE, "free clusters"),
            Zeros(
                geometry.unused_sectors * geometry.sector_bytes,
                Kind.RESERVED,
                "behind the last cluster",
            ),
        ]
    )


def directories_of(layout: FatLayout, tree: Tree) -> FatDirectories:
    """Return the section of the directories, which also knows each node's names and first
    cluster.
    """
    return FatDirectories(
        tree,
        renamed=layout.renamed,
        slot_starts=layout.slot_starts,
        cluster_starts=layout.directory_starts,
        file_starts=layout.file_starts,
        cluster_bytes=layout.geometry.cluster_bytes,
        label=layout.label,
        zone=layout.options.zone,
        latest_ns=layout.options.latest_ns,
        attributes=layout.attributes,
        contents_first=layout.contents_first,
        cache_bytes=layout.options.cache_bytes,
    )


def _reserved(layout: FatLayout) -> list[Section]:
    """Return the reserved sectors: boot sector, and with FAT32 FSInfo, a third one, and their
    copies.
    """
    geometry = layout.geometry
    sector_bytes = geometry.sector_bytes
    boot_sector = _boot_sector(layout).ljust(sector_bytes, b"\0")

    def reserved(sectors: int) -> Zeros:
        return Zeros(sectors * sector_bytes, Kind.RESERVED, "reserved")

    if geometry.fat_bits != 32:
        return [
            Fixed(boot_sector, Kind.RESERVED, "boot sector"),
            reserved(geometry.reserved_sectors - 1),
        ]
    fsinfo = _fsinfo(layout)
    if sector_bytes > len(fsinfo):  # BSD's fsck looks 512 bytes further, whatever a sector has
        fsinfo += _THIRD_SECTOR
    third_sector = Fixed(
        _THIRD_SECTOR.ljust(sector_bytes, b"\0"), Kind.RESERVED, "third boot sector"
    )
    fsinfo = fsinfo.ljust(sector_bytes, b"\0")
    return [
        Fixed(boot_sector, Kind.RESERVED, "boot sector"),
        Fixed(fsinfo, Kind.RESERVED, "FSInfo"),
        third_sector,
        reserved(BACKUP_BOOT_SECTOR - FSINFO_SECTOR - 2),
        Fixed(boot_sector, Kind.RESERVED, "backup boot sector"),
        Fixed(fsinfo, Kind.RESERVED, "backup FSInfo"),
        third_sector,
        reserved(geometry.reserved_sectors - BACKUP_BOOT_SECTOR - 3),
    ]


def _boot_sector(layout: FatLayout) -> bytes:
    geometry = layout.geometry
    jump, code = _boot_code(layout.options.boot_sector, geometry.fat_bits)
    fields = {
        "BS_jmpBoot": jump,
        "BS_OEMName": b"MSWIN4.1",  # what FATGEN recommends: some readers look at it
        "BPB_BytsPerSec": geometry.sector_bytes,
        "BPB_SecPerClus": geometry.cluster_bytes // geometry.sector_bytes,
        "BPB_RsvdSecCnt": geometry.reserved_sectors,
        "BPB_NumFATs": 2,
        "BPB_RootEntCnt": geometry.root_entries,
        "BPB_TotSec16": 0,
        "BPB_Media": geometry.media,
        "BPB_FATSz16": 0,
        "BPB_SecPerTrk": geometry.sectors_per_track,
        "BPB_NumHeads": geometry.heads,
        "BPB_HiddSec": _hidden_sectors(layout),
        "BPB_TotSec32": 0,
        "BS_DrvNum": 0x00 if geometry.is_floppy else 0x80,
        "BS_VolID": layout.volume_id,
        "BS_VolLab": layout.label or NO_LABEL,
        "BS_BootCode": code,
    }
    sectors = geometry.volume_sectors
    if geometry.fat_bits == 32 or sectors > 0xFFFF:
        fields["BPB_TotSec32"] = sectors
    else:
        fields["BPB_TotSec16"] = sectors
    if geometry.fat_bits == 32:
        fields |= {
            "BPB_FATSz32": geometry.table_sectors,
            "BPB_ExtFlags": 0,
            "BPB_FSVer": 0,
            "BPB_RootClus": FIRST_CLUSTER,
            "BPB_FSInfo": FSINFO_SECTOR,
            "BPB_BkBootSec": BACKUP_BOOT_SECTOR,
        }
        return BOOT_SECTOR_FAT32.build(fields)
    fields["BPB_FATSz16"] = geometry.table_sectors
    fields["BS_FilSysType"] = b"FAT%-5d" % geometry.fat_bits
    return BOOT_SECTOR_FAT16.build(fields)


def _hidden_sectors(layout: FatLayout) -> int:
    """Return the partition's first sector."""
    if layout.options.partition == "none":
        return 0
    return FIRST_BYTE // layout.geometry.sector_bytes


def _fsinfo(layout: FatLayout) -> bytes:
    free = layout.free_clusters
    return FSINFO.build(
        {
            "FSI_Free_Count": free,
            "FSI_Nxt_Free": FIRST_CLUSTER + layout.used_clusters if free else 0xFFFF_FFFF,
        }
    )


def _os_type(geometry: Geometry) -> int:
    """Return the type of an MBR partition, as DOS and Windows number them."""
    if geometry.fat_bits == 32:
        return 0x0C
    if geometry.fat_bits == 12:
        return 0x01
    return 0x04 if geometry.volume_sectors < 0x10000 else 0x06


def _boot_code(boot_sector: bytes | None, fat_bits: int) -> tuple[bytes, bytes]:
    """Return the jump at the start of a boot sector, and the code that it leads to."""
    start = _CODE_START[fat_bits]
    if boot_sector is None:
        return bytes((0xEB, start - 2, 0x90)), _NO_SYSTEM.ljust(510 - start, b"\0")
    if len(boot_sector) < 512 or boot_sector[510:512] != b"\x55\xaa":
        raise PlanError(
            f"{option_named('boot_sector')} has {len(boot_sector)} bytes; a boot sector has 512 "
            "and ends with 55 AA"
        )
    if boot_sector[512:].strip(b"\0"):
        raise PlanError(
            f"{option_named('boot_sector')} is longer than one sector; code of one sector can be "
            "used"
        )
    target = 2 + boot_sector[1]
    if boot_sector[0] != 0xEB or boot_sector[2] != 0x90 or not start <= target < 510:
        raise PlanError(
            f"{option_named('boot_sector')} starts with {boot_sector[:3].hex(' ')}; for "
            f"FAT{fat_bits} it must jump "
            f"(eb xx 90) over the parameters to byte {start} or behind it"
        )
    return boot_sector[:3], boot_sector[start:510]
