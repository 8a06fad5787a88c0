"""The options of an ISO 9660 image, with what is right and what contradicts itself among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from typing import Any

import click

_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d):?(\d\d)Z?)?")


def _volume_date(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """`2026-11-23` or `2026-11-23T10:00:00`, in UTC."""
    if value is None:
        return None
    match = _DATE.fullmatch(value)
    try:
        if match:
            numbers = [int(each or 0) for each in match.groups()]
            when = datetime(*numbers, tzinfo=UTC)  # type: ignore[misc,arg-type]
            return int(when.timestamp()) * 1_000_000_000
    except ValueError:
        pass
    raise click.BadParameter(f"{value!r} is no date; expected one like 2026-11-23T10:00:00, in UTC")


def check_iso(values: Mapping[str, Any], given: Set[str]) -> None:
    """Raises PlanError for a text that a volume descriptor can't hold, and UsageError for options
    that contradict each other, or those that were given.
    """
    from ..synth.iso.volume import check_text  # noqa: PLC0415  needed for this format only

    for option, field in _TEXTS.items():
        check_text(field, values[option])
    for name in ("boot_load_size", "boot_info_table", "boot_floppy"):
        if name in given and not values["boot_bios"]:
            raise click.UsageError(f"--{name.replace('_', '-')} is about --boot-bios PATH")
        if name in given and name != "boot_floppy" and values["boot_floppy"]:
            raise click.UsageError(f"--boot-floppy goes without --{name.replace('_', '-')}")
    if values["boot_floppy"] and values["mbr_code"]:
        raise click.UsageError("--boot-floppy goes without --mbr-code, which starts no diskette")
    if values["boot_uefi"] and values["boot_uefi_dir"]:
        raise click.UsageError("--boot-uefi goes without --boot-uefi-dir: one image is started")
    if values["joliet_long"] and not values["joliet"]:
        raise click.UsageError("--joliet-long goes without --no-joliet")
    if values["preserve"] and not values["rock_ridge"]:
        raise click.UsageError("--preserve needs Rock Ridge; ISO 9660 alone has no owners")
    if values["mbr_code"] and not values["hybrid"]:
        raise click.UsageError("--mbr-code goes into a partition table; pass --hybrid, too")
    starts = values["mbr_code"] or values["boot_uefi"] or values["boot_uefi_dir"]
    if values["hybrid"] and not starts:
        raise click.UsageError(
            "--hybrid has nothing to start; pass --mbr-code for BIOS, or --boot-uefi or "
            "--boot-uefi-dir"
        )


_TEXTS = {
    "label": "volume",
    "system_id": "system",
    "volume_set": "volume_set",
    "publisher": "publisher",
    "preparer": "preparer",
    "application": "application",
}

ISO_OPTIONS = (
    click.option(
        "--iso-level",
        type=click.Choice(["1", "2", "3"]),
        default="3",
        show_default=True,
        help="1: names are 8.3, for readers that know no other; below 3: no file has 4 GiB.",
    ),
    click.option(
        "--rock-ridge/--no-rock-ridge",
        default=True,
        help="POSIX names, modes, links and devices.  [default: yes]",
    ),
    click.option(
        "--joliet/--no-joliet", default=True, help="A second tree, for Windows.  [default: yes]"
    ),
    click.option(
        "--joliet-long", is_flag=True, help="Joliet's names have 103 characters instead of 64."
    ),
    click.option(
        "--preserve/--rational",
        default=False,
        help="Owners and modes as they are, or: owner 0, and all may read.  [default: rational]",
    ),
    click.option("--system-id", default="", metavar="TEXT", help="For which system it is."),
    click.option("--volume-set", default="", metavar="TEXT", help="The set that it is part of."),
    click.option("--publisher", default="", metavar="TEXT", help="Who published it."),
    click.option("--preparer", default="", metavar="TEXT", help="Who prepared it."),
    click.option(
        "--application",
        default="VFLOPPY",
        show_default=True,
        metavar="TEXT",
        help="What it is for, or was made by.",
    ),
    click.option(
        "--volume-date",
        callback=_volume_date,
        metavar="DATE",
        help="When the volume was made.  [default: the latest time of its files]",
    ),
    click.option(
        "--padding/--no-padding",
        default=True,
        help="300 KiB of zeros at the end, for drives that read ahead.  [default: yes]",
    ),
    click.option(
        "--boot-bios", metavar="PATH", help="What a BIOS starts: isolinux.bin, say, in the tree."
    ),
    click.option(
        "--boot-floppy",
        is_flag=True,
        help="That is the image of a diskette (1.2M, 1.44M or 2.88M), which the BIOS emulates.",
    ),
    click.option(
        "--boot-load-size",
        type=click.IntRange(1, 0xFFFF),
        default=4,
        show_default=True,
        metavar="SECTORS",
        help="How much of that it loads, in units of 512 bytes.",
    ),
    click.option(
        "--boot-info-table/--no-boot-info-table",
        default=True,
        help="Tell that program, in the image, where it is.  [default: yes]",
    ),
    click.option(
        "--boot-uefi", metavar="PATH", help="What UEFI starts: a FAT image with \\EFI, in the tree."
    ),
    click.option(
        "--boot-uefi-dir",
        type=click.Path(exists=True, file_okay=False),
        metavar="DIR",
        help="Likewise, and made of a directory (of the host) that holds EFI/.",
    ),
    click.option(
        "--hybrid", is_flag=True, help="Add partition tables: the same bytes start as a disk."
    ),
)
