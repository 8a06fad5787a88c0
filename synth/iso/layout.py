"""The options of an image and where everything is in it: what a plan takes, and what it gives."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple

from ...options import DEFAULT_LABEL
from ..lru import CACHE_BYTES
from .dates import NodeDates
from .directories import FacetLayout
from .facets import Facet
from .places import Part
from .posix import Posix

# Where GRUB's image for El Torito, started from a disk, looks for the rest of itself.
GRUB_BLOCK_LIST = (2548, 2556)
DEFAULT_APPLICATION = "VFLOPPY"
DEFAULT_UEFI_PATH = "efi.img"
"""The place in the tree of an image for UEFI that is made."""


class Texts(NamedTuple):
    """The texts of the volume descriptors (ECMA-119, 8.4)."""

    volume: str = DEFAULT_LABEL
    system: str = ""
    volume_set: str = ""
    publisher: str = ""
    preparer: str = ""
    application: str = DEFAULT_APPLICATION


class IsoOptions(NamedTuple):
    """The user's choices for an ISO 9660 image."""

    level: int = 3
    """Of interchange: 1 is 8.3 names, up to 2 no file has 4 GiB."""
    rock_ridge: bool = True
    joliet: bool = True
    joliet_long: bool = False
    preserve: bool = False
    """Owners and modes as they are on the host; the tree must have `owners`."""
    posix: Posix = Posix()
    limit_pathtables: bool = True
    """Refuse what path tables can't tell; else readers that go by them don't find it."""
    texts: Texts = Texts()
    created_ns: int | None = None
    """The volume's dates; None is the latest of the tree's."""
    zone: tzinfo | None = UTC
    """The zone in which dates are expressed. None: that of this machine."""
    latest_ns: int | None = None
    """No date is later than this, in nanoseconds since 1970."""
    padding: bool = True
    """Zeros at the end, for drives that read ahead."""
    boot_bios: str | None = None
    """The path in the tree of what a BIOS starts."""
    boot_load_size: int = 4
    """The part of that which a BIOS loads, in units of 512 bytes; `WHOLE_FILE`: all of it."""
    boot_floppy: bool = False
    """It is the image of a diskette, which the BIOS emulates; goes without `boot_info_table`."""
    boot_info_table: bool = True
    """Tell that program where it is."""
    volume_partition: bool = False
    """A partition of a hybrid is the volume, too, by trees that count from its start."""
    boot_uefi_append: bool = False
    """The tree has a file `hiding.APPENDED`, a partition behind the volume that UEFI starts."""
    hide: tuple[str, ...] = ()
    """Shell patterns for names and paths of files that the primary tree doesn't show."""
    hide_joliet: tuple[str, ...] = ()
    """The same for Joliet's tree."""
    boot_catalogue: str | None = None
    """The path in the tree at which the boot catalogue is a file, too."""
    boot_uefi: str | None = None
    """The path in the tree of a FAT image with what UEFI starts."""
    uefi_is_made: bool = False
    """True if the FAT image is made, and not a file of the host."""
    hybrid: bool = False
    """Partition tables, so that the same bytes are a disk too."""
    mbr_code: bytes | None = None
    """The code that a BIOS starts from that disk."""
    strict: bool = False
    """Refuse a tree in which a name would change: in Joliet's tree, or in the primary one if that
    is the only one."""
    cache_bytes: int = CACHE_BYTES
    """Memory of each facet for directories that were worked out and may be asked for again."""

    @property
    def told_apart_by(self) -> str:
        """Return the options that make another disk, as a text. Those that are newer count where
        they are given, so that other disks stay what they were.
        """
        fields = self._replace(
            zone=None, latest_ns=None, created_ns=None, cache_bytes=0, strict=False
        )._asdict()
        newer = {
            "uefi_is_made": False,
            "limit_pathtables": True,
            "posix": Posix(),
            "boot_catalogue": None,
            "boot_uefi_append": False,
            "volume_partition": False,
            "hide": (),
            "hide_joliet": (),
        }
        told = {name: value for name, value in fields.items() if newer.get(name, ...) != value}
        return f"IsoOptions({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    @property
    def goes_on_with_grub(self) -> bool:
        """Return whether a BIOS starts GRUB's code from the disk, which goes on with GRUB's
        image.
        """
        return self.hybrid and self.mbr_code is not None and b"GRUB" in self.mbr_code


class Start(NamedTuple):
    """The place of a boot image: its first block, and its length in bytes."""

    block: int
    size: int


class IsoLayout(NamedTuple):
    """The places of everything. Blocks are counted from the start of the image."""

    options: IsoOptions
    identity: bytes
    """36 bytes that tell trees and options apart, and are the same for the same ones."""
    created_ns: int
    dates: NodeDates
    primary: Facet
    primary_layout: FacetLayout
    joliet: Facet | None
    joliet_layout: FacetLayout | None
    second_layouts: tuple[FacetLayout, ...]
    """The layout of each facet, its blocks counted from the start of the volume's partition.

    Empty if the volume has no partition of its own.
    """
    places: Mapping[Part, range]
    """The blocks of each part."""
    boot_file: int | None
    """The node of the boot file into which a table is patched, and which so has its own place."""
    uefi_node: int | None
    """The node of an image for UEFI that is made, and so has its own place."""
    catalogue_node: int | None
    """The node that is the boot catalogue."""
    appended_node: int | None
    """The node that is a partition behind the volume."""
    bios: Start | None
    uefi: Start | None
    first_file_block: int
    """The first block of the contents."""
    file_starts: array[int]
    """Cumulative over the nodes, in blocks from `first_file_block`."""
    file_sizes: Sequence[int]
    """Bytes of each node's own contents; other names of a file have none."""
    first_links: Mapping[int, int]
    """Of each node that is another name of a file before it, that one."""
    renamed: Mapping[int, str]
    """The names by node that are not as the host has them in Joliet's tree; or, where there is
    neither that nor Rock Ridge, in the primary one."""

    @property
    def catalogue_block(self) -> int:
        """Return the block of the boot catalogue; 0 if there is none."""
        place = self.places[Part.BOOT_CATALOGUE]
        return place.start if place else 0

    @property
    def blocks(self) -> int:
        """Return how many blocks the image has."""
        return self.places[Part.TAIL].stop

    @property
    def volume_blocks(self) -> int:
        """Return how many blocks belong to the volume, and not to a partition behind it."""
        return self.blocks if self.appended_node is None else self.places[Part.APPENDED].start

    @property
    def partition(self) -> Start | None:
        """Return the place of the partition for UEFI."""
        if self.appended_node is None:
            return self.uefi
        sizes = self.primary.tree.sizes
        return Start(self.places[Part.APPENDED].start, sizes[self.appended_node])

    def file_block(self, node: int) -> int:
        """Return the first block of a file that isn't empty."""
        first_link = self.first_links.get(node, node)
        if first_link == self.boot_file:
            return self.places[Part.BOOT_FILE].start
        if first_link == self.appended_node:
            return self.places[Part.APPENDED].start
        if first_link == self.catalogue_node:
            return self.catalogue_block
        if first_link == self.uefi_node:
            return self.places[Part.UEFI_IMAGE].start
        return self.first_file_block + self.file_starts[first_link]
