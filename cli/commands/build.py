"""`vfloppy build`: the disk of a directory as a file."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

from ...library.summary import summary
from ...synth.formats import format_of_file_name
from ...synth.output.writer import write_over, write_stream
from ..console import complain, progress_bar, report_changes
from ..disks import describe_disk, open_disk
from ..options.disk import DiskOptions, disk_options

_EPILOG = """\b
Examples:
  vfloppy build ~/esp esp.img
  vfloppy build --for cidata seed/ seed.img
  vfloppy build --floppy 1.44M drivers/ drivers.img
  vfloppy build -V cidata seed/ seed.iso
  vfloppy build --boot-bios isolinux/isolinux.bin --boot-uefi-dir esp/ tree/ boot.iso
  vfloppy build photos/ - | ssh host 'cat > photos.img'
"""


@click.command("build", epilog=_EPILOG)
@disk_options
@click.argument("directories", metavar="DIR...", nargs=-1)
@click.argument("out", metavar="OUT")
@click.option("--force", is_flag=True, help="Write over OUT even if it is no regular file.")
@click.option(
    "--fsync/--no-fsync",
    default=True,
    help="Return when OUT is on the disk, and not in the system's memory only.  [default: fsync]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    options: DiskOptions,
    directories: tuple[str, ...],
    out: str,
    force: bool,
    fsync: bool,
    quiet: bool,
) -> None:
    """Write the disk of DIR to OUT, `-` for standard output.

    Several directories are merged; of two files of one name the last one is taken.

    The file is sparse and holds the same bytes that `vfloppy serve` would serve. It takes OUT's
    place when it is complete, so that OUT is always whole.
    """
    if not directories and not options.given.get("graft"):
        raise click.UsageError("no directory given, only OUT")
    if not out:
        raise click.UsageError("OUT is empty; a file's name is expected")
    if options.manifest and os.path.realpath(options.manifest) == os.path.realpath(out):
        raise click.UsageError(f"--manifest {options.manifest} and OUT are one file")
    special = out != "-" and is_special(out, force)
    description = describe_disk(options, directories, usual_format=format_of_file_name(out))
    leave_out = [] if special else [out]
    disk = open_disk(description, options, leave_out=leave_out, warn=complain)
    if not quiet:
        report_changes(disk)
    shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
    with progress_bar(disk.export.size, shown) as progress:
        if out == "-":
            with standard_output() as out_stream:
                write_stream(disk.export, out_stream, progress)
        elif special:
            write_over(disk.export, out, progress, sync=fsync)
        else:
            disk.write_to(out, sync=fsync, progress=progress)
    if not quiet:
        complain(f"wrote {_name(out)}: {summary(disk)}")


def is_special(out: str, force: bool) -> bool:
    """Return whether OUT is there and no regular file. Raise UsageError unless that is wanted."""
    try:
        mode = os.stat(out).st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        raise click.UsageError(f"{out} is a directory; name a file in it")
    if stat.S_ISREG(mode):
        return False
    if not force:
        raise click.UsageError(f"{out} is no regular file; pass --force to write over it")
    return True


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Unbuffered, so that nothing is left to fail at exit."""
    if sys.stdout is None:
        raise click.UsageError("standard output is closed; send it to a file or a pipe")
    if sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; send it to a file or a pipe")
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as out:
        yield out


def _name(out: str) -> str:
    return "standard output" if out == "-" else out
