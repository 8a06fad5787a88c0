"""`vfloppy check`: what a disk of a directory would lose or change, and who trips over it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import chain

import click

from ..errors import PlanError
from ..synth.fat import lint as fat
from ..synth.fat.plan import Layout as FatLayout
from ..synth.findings import Finding
from ..synth.tree import printable
from .console import count, say
from .disks import Disk, open_disk
from .options import DiskOptions, disk_options

# Whom a preset is for; of the others' troubles nothing is said.
_CONCERNED = {
    "dos": {fat.DOS},
    "floppy": {fat.DOS},
    "ovmf": {fat.EDK2},
    "u-boot": {fat.U_BOOT},
    "windows": {fat.WINDOWS},
}

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
    findings = list(_findings(options, directories))
    if as_json:
        click.echo(json.dumps({"findings": [each._asdict() for each in findings]}, indent=1))
    else:
        for each in findings:
            readers = f" [{', '.join(each.readers)}]" if each.kind == "trips" else ""
            say(f"{each.kind}: {each.path + ': ' if each.path else ''}{each.text}{readers}")
        say(count(len(findings), "finding"))
    sys.exit(1 if findings else 0)


def _findings(options: DiskOptions, directories: tuple[str, ...]) -> Iterator[Finding]:
    # Lenient: what a stricter run refuses is what this one is to find.
    lenient = options._replace(skip_unreadable=True, skip_large=True, strict=False, manifest=None)
    if lenient.symlinks == "refuse":
        lenient = lenient._replace(symlinks="skip")
    try:
        disk = open_disk(lenient, directories)
    except PlanError as error:
        yield Finding("", "refused", str(error), fat.ALL)
        return
    findings, readers = _of_format(disk)
    concerned = _CONCERNED.get(options.preset or "", readers)
    for each in chain(findings, _of_inner(disk, tuple(concerned))):
        if set(each.readers) & concerned:
            yield each._replace(kind=_kind(each, options))


def _of_inner(disk: Disk, readers: tuple[str, ...]) -> Iterator[Finding]:
    """What of the disks inside is not as the host has it."""
    for inner in disk.inner:
        for skipped in inner.tree.skipped:
            where = f"{inner.option}: {printable(skipped.path)}"
            yield Finding(where, "skipped", skipped.reason, readers)
        for path, name, reason in inner.changes:
            yield Finding(path, "renamed", f"becomes {name!r}: {reason}", readers)


def _of_format(disk: Disk) -> tuple[Iterator[Finding], set[str]]:
    """The findings of a disk, and whom they concern unless the user says it."""
    if isinstance(disk.layout, FatLayout):
        return fat.lint(disk.tree, disk.layout), set(fat.READERS) - {fat.DOS}
    from ..synth.iso import lint as iso  # noqa: PLC0415  for this format only

    strictest = set() if disk.layout.options.level == 1 else {iso.LEVEL_1}
    return iso.lint(disk.tree, disk.layout), set(iso.READERS) - strictest


def _kind(finding: Finding, options: DiskOptions) -> str:
    """What would happen with the options as they were given."""
    if finding.kind == "skipped":
        refused = (
            (finding.text == "may not be read" and not options.skip_unreadable)
            or (finding.text.startswith("larger than") and not options.skip_large)
            or (finding.text.startswith("symbolic link") and options.symlinks == "refuse")
        )
        return "refused" if refused else "skipped"
    return "refused" if finding.kind == "renamed" and options.strict else finding.kind
