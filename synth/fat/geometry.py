"""The sizes of everything: FAT type, cluster size, tables, root directory, by arithmetic alone.

FATGEN, "FAT Type Determination": the number of clusters alone says which FAT it is. Readers draw
the lines a few clusters apart, so the planner keeps clear of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...errors import PlanError, option_named
from .cylinders import SECTORS_PER_TRACK, bios_heads
from .records import ENTRY_BYTES

ALIGNMENT = 4096
"""Data starts at a multiple of this many bytes, so that clusters are whole pages of the host."""

CLEARANCE = 16
_LIMITS = {  # the fewest and the most clusters of each type
    12: (1, 4084 - CLEARANCE),
    16: (4085 + CLEARANCE, 65_524 - CLEARANCE),
    32: (65_525 + CLEARANCE, 0x0FFF_FFF5),
}
_USUAL_ROOT_ENTRIES = 512
_MOST_ROOT_ENTRIES = 65_536 - 128  # a 16-bit number that fills whole 4 KiB
_RESERVED_SECTORS_FAT32 = 32
MOST_SECTORS = 0xFFFF_FFFF
_FEWEST_SECTORS = 128
"""ChaN's FatFs, which is in most small devices, takes less for no volume. An exact size may be."""

# The usual cluster size of FAT32 for so many bytes of data, as Windows chooses it.
_USUAL_CLUSTER_BYTES = ((8 << 30, 4096), (16 << 30, 8192), (32 << 30, 16384))
LARGEST_CLUSTER_BYTES = 32768
CLUSTER_SIZES = tuple(1 << shift for shift in range(9, 17))

# Without a wish, a volume of a given size is of the type that is usual for it.
_SMALL_BYTES = 16 << 20
_LARGE_BYTES = 512 << 20


class Floppy(NamedTuple):
    """A diskette as the industry made it: FAT12, one reserved sector, two tables."""

    sectors: int
    sectors_per_cluster: int
    root_entries: int
    media: int
    table_sectors: int
    sectors_per_track: int
    heads: int


FLOPPIES = {
    "160k": Floppy(320, 1, 64, 0xFE, 1, 8, 1),
    "180k": Floppy(360, 1, 64, 0xFC, 2, 9, 1),
    "320k": Floppy(640, 2, 112, 0xFF, 1, 8, 2),
    "360k": Floppy(720, 2, 112, 0xFD, 2, 9, 2),
    "720k": Floppy(1440, 2, 112, 0xF9, 3, 9, 2),
    "1.2M": Floppy(2400, 1, 224, 0xF9, 7, 15, 2),
    "1.44M": Floppy(2880, 1, 224, 0xF0, 9, 18, 2),
    "2.88M": Floppy(5760, 2, 240, 0xF0, 9, 36, 2),
}


class Needs(NamedTuple):
    """Demands of the tree."""

    data_bytes: int
    """The sum of all file sizes."""
    root_slots: int
    """Entries of the root directory."""
    clusters: Callable[[int, bool], int]
    """The clusters that files and directories take, given the bytes of a cluster and whether the
    root directory is in clusters as well (FAT32)."""


class Wishes(NamedTuple):
    """Demands of the user; None and 0 where it is all one."""

    fat_bits: int | None = None
    cluster_bytes: int | None = None
    sector_bytes: int = 512
    volume_sectors: int | None = None
    """The exact length of the volume."""
    free_bytes: int = 0
    """Room to leave free, at least."""
    overhead: int = 0
    """Bytes of the disk around the volume."""
    has_mbr: bool = False
    """True if the volume is an MBR's partition, up to the end of the disk."""


