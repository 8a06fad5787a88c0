"""The options of an ISO 9660 image, as they are declared; light to import."""

from __future__ import annotations

from typing import Any

from ...options import Option, moment, number, size

SUFFIXES = (".iso",)
"""Ends of the names of files that should be one."""
WHOLE_FILE = 0
"""The value of `boot_load_size` for all of a boot file."""
DEFAULT_UEFI_LABEL = "EFI SYSTEM"
"""With a space where short names have none, so that no file or directory has it, as EFI would."""
_MOST_ID = 0xFFFF_FFFF


def _load_size(given: Any) -> int:
    """Return sectors; 0 for all of the file. Raise ValueError."""
    return WHOLE_FILE if given == "full" else number(1, 0xFFFF)(given)


def _mode(given: Any) -> int:
    """Return permissions. Raise ValueError."""
    text = f"{given:o}" if isinstance(given, int) and not isinstance(given, bool) else str(given)
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"{given!r} is no mode; expected one like 644")
    return mode


OPTIONS = (
    Option(
        name="iso_level",
        choices=("1", "2", "3"),
        default="3",
        help="1: names are 8.3, for readers that know no other; below 3: no file has 4 GiB.",
    ),
    Option(
        name="rock_ridge",
        is_switch=True,
        off="no-rock-ridge",
        default=True,
        help="POSIX names, modes, links and devices.",
    ),
    Option(
        name="joliet",
        is_switch=True,
        off="no-joliet",
        default=True,
        help="A second tree, for Windows.",
    ),
    Option(
        name="joliet_long",
        is_switch=True,
        default=False,
        help="Joliet's names have 103 characters instead of 64.",
    ),
    Option(
        name="preserve",
        is_switch=True,
        off="rational",
        default=False,
        help="Owners and modes as they are, or: owner 0, and all may read.",
    ),
    Option(
        name="uid",
        convert=number(0, _MOST_ID),
        metavar="NUMBER",
        help="The owner of everything.",
    ),
    Option(
        name="gid",
        convert=number(0, _MOST_ID),
        metavar="NUMBER",
        help="The group of everything.",
    ),
    Option(
        name="file_mode",
        convert=_mode,
        metavar="MODE",
        help="The permissions of all files, such as 644.",
    ),
    Option(
        name="dir_mode",
        convert=_mode,
        metavar="MODE",
        help="The permissions of all directories.",
    ),
    Option(
        name="new_dir_mode",
        convert=_mode,
        metavar="MODE",
        help="Those of directories that are made for grafts.",
    ),
    Option(
        name="limit_pathtables",
        is_switch=True,
        off="no-limit-pathtables",
        default=True,
        help="Refuse directories in those from number 65,536 on, which path tables can't tell: "
        "Windows and DOS don't find them, Linux, macOS and archivers do.",
    ),
    Option(
        name="hide",
        is_repeatable=True,
        default=(),
        metavar="GLOB",
        help="Files that all trees but Joliet's don't show. Repeatable.",
    ),
    Option(
        name="hide_joliet",
        is_repeatable=True,
        default=(),
        metavar="GLOB",
        help="Files that Joliet's tree doesn't show. Repeatable.",
    ),
    Option(name="system_id", default="", metavar="TEXT", help="For which system it is."),
    Option(name="volume_set", default="", metavar="TEXT", help="The set that it is part of."),
    Option(name="publisher", default="", metavar="TEXT", help="Who published it."),
    Option(name="preparer", default="", metavar="TEXT", help="Who prepared it."),
    Option(
        name="application",
        default="VFLOPPY",
        metavar="TEXT",
        help="What it is for, or was made by.",
    ),
    Option(
        name="volume_date",
        convert=moment,
        metavar="DATE",
        shown_default="the latest time of its files",
        help="When the volume was made.",
    ),
    Option(
        name="padding",
        is_switch=True,
        off="no-padding",
        default=True,
        help="300 KiB of zeros at the end, for drives that read ahead.",
    ),
    Option(
        name="boot_bios", metavar="PATH", help="What a BIOS starts: isolinux.bin, say, in the tree."
    ),
    Option(
        name="boot_floppy",
        is_switch=True,
        default=False,
        help="That is the image of a diskette (1.2M, 1.44M or 2.88M), which the BIOS emulates.",
    ),
    Option(
        name="boot_load_size",
        convert=_load_size,
        default=4,
        metavar="SECTORS",
        help="How much of that it loads, in units of 512 bytes; `full` is all.",
    ),
    Option(
        name="boot_info_table",
        is_switch=True,
        off="no-boot-info-table",
        default=True,
        help="Tell that program, in the image, where it is.",
    ),
    Option(
        name="boot_catalogue",
        metavar="PATH",
        help="Have the table of what starts as a file there, too, as other programs have it.",
    ),
    Option(
        name="boot_uefi",
        metavar="PATH",
        help="What UEFI starts: a FAT image with \\EFI, in the tree.",
    ),
    Option(
        name="boot_uefi_append",
        is_path=True,
        metavar="FILE",
        help="Likewise, a file of the host: a partition behind the image, and in no directory.",
    ),
    Option(
        name="boot_uefi_dir",
        is_path=True,
        metavar="DIR",
        help="Likewise, and made of a directory (of the host) that holds EFI/: efi.img, or where "
        "--boot-uefi says.",
    ),
    Option(
        name="boot_uefi_fat",
        choices=("auto", "12", "16", "32"),
        default="auto",
        help="The type of that image; auto is the smallest that holds it, or usual for its size.",
    ),
    Option(
        name="boot_uefi_size",
        convert=size,
        metavar="SIZE",
        shown_default="without a free cluster",
        help="Its size (64M), or room to leave free in it (+10M).",
    ),
    Option(
        name="boot_uefi_label",
        default=DEFAULT_UEFI_LABEL,
        metavar="NAME",
        help="Its volume label: at most 11 characters, stored in upper case.",
    ),
    Option(
        name="hybrid",
        is_switch=True,
        default=False,
        help="Add partition tables: the same bytes start as a disk.",
    ),
    Option(
        name="volume_partition",
        is_switch=True,
        default=False,
        help="Its first partition can be mounted, too, by directories of its own.",
    ),
)
