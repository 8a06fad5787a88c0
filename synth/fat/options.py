"""The options of a FAT disk, as they are declared; light to import: every help needs them."""

from __future__ import annotations

import re
from typing import Any

from ...errors import option_named
from ...options import Option, size
from .geometry import CLUSTER_SIZES, FLOPPIES

_VOLUME_ID = re.compile(r"(?:0x)?([0-9A-F]{4})-?([0-9A-F]{4})", re.IGNORECASE)


def _volume_id(given: Any) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 1 << 32:
        return given
    match = _VOLUME_ID.fullmatch(given) if isinstance(given, str) else None
    if not match:
        raise ValueError(f"{given!r} is no volume id; expected one like 1234-ABCD")
    return int(match[1] + match[2], 16)


def _attributes(given: Any) -> str:
    from .attributes import attribute_rule  # noqa: PLC0415  slow to import, and seldom needed

    text = _text(given)
    attribute_rule(text)
    return text


def _order(given: Any) -> str:
    from .ordering import order_pattern  # noqa: PLC0415

    text = _text(given)
    if text.lower() in {BY_NAME, NATURAL}:
        return text.lower()
    if order_pattern(text, "order") is None:
        raise ValueError(f"{text!r} is neither name, nor natural, nor a pattern")
    return text


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f"{given!r} is no text")
    return given


BY_NAME, NATURAL = "name", "natural"
"""The orders that are no patterns."""
SUFFIXES: tuple[str, ...] = ()
"""Ends of the names of files that should be one: FAT images have no name of their own."""
NOT_OF_FLOPPIES = ("fat", "size", "cluster_size", "sector_size", "partition", "esp", "mbr_code",
                   "active")  # fmt: skip
"""Names of options that go without `floppy`: the model of a diskette settles them."""
OPTIONS = (
    Option(
        name="fat",
        choices=("auto", "12", "16", "32"),
        default="auto",
        help="The type; auto is FAT32, or what is usual for --size.",
    ),
    Option(
        name="size",
        convert=size,
        metavar="SIZE",
        shown_default="small",
        help="The size of the disk (64M), or room to leave free (+100M).",
    ),
    Option(
        name="cluster_size",
        choices=tuple(map(str, CLUSTER_SIZES)),
        metavar="BYTES",
        shown_default="4096 up to 8 GiB of files, then larger",
        help="512 to 65536.",
    ),
    Option(
        name="sector_size",
        choices=("512", "4096"),
        default="512",
        help="4096 holds disks above 2 TiB.",
    ),
    Option(
        name="floppy",
        choices=tuple(FLOPPIES),
        metavar="SIZE",
        help=f"A diskette without a partition table: {', '.join(FLOPPIES)}.",
    ),
    Option(
        name="partition",
        choices=("mbr", "gpt", "none"),
        default="mbr",
        help="The partition table.",
    ),
    Option(
        name="esp",
        is_switch=True,
        default=False,
        help="Mark the partition as an EFI system partition.",
    ),
    Option(
        name="volume_id",
        convert=_volume_id,
        metavar="XXXX-XXXX",
        shown_default="derived from the content",
        help="The serial number.",
    ),
    Option(
        name="hide_dotfiles",
        is_switch=True,
        default=False,
        help="Give names like .profile the hidden attribute.",
    ),
    Option(
        name="normalize",
        choices=("nfc",),
        shown_default="leave names as they are",
        help="Compose the characters of names.",
    ),
    Option(
        name="attrib",
        convert=_attributes,
        is_repeatable=True,
        default=(),
        metavar="GLOB=+h+s+r",
        help="Set (+) or clear (-) the attributes read-only, hidden, system and archive of what "
        "matches, as in .gitignore but in either case. Repeatable; the last that matches counts.",
    ),
    Option(
        name="order",
        convert=_order,
        is_repeatable=True,
        default=(),
        metavar="ORDER",
        shown_default="name",
        help="The order of directories: `name`, `natural` (2 before 10), or a pattern as of "
        f"{option_named('attrib')}: what matches an earlier one comes first, and so do its "
        "contents. Repeatable.",
    ),
    Option(
        name="order_from",
        most_bytes=16 << 20,
        is_path=True,
        is_repeatable=True,
        default=(),
        metavar="FILE",
        help="Take such patterns from FILE, one a line. Repeatable.",
    ),
    Option(
        name="active",
        is_switch=True,
        default=False,
        help="Mark the partition as the one to boot from a BIOS; in an MBR, "
        f"{option_named('mbr_code')} does so, too.",
    ),
    Option(
        name="whole_cylinders",
        is_switch=True,
        default=False,
        help=f"Round {option_named('size')} down to whole cylinders, which DOS and DOSBox want.",
    ),
    Option(
        name="boot_sector",
        most_bytes=1 << 20,
        is_path=True,
        metavar="FILE",
        help="Take the boot code (not the parameters) from a file.",
    ),
)