class Geometry(NamedTuple):
    """The measures of a volume."""

    fat_bits: int
    sector_bytes: int
    cluster_bytes: int
    reserved_sectors: int
    table_sectors: int
    root_entries: int
    """0 for FAT32, whose root directory is in clusters."""
    cluster_count: int
    volume_sectors: int
    media: int = 0xF8
    sectors_per_track: int = SECTORS_PER_TRACK
    heads: int = 255
    """As a BIOS has them, where it is sure; else the usual ones."""

    @property
    def root_sectors(self) -> int:
        """Return the length of the root directory outside the clusters."""
        return self.root_entries * ENTRY_BYTES // self.sector_bytes

    @property
    def is_floppy(self) -> bool:
        """Return whether this is a diskette."""
        return self.heads <= 2

    @property
    def first_data_sector(self) -> int:
        """Return where cluster 2 is."""
        return self.reserved_sectors + 2 * self.table_sectors + self.root_sectors

    @property
    def unused_sectors(self) -> int:
        """Return what is left behind the last cluster: less than one more would need."""
        clusters = self.cluster_count * (self.cluster_bytes // self.sector_bytes)
        return self.volume_sectors - self.first_data_sector - clusters


def choose(needs: Needs, wishes: Wishes) -> Geometry:
    """Return the best geometry that holds the tree and fulfils the wishes.

    Raise PlanError when there is none, with the smallest size that would do.
    """
    for fat_bits in _types(wishes):
        for cluster_bytes in _cluster_sizes(fat_bits, needs, wishes):
            geometry = _measure(fat_bits, cluster_bytes, needs, wishes)
            if geometry:
                return _in_tracks(geometry, needs, wishes)
    raise PlanError(_refusal(needs, wishes))


def _in_tracks(geometry: Geometry, needs: Needs, wishes: Wishes) -> Geometry:
    """Return the geometry with tracks and heads as a BIOS has them, for readers that address by
    them.

    Emulated BIOSes guess them from where the partition ends, and are right if that is the end of a
    cylinder. A disk of FAT12 or FAT16 and of open size is made so long: DOS's loaders know no other
    addresses.
    """
    if wishes.sector_bytes != 512:
        return geometry
    if not wishes.overhead:
        for model in FLOPPIES.values():
            if model.sectors == wishes.volume_sectors:
                return geometry._replace(
                    media=model.media,
                    sectors_per_track=model.sectors_per_track,
                    heads=model.heads,
                )
    if not wishes.has_mbr:
        return geometry
    sectors = geometry.volume_sectors + wishes.overhead // 512
    heads = bios_heads(sectors)
    missing = -sectors % (heads * SECTORS_PER_TRACK)
    if missing and wishes.volume_sectors is None and geometry.fat_bits != 32:
        wishes = wishes._replace(volume_sectors=geometry.volume_sectors + missing)
        longer = _measure(geometry.fat_bits, geometry.cluster_bytes, needs, wishes)
        return longer._replace(heads=heads) if longer else geometry
    return geometry if missing else geometry._replace(heads=heads)


def floppy(name: str, needs: Needs) -> Geometry:
    """Return a diskette. Raise PlanError, saying by how much, when the tree doesn't fit on it."""
    model = FLOPPIES[name]
    cluster_bytes = model.sectors_per_cluster * 512
    root_sectors = model.root_entries * ENTRY_BYTES // 512
    data_sectors = model.sectors - 1 - 2 * model.table_sectors - root_sectors
    geometry = Geometry(
        fat_bits=12,
        sector_bytes=512,
        cluster_bytes=cluster_bytes,
        reserved_sectors=1,
        table_sectors=model.table_sectors,
        root_entries=model.root_entries,
        cluster_count=data_sectors // model.sectors_per_cluster,
        volume_sectors=model.sectors,
        media=model.media,
        sectors_per_track=model.sectors_per_track,
        heads=model.heads,
    )
    excess = needs.clusters(cluster_bytes, False) - geometry.cluster_count
    if excess > 0:
        raise PlanError(
            f"the tree takes {excess * cluster_bytes} bytes more than a {name} floppy holds"
            f"{_larger_floppy(needs)}"
        )
    if needs.root_slots > model.root_entries:
        raise PlanError(
            f"the root directory needs {needs.root_slots} entries, long names counted, "
            f"{needs.root_slots - model.root_entries} more than a {name} floppy has; "
            "use shorter names, or a subdirectory"
        )
    return geometry


def _larger_floppy(needs: Needs) -> str:
    for name, model in FLOPPIES.items():
        cluster_bytes = model.sectors_per_cluster * 512
        root_sectors = model.root_entries * ENTRY_BYTES // 512
        data_sectors = model.sectors - 1 - 2 * model.table_sectors - root_sectors
        count = data_sectors // model.sectors_per_cluster
        if needs.clusters(cluster_bytes, False) <= count and (
            needs.root_slots <= model.root_entries
        ):
            return f"; it fits on {name}"
    return "; it fits on no floppy"


def _types(wishes: Wishes) -> tuple[int, ...]:
    """Return the FAT types to try, the preferred one first."""
    if wishes.fat_bits:
        return (wishes.fat_bits,)
    if wishes.volume_sectors is None:
        return (32,)
    size = wishes.volume_sectors * wishes.sector_bytes
    if size < _SMALL_BYTES:
        return (12, 16, 32)
    return (16, 32, 12) if size < _LARGE_BYTES else (32, 16, 12)


def _cluster_sizes(fat_bits: int, needs: Needs, wishes: Wishes) -> Iterator[int]:
    """Yield the cluster sizes to try: the usual one, then smaller ones, then larger ones."""
    if wishes.cluster_bytes:
        yield wishes.cluster_bytes
        return
    usual = ALIGNMENT
    if fat_bits == 32:
        amount = max(needs.data_bytes + wishes.free_bytes, _wished_bytes(wishes) or 0)
        usual = next(
            (size for most, size in _USUAL_CLUSTER_BYTES if amount <= most), LARGEST_CLUSTER_BYTES
        )
    usual = max(usual, wishes.sector_bytes)
    sizes = [size for size in CLUSTER_SIZES if wishes.sector_bytes <= size]
    yield usual
    yield from (size for size in reversed(sizes) if size < usual)
    yield from (size for size in sizes if usual < size <= LARGEST_CLUSTER_BYTES)


def _wished_bytes(wishes: Wishes) -> int | None:
    if wishes.volume_sectors is None:
        return None
    return wishes.volume_sectors * wishes.sector_bytes


def _measure(fat_bits: int, cluster_bytes: int, needs: Needs, wishes: Wishes) -> Geometry | None:
    """Return the geometry with this type and cluster size; None when it can't be."""
    sector_bytes = wishes.sector_bytes
    unit = ALIGNMENT // sector_bytes  # sectors that are aligned together
    if fat_bits == 32:
        reserved, root_entries = _RESERVED_SECTORS_FAT32, 0
    else:
        reserved = unit
        per_unit = ALIGNMENT // ENTRY_BYTES
        root_entries = max(-(-needs.root_slots // per_unit) * per_unit, _USUAL_ROOT_ENTRIES)
        if root_entries > _MOST_ROOT_ENTRIES:
            return None
    root_sectors = root_entries * ENTRY_BYTES // sector_bytes
    fewest, most = _LIMITS[fat_bits]
    # There are readers that count the root directory in when they ask for the type.
    most -= -(-root_sectors * sector_bytes // cluster_bytes)
    wanted = needs.clusters(cluster_bytes, fat_bits == 32)
    wanted += -(-wishes.free_bytes // cluster_bytes)
    sectors_per_cluster = cluster_bytes // sector_bytes
    if wishes.volume_sectors is None:
        at_least = -(-(_FEWEST_SECTORS - reserved - root_sectors) // sectors_per_cluster)
        count = max(wanted, fewest, at_least)
        table_sectors = _table_sectors(count, fat_bits, sector_bytes)
        volume_sectors = reserved + 2 * table_sectors + root_sectors + count * sectors_per_cluster
    else:
        volume_sectors = wishes.volume_sectors
        room = volume_sectors - reserved - root_sectors
        table_sectors, count = _divide(room, sectors_per_cluster, fat_bits, sector_bytes)
    if not max(wanted, fewest) <= count <= most or volume_sectors > MOST_SECTORS:
        return None
    return Geometry(
        fat_bits=fat_bits,
        sector_bytes=sector_bytes,
        cluster_bytes=cluster_bytes,
        reserved_sectors=reserved,
        table_sectors=table_sectors,
        root_entries=root_entries,
        cluster_count=count,
        volume_sectors=volume_sectors,
    )


def _table_unit(fat_bits: int, sector_bytes: int) -> int:
    """Return the sectors that one table is a multiple of: all below the tables stays aligned.

    The two tables of a FAT12 or FAT16 are an alignment unit together, each of FAT32 is one.
    """
    return max(ALIGNMENT // (1 if fat_bits == 32 else 2) // sector_bytes, 1)


def _table_sectors(count: int, fat_bits: int, sector_bytes: int) -> int:
    """Return the length of one table for so many clusters."""
    needed = -(-(count + 2) * fat_bits // (8 * sector_bytes))
    unit = _table_unit(fat_bits, sector_bytes)
    return -(-needed // unit) * unit


def _divide(
    room: int, sectors_per_cluster: int, fat_bits: int, sector_bytes: int
) -> tuple[int, int]:
    """Split `room` sectors into tables and clusters: the sectors of one table, the clusters.

    A reader counts every cluster that there is room for, so the table has to cover them all.
    """
    # A little less than there can be, since tables come in whole units:
    sector_bits = 8 * sector_bytes
    estimate = room * sector_bits // (sectors_per_cluster * sector_bits + 2 * fat_bits)
    unit = _table_unit(fat_bits, sector_bytes)
    table_sectors = max(_table_sectors(max(estimate, 0), fat_bits, sector_bytes) - unit, unit)
    while True:
        count = max((room - 2 * table_sectors) // sectors_per_cluster, 0)
        if _table_sectors(count, fat_bits, sector_bytes) <= table_sectors:
            return table_sectors, count
        table_sectors += unit


def _refusal(needs: Needs, wishes: Wishes) -> str:
    """Return why no geometry does, and what would."""
    fat = f"FAT{wishes.fat_bits}" if wishes.fat_bits else "FAT"
    if wishes.cluster_bytes:
        fat += f" with {wishes.cluster_bytes}-byte clusters"
    if wishes.fat_bits in {12, 16} and needs.root_slots > _MOST_ROOT_ENTRIES:
        return (
            f"the root directory needs {needs.root_slots} entries, long names counted; a {fat} has "
            f"at most {_MOST_ROOT_ENTRIES}: use a subdirectory, or {option_named('fat', 32)}"
        )
    open_wishes = wishes._replace(volume_sectors=None)
    smallest = min(
        (
            geometry.volume_sectors * geometry.sector_bytes + wishes.overhead
            for fat_bits in ((wishes.fat_bits,) if wishes.fat_bits else (12, 16, 32))
            for cluster_bytes in _cluster_sizes(fat_bits, needs, open_wishes)
            if (geometry := _measure(fat_bits, cluster_bytes, needs, open_wishes))
        ),
        default=None,
    )
    remedy = _remedy(needs, wishes)
    if smallest is None:
        room = f", and {wishes.free_bytes} free," if wishes.free_bytes else ""
        return f"{needs.data_bytes} bytes of files{room} are more than any {fat} holds{remedy}"
    wished = (_wished_bytes(wishes) or 0) + wishes.overhead
    if wished < smallest:
        return f"a disk of {wished} bytes is too small for {fat}; {smallest} bytes would do"
    return f"a disk of {wished} bytes is too large for {fat}{remedy}"


def _remedy(needs: Needs, wishes: Wishes) -> str:
    """Return the one option that helps, for the end of a message."""
    volume_bytes = _wished_bytes(wishes)
    for option, other in (
        (option_named("cluster_size", 65536), wishes._replace(cluster_bytes=CLUSTER_SIZES[-1])),
        (option_named("fat", 32), wishes._replace(fat_bits=32)),
        (option_named("sector_size", 4096), wishes._replace(sector_bytes=4096)),
    ):
        if other.cluster_bytes and other.cluster_bytes < other.sector_bytes:
            continue
        sectors = None if volume_bytes is None else volume_bytes // other.sector_bytes
        sized = other._replace(volume_sectors=sectors)
        for fat_bits in _types(sized):
            for cluster_bytes in _cluster_sizes(fat_bits, needs, sized):
                if _measure(fat_bits, cluster_bytes, needs, sized):
                    return f"; {option} would do"
    return ""
