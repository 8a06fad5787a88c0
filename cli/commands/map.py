"""`vfloppy map`: what lies where on the disk of a directory."""

from __future__ import annotations

import json

import click

from ...library.disk import Disk, within
from ...library.summary import summary
from ..console import report_changes, say
from ..disks import describe_disk, open_disk
from ..options.disk import DiskOptions, disk_options, spelled

_EPILOG = """\b
Examples:
  vfloppy map ~/esp
  vfloppy map --json ~/esp | jq -r '.regions[] | select(.kind == "file") | .name'
"""


@click.command("map", epilog=_EPILOG)
@disk_options
@click.argument("directories", metavar="DIR...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(options: DiskOptions, directories: tuple[str, ...], as_json: bool) -> None:
    """Show the layout of the disk of DIR: offset, length, and what is there, in bytes.

    The JSON document also lists all that was renamed or skipped.
    """
    disk = open_disk(describe_disk(options, directories), options)
    if as_json:
        _print_json(disk)
        return
    report_changes(disk)
    width = len(str(disk.size))
    say(f"{'offset':>{width}}  {'length':>{width}}  what")
    for region in disk.regions():
        what = region.name if region.kind == "free" else f"{region.kind}: {region.name}"
        say(f"{region.offset:>{width}}  {region.length:>{width}}  {what}")
    say(summary(disk))


def _print_json(disk: Disk) -> None:
    """Print one document, region by region: a disk may have a million."""
    head = {"format": disk.title, "size": disk.size}
    click.echo(json.dumps(head)[:-1] + ', "regions": [')
    separator = ""
    for region in disk.regions():
        click.echo(separator + json.dumps(region._asdict()), nl=False)
        separator = ",\n"
    renamed, skipped = [], []
    for part in disk.parts:
        option = part.option and spelled(part.option)
        renamed += [
            {"path": within(option, each.path), "name": each.name, "reason": each.reason}
            for each in part.renamed
        ]
        skipped += [
            {"path": within(option, path), "reason": reason} for path, reason in part.skipped
        ]
    click.echo(f'\n], "renamed": {json.dumps(renamed)}, "skipped": {json.dumps(skipped)}}}')
