"""A tree and options become a layout, by arithmetic alone: names, slots, clusters.

Nothing here reads a file, the clock or the environment, and nothing is random.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, tzinfo
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

from ...errors import PlanError, option_named
from ..image.partition import FIRST_BYTE, MOST_SECTORS, gpt_overhead
from ..lru import CACHE_BYTES
from ..tree.columns import Tree, printable
from .attributes import AttributeRule, attributes
from .cylinders import whole_cylinders
from .directories import more_slots
from .geometry import Geometry, Needs, Wishes, choose, floppy
from .labels import check_label, default_label
from .names import counts_if_plain, renames, slot_counts
from .records import ENTRY_BYTES, MOST_DIRECTORY_ENTRIES, MOST_FILE_BYTES

_NAMES_AT_A_TIME = 1024  # too few for more than MOST_DIRECTORY_ENTRIES, of 255 characters each

Partitioning = Literal["mbr", "gpt", "none"]


class FatOptions(NamedTuple):
    """The user's choices for a FAT disk. Sizes are in bytes."""

    label: str | None = None
    """The volume label: at most 11 characters, stored in upper case; empty: the volume has none;
    None: the usual one, or another where a file has its name."""
    fat_bits: int | None = None
    """12, 16 or 32; None is FAT32, or what is usual for `size`."""
    size: int | None = None
    """The exact length of the disk, partition table and all."""
    free: int = 0
    """Room to leave free, at least; goes without `size`."""
    cluster_bytes: int | None = None
    sector_bytes: int = 512
    partition: Partitioning = "mbr"
    esp: bool = False
    """Mark the partition as an EFI system partition."""
    floppy: str | None = None
    """A diskette of `geometry.FLOPPIES`; goes without all of the sizes and without partition."""
    volume_id: int | None = None
    """The serial number; None derives it from tree and options."""
    zone: tzinfo | None = UTC
    """FAT holds local times; this is where they are local. None: where this machine is."""
    latest_ns: int | None = None
    """No time on the disk is later than this, in nanoseconds since 1970."""
    hide_dotfiles: bool = False
    attributes: tuple[AttributeRule, ...] = ()
    active: bool = False
    """Mark the partition as the one to boot; in an MBR, boot code before it does so, too."""
    whole_cylinders: bool = False
    """Make a disk with an MBR no larger than `size`, and one of whole cylinders."""
    has_first_files: bool = False
    """The tree begins with files that are looked for at the start of the disk."""
    normalize: bool = False
    """Names are composed (Unicode's NFC)."""
    strict: bool = False
    """Refuse a tree in which a name would change."""
    boot_sector: bytes | None = None
    """A boot sector whose code, not whose parameters, goes into ours."""
    mbr_code: bytes | None = None
    """The code that a BIOS runs before that."""
    cache_bytes: int = CACHE_BYTES
    """Memory for names that were worked out and may be asked for again."""


class FatLayout(NamedTuple):
    """The places of everything. Columns as `FatDirectories` and `Contents` want them."""

    options: FatOptions
    geometry: Geometry
    label: bytes
    """Empty if the volume has none."""
    identity: bytes
    """36 bytes that tell trees and options apart, and are the same for the same ones."""
    renamed: Mapping[int, str]
    """The names by node that could not stay as the host has them."""
    slot_starts: array[int]
    directory_starts: array[int]
    file_starts: array[int]
    attributes: array[int] | None = None
    """DIR_Attr by node; None: what the modes say."""

    @property
    def contents_first(self) -> bool:
        """Return whether contents are before directories in the clusters, and the root's label
        behind its entries: loaders that want files by their places know FAT12 and FAT16.
        """
        return self.options.has_first_files and self.geometry.fat_bits != 32

    @property
    def disk_sectors(self) -> int:
        """Return the length of the disk, partition table and all."""
        overhead = _partition_bytes(self.options)
        return self.geometry.volume_sectors + overhead // self.geometry.sector_bytes

    @property
    def used_clusters(self) -> int:
        """Return how many clusters hold directories and file contents."""
        return self.directory_starts[-1] + self.file_starts[-1]

    @property
    def free_clusters(self) -> int:
        """Return how many clusters hold nothing."""
        return self.geometry.cluster_count - self.used_clusters

    @property
    def volume_id(self) -> int:
        """Return the serial number of the volume."""
        if self.options.volume_id is not None:
            return self.options.volume_id
        return int.from_bytes(self.identity[:4], "little")


