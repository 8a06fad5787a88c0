"""Presets: the options that certain readers want of a disk, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Preset(NamedTuple):
    """Converted values of options, unless others are given, and why they are right."""

    values: Mapping[str, Any]
    why: str
    reader: str = ""
    """The reader that it is for, as findings name it; empty: none of those."""


_CLOUD = "cloud-init looks for a file system with this label, with or without partitions"
_CONFIG_2 = (
    "as for cidata; on Windows, cloudbase-init's mtools read the disk from its first byte on"
)
# With a space in the label, which no file's name has there.
_DOS = {
    "fat": "16",
    "partition": "mbr",
    "utc": False,
    "label": "DOS DISK",
    "whole_cylinders": True,
}

PRESETS: dict[str, Preset] = {
    "ovmf": Preset(
        {"fat": "32", "partition": "gpt", "esp": True, "label": "EFI SYSTEM"},
        "UEFI boots \\EFI\\BOOT\\BOOTX64.EFI from an EFI system partition; EDK2 takes a FAT32 only "
        "with 65,525 clusters or more",
        reader="EDK2",
    ),
    "windows": Preset(
        {"fat": "32", "partition": "mbr", "utc": False},
        "Windows reads the first MBR partition of a removable disk and takes times for local",
        reader="Windows",
    ),
    "dos": Preset(
        _DOS,
        "DOS before 7.1 knows no FAT32, and no partition behind 2 GiB; it counts whole cylinders",
        reader="DOS",
    ),
    "dos-boot": Preset(
        {
            **_DOS,
            "active": True,
            "order": ("/IO.SYS", "/IBMBIO.COM", "/MSDOS.SYS", "/IBMDOS.COM", "/COMMAND.COM"),
            "attrib": tuple(
                f"/{name}=+rhs" for name in ("IO.SYS", "MSDOS.SYS", "IBMBIO.COM", "IBMDOS.COM")
            ),
        },
        "the loader of DOS wants its two files first in the root, and first of all contents; give "
        "its code by --mbr-code and --boot-sector",
        reader="DOS",
    ),
    "vvfat": Preset(
        {
            "fat": "16",
            "partition": "mbr",
            "size": (False, 1024 * 16 * 63 * 512),
            "label": "QEMU VVFAT",
            "symlinks": "follow",
            "utc": False,
        },
        "what `-drive file=fat:DIR` gives a guest: 504 MiB of FAT16 in an MBR partition",
    ),
    "floppy": Preset(
        {"floppy": "1.44M"}, "3.5 inch, high density: FAT12, media F0, 224 entries", reader="DOS"
    ),
    "u-boot": Preset(
        {"fat": "32", "partition": "mbr"},
        "U-Boot reads the first MBR partition and looks at the type string",
        reader="U-Boot",
    ),
    "cidata": Preset({"fat": "16", "partition": "none", "label": "cidata"}, _CLOUD),
    "config-2": Preset({"fat": "16", "partition": "none", "label": "config-2"}, _CONFIG_2),
    "oemdrv": Preset(
        {"fat": "16", "partition": "none", "label": "OEMDRV"},
        "Anaconda takes ks.cfg and driver disks from a file system with this label; a disk that "
        "has it itself, and not in a partition, is none that it installs to",
    ),
    "superfloppy": Preset(
        {"partition": "none"}, "QNX, RTEMS and many devices expect a disk without partitions"
    ),
    "raw-4k": Preset(
        {"fat": "32", "partition": "gpt", "sector_size": "4096"},
        "a disk with 4096-byte sectors; give QEMU's device logical_block_size=4096",
    ),
}
