"""The options of disks of every format; those of one format are with the format."""

from __future__ import annotations

import os
from typing import Any

from ..options import DEFAULT_LABEL, Option, byte_count, number
from ..synth.formats import NAMES
from ..synth.lru import CACHE_BYTES
from .presets import PRESETS

_MOST_NS = (1 << 63) - 1  # in the year 2262


def _graft(given: Any) -> tuple[str, str]:
    """Take `TARGET=SOURCE`, or a pair of them: a place in the tree, and a path on the host."""
    if isinstance(given, str):
        target, equals, source = given.partition("=")
        if not equals or not source:
            raise ValueError(f"{given!r} is no graft; expected TARGET=SOURCE")
        return target, source
    if isinstance(given, tuple) and len(given) == 2:
        return os.fsdecode(given[0]), os.fsdecode(given[1])
    raise ValueError(f"{given!r} is no graft; expected a target and a source")


def _seconds(given: Any) -> int:
    """Return seconds since 1970 as nanoseconds, within what a tree's columns hold."""
    try:
        return max(-_MOST_NS, min(int(given) * 1_000_000_000, _MOST_NS))
    except (ValueError, TypeError):
        raise ValueError(f"{given!r} is no number of seconds since 1970") from None


OPTIONS = (
    Option(
        name="format",
        choices=NAMES,
        shown_default="fat; `build` takes iso from a name that ends with .iso",
        help="The file system.",
    ),
    Option(
        name="graft",
        convert=_graft,
        is_repeatable=True,
        default=(),
        metavar="TARGET=SOURCE",
        help="Put the file or directory SOURCE at TARGET on the disk. Repeatable.",
    ),
    Option(
        name="exclude",
        is_repeatable=True,
        default=(),
        metavar="GLOB",
        help="Leave out what matches, as in .gitignore. Repeatable.",
    ),
    Option(
        name="exclude_from",
        most_bytes=16 << 20,
        is_path=True,
        is_repeatable=True,
        default=(),
        metavar="FILE",
        help="Leave out what the patterns in FILE match, one a line. Repeatable.",
    ),
    Option(
        name="symlinks",
        choices=("skip", "keep", "follow", "follow-all", "refuse"),
        shown_default="keep if it can, else skip",
        help="`follow` takes what links lead to within the directories, `follow-all` anywhere; "
        "`keep` makes links of them, if the disk can.",
    ),
    Option(
        name="skip_unreadable",
        is_switch=True,
        default=False,
        help="Leave out what may not be read, instead of refusing the directory.",
    ),
    Option(
        name="skip_large",
        is_switch=True,
        default=False,
        help="Leave out files of 4 GiB and more, instead of refusing the directory.",
    ),
    Option(
        name="strict",
        is_switch=True,
        default=False,
        help="Refuse a directory with names that would have to change, and several directories "
        "with files of one name.",
    ),
    Option(
        name="distinct",
        is_switch=True,
        is_for_python=True,
        default=False,
        help="Of `strict` only this: refuse several directories with files of one name.",
    ),
    Option(
        name="preset",
        spelled="for",
        choices=tuple(sorted(PRESETS)),
        help="Set the options that a certain reader of the disk wants; `vfloppy presets` lists "
        "them.",
    ),
    Option(
        name="writable",
        is_switch=True,
        default=False,
        help="A disk to write to: with room, and what is written while it is served is seen by all "
        "who read it, and gone at the end.",
    ),
    Option(
        name="label",
        short="V",
        metavar="NAME",
        shown_default=DEFAULT_LABEL,
        help="The volume label: at most 11 characters, stored in upper case; 32 as they are in "
        "an ISO 9660 image. An empty one: the volume has none.",
    ),
    Option(
        name="utc",
        is_switch=True,
        off="local-time",
        default=True,
        shown_default="utc, the same on any machine",
        help="The zone of the times on the disk.",
    ),
    Option(
        name="mbr_code",
        most_bytes=1 << 20,
        is_path=True,
        metavar="FILE",
        help="Put the boot code in FILE before the partition table.",
    ),
    Option(
        name="on_change",
        choices=("error", "current"),
        default="error",
        help="When a file changes after the scan: fail, or read what is there now, and zeros where "
        "it ends too early.",
    ),
    Option(
        name="cache_size",
        convert=byte_count,
        default=CACHE_BYTES,
        shown_default=f"{CACHE_BYTES >> 20}M",
        metavar="SIZE",
        help="The memory for names that were worked out, of each connection; those of the latest "
        "directory are kept however many there are.",
    ),
    Option(
        name="source_date_epoch",
        convert=_seconds,
        is_for_python=True,
        metavar="SECONDS",
        help="No time on the disk is later than this, in seconds since 1970.",
    ),
    Option(
        name="processes",
        convert=number(1, 64),
        default=1,
        is_for_python=True,
        metavar="N",
        help="How many processes may share the work, by forking, of a program without threads.",
    ),
)
