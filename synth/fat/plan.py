"""A tree and options become a layout by arithmetic alone, and a layout becomes an image.

    0 -+-----------------------------+
       | master boot record          |  one partition, type 0x0C
 1 MiB +-----------------------------+  -- the volume; sectors counted from here:
       | boot sector                 |  0   its copy in 6
       | FSInfo                      |  1   its copy in 7
       | (zero)                      |      up to 32
       +-----------------------------+  32
       | FAT 1                       |  whole 4 KiB, so that all below is aligned to 4 KiB
       | FAT 2                       |
       +-----------------------------+  cluster 2
       | directories                 |  each a run of clusters: the root, then level by level
       +-----------------------------+
       | file contents               |  each a run of clusters, in the order of the tree
       +-----------------------------+
       | free clusters               |  as many as FAT32 needs to be FAT32; they cost nothing
       +-----------------------------+

Nothing here reads a file, the clock or the environment, and nothing is random.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import accumulate

from ...errors import PlanError
from ...pieces import Kind
from ..contents import Contents
from ..host import ScannedFiles
from ..image import Fixed, Image, Zeros
from ..partition import FIRST_LBA, MOST_SECTORS, TYPE_FAT32_LBA, with_mbr
from ..tree import Tree, printable
from .directories import Directories, header_slots
from .names import renames, slot_counts
from .records import (
    BOOT_SECTOR_FAT32,
    ENTRY_BYTES,
    FSINFO,
    MOST_DIRECTORY_ENTRIES,
    MOST_FILE_BYTES,
)
from .table import ENTRY_BYTES as TABLE_ENTRY_BYTES
from .table import FIRST_CLUSTER, Table32

SECTOR_BYTES = 512
ALIGNMENT = 4096
HEADS = 255
SECTORS_PER_TRACK = 63
RESERVED_SECTORS = 32
FSINFO_SECTOR = 1
BACKUP_BOOT_SECTOR = 6

FEWEST_CLUSTERS = 65_525 + 16
"""With 65,524 a reader takes the volume for FAT16; some draw the line a few clusters off."""
# The cluster size for volumes up to so many bytes of data, as Windows chooses them.
_CLUSTER_BYTES = ((8 << 30, 4096), (16 << 30, 8192), (32 << 30, 16384))
_LARGEST_CLUSTER_BYTES = 32768

_LABEL = re.compile(r"[A-Z0-9 !#$%&'()\-@^_`{}~]{1,11}")
DEFAULT_LABEL = "VFLOPPY"


@dataclass(frozen=True)
class FatOptions:
    """What the user may choose of a FAT disk."""

    label: str = DEFAULT_LABEL
    """The volume label: at most 11 characters, stored in upper case."""
    zone: tzinfo = UTC
    """FAT holds local times; this is where they are local."""


@dataclass(frozen=True)
class Layout:
    """Where everything is. Columns as `Directories` and `Contents` want them."""

    label: bytes
    zone: tzinfo
    volume_id: int
    cluster_bytes: int
    cluster_count: int
    table_sectors: int
    renamed: Mapping[int, str]
    """The names by node that could not stay as the host has them."""
    slot_starts: array[int]
    directory_starts: array[int]
    file_starts: array[int]

    @property
    def used_clusters(self) -> int:
        """Clusters that hold directories and file contents."""
        return self.directory_starts[-1] + self.file_starts[-1]

    @property
    def free_clusters(self) -> int:
        """Clusters that hold nothing."""
        return self.cluster_count - self.used_clusters

    @property
    def volume_sectors(self) -> int:
        """The length of the partition."""
        return _volume_sectors(self.cluster_count, self.cluster_bytes, self.table_sectors)


def check_label(label: str) -> bytes:
    """A volume label as the 11 bytes on the disk. Raises PlanError with the reason."""
    upper = label.upper()
    if len(upper) > 11:
        raise PlanError(f"label {label!r} has {len(upper)} characters; FAT holds at most 11")
    if not _LABEL.fullmatch(upper) or upper[0] == " ":
        raise PlanError(
            f"label {label!r} can't be written; FAT takes letters A-Z, digits, "
            "spaces inside and !#$%&'()-@^_`{}~"
        )
    return upper.encode("ascii").ljust(11)


def plan(tree: Tree, options: FatOptions | None = None) -> Layout:
    """Lays a tree out. Raises PlanError when it doesn't fit."""
    options = options or FatOptions()
    label = check_label(options.label)
    _check_file_sizes(tree)
    renamed, slot_starts = _plan_names(tree)
    data_bytes = sum(tree.sizes)
    cluster_bytes = next(
        (size for most, size in _CLUSTER_BYTES if data_bytes <= most), _LARGEST_CLUSTER_BYTES
    )
    _check_size(data_bytes)
    directory_starts = _cumulative_clusters(_directory_bytes(tree, slot_starts), cluster_bytes)
    file_starts = _cumulative_clusters(tree.sizes, cluster_bytes)
    cluster_count = max(directory_starts[-1] + file_starts[-1], FEWEST_CLUSTERS)
    table_bytes = (cluster_count + FIRST_CLUSTER) * TABLE_ENTRY_BYTES
    table_sectors = -(-table_bytes // ALIGNMENT) * (ALIGNMENT // SECTOR_BYTES)
    volume_sectors = _volume_sectors(cluster_count, cluster_bytes, table_sectors)
    _check_size((FIRST_LBA + volume_sectors) * SECTOR_BYTES)
    return Layout(
        label=label,
        zone=options.zone,
        volume_id=_volume_id(tree, label),
        cluster_bytes=cluster_bytes,
        cluster_count=cluster_count,
        table_sectors=table_sectors,
        renamed=renamed,
        slot_starts=slot_starts,
        directory_starts=directory_starts,
        file_starts=file_starts,
    )


def disk(layout: Layout, tree: Tree, files: ScannedFiles) -> Image:
    """The disk of a layout: every byte computed when it is asked for."""
    boot_sector, fsinfo = _boot_sector(layout), _fsinfo(layout)
    chains = (layout.directory_starts, layout.file_starts)
    table_bytes = layout.table_sectors * SECTOR_BYTES
    copies = BACKUP_BOOT_SECTOR - FSINFO_SECTOR - 1
    rest = RESERVED_SECTORS - BACKUP_BOOT_SECTOR - 2
    volume = Image(
        [
            Fixed(boot_sector, Kind.RESERVED, "boot sector"),
            Fixed(fsinfo, Kind.RESERVED, "FSInfo"),
            Zeros(copies * SECTOR_BYTES, Kind.RESERVED, "reserved"),
            Fixed(boot_sector, Kind.RESERVED, "backup boot sector"),
            Fixed(fsinfo, Kind.RESERVED, "backup FSInfo"),
            Zeros(rest * SECTOR_BYTES, Kind.RESERVED, "reserved"),
            Table32(chains, table_bytes, "FAT 1"),
            Table32(chains, table_bytes, "FAT 2"),
            Directories(
                tree,
                renamed=layout.renamed,
                slot_starts=layout.slot_starts,
                cluster_starts=layout.directory_starts,
                file_starts=layout.file_starts,
                cluster_bytes=layout.cluster_bytes,
                label=layout.label,
                zone=layout.zone,
            ),
            Contents(tree, files, layout.file_starts, layout.cluster_bytes),
            Zeros(layout.free_clusters * layout.cluster_bytes, Kind.FREE, "free clusters"),
        ]
    )
    return with_mbr(volume, TYPE_FAT32_LBA, layout.volume_id, HEADS, SECTORS_PER_TRACK)


def _plan_names(tree: Tree) -> tuple[dict[int, str], array[int]]:
    """The names that change, and the cumulative slots of the nodes."""
    renamed: dict[int, str] = {}
    counts: list[int] = [0]  # the root is nobody's entry
    for ordinal in range(len(tree.directories)):
        children = tree.children(ordinal)
        if not children:
            continue
        joined = tree.joined_names(children.start, children.stop)
        changed = renames(joined, len(children))
        own_counts = slot_counts(joined, changed)
        total = sum(own_counts) + header_slots(ordinal)
        if total > MOST_DIRECTORY_ENTRIES:
            path = printable(tree.path(tree.directories[ordinal]))
            raise PlanError(
                f"directory /{path} needs {total} entries for its {len(children)} names, long "
                f"names counted; FAT holds at most {MOST_DIRECTORY_ENTRIES}: split it, or shorten "
                "the names"
            )
        counts += own_counts
        renamed |= {children.start + at: name for at, name in changed.items()}
    return renamed, array("I", accumulate(counts, initial=0))


def _directory_bytes(tree: Tree, slot_starts: array[int]) -> list[int]:
    """The length of each directory."""
    sizes: list[int] = []
    for ordinal in range(len(tree.directories)):
        children = tree.children(ordinal)
        slots = slot_starts[children.stop] - slot_starts[children.start]
        sizes.append((header_slots(ordinal) + slots) * ENTRY_BYTES)
    return sizes


def _cumulative_clusters(sizes: Iterable[int], cluster_bytes: int) -> array[int]:
    """The clusters of all sizes before each one, and of all."""
    shift, round_up = cluster_bytes.bit_length() - 1, cluster_bytes - 1
    return array("I", accumulate([size + round_up >> shift for size in sizes], initial=0))


def _volume_sectors(cluster_count: int, cluster_bytes: int, table_sectors: int) -> int:
    clusters = cluster_count * (cluster_bytes // SECTOR_BYTES)
    return RESERVED_SECTORS + 2 * table_sectors + clusters


def _check_file_sizes(tree: Tree) -> None:
    if max(tree.sizes) <= MOST_FILE_BYTES:
        return
    large = [node for node, size in enumerate(tree.sizes) if size > MOST_FILE_BYTES]
    names = ", ".join(f"{printable(tree.path(node))} ({tree.sizes[node]})" for node in large[:3])
    more = f" and {len(large) - 3} more" if len(large) > 3 else ""
    raise PlanError(f"FAT holds files of at most {MOST_FILE_BYTES} bytes; too large: {names}{more}")


def _check_size(disk_bytes: int) -> None:
    if disk_bytes > MOST_SECTORS * SECTOR_BYTES:
        raise PlanError(
            f"the tree needs a disk of {disk_bytes} bytes or more; FAT32 in an MBR partition "
            f"ends at {MOST_SECTORS * SECTOR_BYTES} (2 TiB)"
        )


def _volume_id(tree: Tree, label: bytes) -> int:
    """A number that tells trees apart and is the same for equal ones."""
    digest = hashlib.blake2b(label, digest_size=4)
    digest.update(tree.names)
    digest.update(tree.sizes.tobytes())
    digest.update(tree.mtimes_ns[1:].tobytes())  # the root's time is not on the disk
    digest.update(tree.directories.tobytes())
    digest.update(tree.first_children.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _boot_sector(layout: Layout) -> bytes:
    sector: bytes = BOOT_SECTOR_FAT32.build(
        {
            "BS_jmpBoot": b"\xeb\x58\x90",  # over the fields, to the code at byte 90
            "BS_OEMName": b"MSWIN4.1",  # what FATGEN recommends: some readers look at it
            "BPB_BytsPerSec": SECTOR_BYTES,
            "BPB_SecPerClus": layout.cluster_bytes // SECTOR_BYTES,
            "BPB_RsvdSecCnt": RESERVED_SECTORS,
            "BPB_NumFATs": 2,
            "BPB_RootEntCnt": 0,
            "BPB_TotSec16": 0,
            "BPB_Media": 0xF8,
            "BPB_FATSz16": 0,
            "BPB_SecPerTrk": SECTORS_PER_TRACK,
            "BPB_NumHeads": HEADS,
            "BPB_HiddSec": FIRST_LBA,
            "BPB_TotSec32": layout.volume_sectors,
            "BPB_FATSz32": layout.table_sectors,
            "BPB_ExtFlags": 0,
            "BPB_FSVer": 0,
            "BPB_RootClus": FIRST_CLUSTER,
            "BPB_FSInfo": FSINFO_SECTOR,
            "BPB_BkBootSec": BACKUP_BOOT_SECTOR,
            "BS_DrvNum": 0x80,
            "BS_VolID": layout.volume_id,
            "BS_VolLab": layout.label,
            # int 18h: no system here, let the BIOS try the next device; then stop
            "BS_BootCode": b"\xcd\x18\xf4\xeb\xfd".ljust(420, b"\0"),
        }
    )
    return sector


def _fsinfo(layout: Layout) -> bytes:
    free = layout.free_clusters
    sector: bytes = FSINFO.build(
        {
            "FSI_Free_Count": free,
            "FSI_Nxt_Free": FIRST_CLUSTER + layout.used_clusters if free else 0xFFFF_FFFF,
        }
    )
    return sector
