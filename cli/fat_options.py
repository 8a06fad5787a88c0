"""The options of a FAT disk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

import click

from ..synth.fat.geometry import CLUSTER_SIZES, FLOPPIES

NOT_OF_FLOPPIES = ("fat", "size", "cluster_size", "sector_size", "partition", "esp", "mbr_code")
FILE = click.Path(exists=True, dir_okay=False)
_SIZE = re.compile(r"(\+?)(\d{1,30}(?:\.\d{1,9})?)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_VOLUME_ID = re.compile(r"(?:0x)?([0-9A-F]{4})-?([0-9A-F]{4})", re.IGNORECASE)


def _size(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[bool, int] | None:
    """`64M`, `1.5G`, `+100M`; bytes without a letter, binary units with one."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value)
    if not match:
        raise click.BadParameter(f"{value!r} is no size; expected one like 64M, 1.5G or +100M")
    plus, number, unit = match.groups()
    return bool(plus), int(float(number) * _UNITS[unit.lower()])


def byte_count(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """`64M`; bytes without a letter, binary units with one."""
    size = _size(_ctx, _param, value)
    if size is None or size[0]:
        raise click.BadParameter(f"{value!r} is no number of bytes; expected one like 64M")
    return size[1]


def _volume_id(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    match = _VOLUME_ID.fullmatch(value)
    if not match:
        raise click.BadParameter(f"{value!r} is no volume id; expected one like 1234-ABCD")
    return int(match[1] + match[2], 16)


def check_fat(values: Mapping[str, Any], given: Set[str]) -> None:
    """Raises UsageError for options that contradict each other, or those that were given."""
    if values["floppy"]:
        for name in NOT_OF_FLOPPIES:
            if name in given:
                raise click.UsageError(f"--floppy goes without --{name.replace('_', '-')}")
    elif values["partition"] == "none":
        if values["esp"]:
            raise click.UsageError("--esp marks a partition; it goes without --partition none")
        if values["mbr_code"]:
            raise click.UsageError("--mbr-code goes before a partition table; here is none")
    cluster_size, sector_size = values["cluster_size"], values["sector_size"]
    if cluster_size and cluster_size < sector_size:
        raise click.UsageError(
            f"--cluster-size {cluster_size} is less than one sector of {sector_size} bytes"
        )


FAT_OPTIONS = (
    click.option(
        "--fat",
        type=click.Choice(["auto", "12", "16", "32"]),
        default="auto",
        show_default=True,
        help="The type; auto is FAT32, or what is usual for --size.",
    ),
    click.option(
        "--size",
        callback=_size,
        metavar="SIZE",
        help="The size of the disk (64M), or room to leave free (+100M).  [default: small]",
    ),
    click.option(
        "--cluster-size",
        type=click.Choice([str(size) for size in CLUSTER_SIZES]),
        metavar="BYTES",
        help="512 to 65536.  [default: 4096 up to 8 GiB of files, then larger]",
    ),
    click.option(
        "--sector-size",
        type=click.Choice(["512", "4096"]),
        default="512",
        show_default=True,
        help="4096 holds disks above 2 TiB.",
    ),
    click.option(
        "--floppy",
        type=click.Choice(list(FLOPPIES), case_sensitive=False),
        metavar="SIZE",
        help=f"A diskette without a partition table: {', '.join(FLOPPIES)}.",
    ),
    click.option(
        "--partition",
        type=click.Choice(["mbr", "gpt", "none"]),
        default="mbr",
        show_default=True,
        help="The partition table.",
    ),
    click.option("--esp", is_flag=True, help="Mark the partition as an EFI system partition."),
    click.option(
        "--volume-id",
        callback=_volume_id,
        metavar="XXXX-XXXX",
        help="The serial number.  [default: derived from the content]",
    ),
    click.option("--hide-dotfiles", is_flag=True, help="Give names like .profile the attribute."),
    click.option(
        "--normalize",
        type=click.Choice(["nfc"]),
        help="Compose the characters of names.  [default: leave names as they are]",
    ),
    click.option(
        "--boot-sector", type=FILE, help="Take the boot code (not the parameters) from a file."
    ),
)