def plan(tree: Tree, options: FatOptions | None = None) -> FatLayout:
    """Lay a tree out. Raise PlanError when it doesn't fit."""
    options = options or FatOptions()
    if options.floppy:
        options = options._replace(partition="none", fat_bits=12, sector_bytes=512)
    label = check_label(default_label(tree) if options.label is None else options.label)
    _check_file_sizes(tree)
    has_label = bool(label)
    renamed, slot_starts = _plan_names(tree, options, has_label)
    directory_bytes = _directory_bytes(tree, slot_starts, has_label)
    geometry = _geometry(tree, directory_bytes, options)
    cluster_bytes = geometry.cluster_bytes
    if geometry.fat_bits != 32:
        directory_bytes[0] = 0  # the root is not in clusters
    return FatLayout(
        options=options,
        geometry=geometry,
        label=label,
        identity=_identity(tree, label, geometry, options.latest_ns),
        renamed=renamed,
        slot_starts=slot_starts,
        directory_starts=_cumulative_clusters(directory_bytes, cluster_bytes),
        file_starts=_cumulative_clusters(tree.sizes, cluster_bytes),
        attributes=attributes(tree, renamed, options.hide_dotfiles, options.attributes),
    )


def _geometry(tree: Tree, directory_bytes: list[int], options: FatOptions) -> Geometry:
    def clusters(cluster_bytes: int, root_included: bool) -> int:
        shift, round_up = cluster_bytes.bit_length() - 1, cluster_bytes - 1
        count = sum([size + round_up >> shift for size in tree.sizes])
        count += sum([size + round_up >> shift for size in directory_bytes])
        return count if root_included else count - (directory_bytes[0] + round_up >> shift)

    needs = Needs(
        data_bytes=sum(tree.sizes),
        root_slots=directory_bytes[0] // ENTRY_BYTES,
        clusters=clusters,
    )
    if options.floppy:
        return floppy(options.floppy, needs)
    overhead = _partition_bytes(options)
    sector_bytes = options.sector_bytes
    volume_sectors = None
    size = options.size
    if size is not None and options.whole_cylinders and options.partition == "mbr":
        size = whole_cylinders(size)
    if size is not None:
        if size % sector_bytes:
            raise PlanError(
                f"a disk of {size} bytes has no whole number of {sector_bytes}-byte sectors"
            )
        volume_sectors = (size - overhead) // sector_bytes
    wishes = Wishes(
        fat_bits=options.fat_bits,
        cluster_bytes=options.cluster_bytes,
        sector_bytes=sector_bytes,
        volume_sectors=volume_sectors,
        free_bytes=options.free,
        overhead=overhead,
        has_mbr=options.partition == "mbr",
    )
    geometry = choose(needs, wishes)
    end_sector = geometry.volume_sectors + overhead // sector_bytes
    if options.partition == "mbr" and end_sector > MOST_SECTORS:
        raise PlanError(
            f"the tree needs a disk of {end_sector * sector_bytes} bytes; an MBR with sectors of "
            f"{sector_bytes} bytes ends at {MOST_SECTORS * sector_bytes}; pass "
            f"{option_named('sector_size', 4096)} or {option_named('partition', 'gpt')}"
        )
    return geometry


def _partition_bytes(options: FatOptions) -> int:
    """Return how many bytes of a disk are not the volume's."""
    if options.partition == "none":
        return 0
    return FIRST_BYTE + (gpt_overhead(options.sector_bytes) if options.partition == "gpt" else 0)


