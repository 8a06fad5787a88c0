"""`vfloppy check`: what a disk of a directory would lose or change, and who trips over it."""

from __future__ import annotations

import json
import sys

import click

from ...library.checking import findings, spelled_out
from ...library.summary import count
from ..console import say
from ..disks import describe_disk
from ..options.disk import DiskOptions, disk_options, spelled

_EPILOG = """\b
Examples:
  vfloppy check ~/esp
  vfloppy check --for ovmf ~/esp
  vfloppy check --for windows --json drivers/ | jq '.findings[].path'

\b
Exit status: 0 nothing found, 1 something found, 2 wrong usage.
"""


@click.command("check", epilog=_EPILOG)
@disk_options
@click.argument("directories", metavar="DIR...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(options: DiskOptions, directories: tuple[str, ...], as_json: bool) -> None:
    """Say what of DIR would be renamed, skipped, refused or clamped, and which readers trip.

    Nothing is served. With --for, only what concerns that reader is said; else DOS, which trips
    over most, is left out; of an ISO 9660 image likewise a reader that knows level 1 only.
    """
    found = spelled_out(findings(describe_disk(options, directories)), spelled)
    if as_json:
        click.echo(json.dumps({"findings": [each._asdict() for each in found]}, indent=1))
    else:
        for each in found:
            readers = f" [{', '.join(each.readers)}]" if each.kind == "trips" else ""
            where = f"{each.path}: " if each.path else ""
            say(f"{each.kind}: {where}{each.text}{readers}")
        say(count(len(found), "finding"))
    sys.exit(1 if found else 0)