def _plan_names(
    tree: Tree, options: FatOptions, has_label: bool
) -> tuple[dict[int, str], array[int]]:
    """Return the names that change, and the cumulative slots of the nodes."""
    renamed: dict[int, str] = {}
    counts: list[int] = [0]  # the root is nobody's entry
    for ordinals in _some_at_a_time(tree):
        children = [tree.children(ordinal) for ordinal in ordinals]
        names = range(children[0].start, children[-1].stop)
        plain_counts = None
        if 0 < len(names) <= _NAMES_AT_A_TIME:
            joined = tree.joined_names(names.start, names.stop)
            plain_counts = counts_if_plain(joined, map(len, children))
        if plain_counts is not None:
            counts += plain_counts
            continue
        for ordinal in ordinals:
            counts += _plan_directory(tree, options, ordinal, renamed, has_label)
    if options.strict and renamed:
        first = ", ".join(printable(tree.path(node)) for node in list(renamed)[:3])
        raise PlanError(
            f"{option_named('strict')} refuses to rename, and FAT can't hold {len(renamed)} of "
            f"the names: {first}" + (" ..." if len(renamed) > 3 else "")
        )
    return renamed, array("I", accumulate(counts, initial=0))


def _some_at_a_time(tree: Tree) -> Iterator[range]:
    """Yield the directories in order, as many together as have few names; any other by itself."""
    bounds = tree.first_children + array("I", [len(tree)])
    start, end = 0, len(tree.directories)
    while start < end:
        stop = bisect_right(bounds, bounds[start] + _NAMES_AT_A_TIME) - 1
        stop = max(stop, start + 1)
        yield range(start, stop)
        start = stop


def _plan_directory(
    tree: Tree, options: FatOptions, ordinal: int, renamed: dict[int, str], has_label: bool
) -> list[int]:
    """Return the slots of each of a directory's entries; add to `renamed`. Raise PlanError."""
    children = tree.children(ordinal)
    if not children:
        return []
    joined = tree.joined_names(children.start, children.stop)
    changed = renames(joined, len(children), normalize=options.normalize)
    counts = slot_counts(joined, changed)
    total = sum(counts) + more_slots(ordinal, has_label)
    if total > MOST_DIRECTORY_ENTRIES:
        path = printable(tree.path(tree.directories[ordinal]))
        raise PlanError(
            f"directory /{path} needs {total} entries for its {len(children)} names, long "
            f"names counted; FAT holds at most {MOST_DIRECTORY_ENTRIES}: split it, or shorten "
            "the names"
        )
    if changed:
        renamed |= {children.start + at: name for at, name in changed.items()}
    return counts


def _directory_bytes(tree: Tree, slot_starts: array[int], has_label: bool) -> list[int]:
    """Return the length of each directory."""
    bounds = [slot_starts[node] for node in (*tree.first_children, len(tree))]
    return [
        (more_slots(ordinal, has_label) + end - start) * ENTRY_BYTES
        for ordinal, (start, end) in enumerate(pairwise(bounds))
    ]


def _cumulative_clusters(sizes: Iterable[int], cluster_bytes: int) -> array[int]:
    """Return the clusters of all sizes before each one, and of all."""
    shift, round_up = cluster_bytes.bit_length() - 1, cluster_bytes - 1
    return array("I", accumulate([size + round_up >> shift for size in sizes], initial=0))


def _check_file_sizes(tree: Tree) -> None:
    if max(tree.sizes) <= MOST_FILE_BYTES:
        return
    large = [node for node, size in enumerate(tree.sizes) if size > MOST_FILE_BYTES]
    names = ", ".join(f"{printable(tree.path(node))} ({tree.sizes[node]})" for node in large[:3])
    more = f" and {len(large) - 3} more" if len(large) > 3 else ""
    raise PlanError(f"FAT holds files of at most {MOST_FILE_BYTES} bytes; too large: {names}{more}")


def _identity(tree: Tree, label: bytes, geometry: Geometry, latest_ns: int | None) -> bytes:
    digest = hashlib.blake2b(label, digest_size=36)
    digest.update(repr(geometry).encode())
    digest.update(tree.names)
    digest.update(tree.sizes.tobytes())
    times_ns = tree.mtimes_ns[1:]  # the root's time is not on the disk
    if latest_ns is not None:
        times_ns = array("q", [min(time_ns, latest_ns) for time_ns in times_ns])
    digest.update(times_ns.tobytes())
    digest.update(tree.directories.tobytes())
    digest.update(tree.first_children.tobytes())
    return digest.digest()
