"""`vfloppy build`: the disk of a directory as a file."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

import click

from ...errors import OptionError
from ...export import Export
from ...library.summary import human_size, summary
from ...sources.register import is_source
from ...synth.formats import format_of_file_name
from ...synth.output.writer import write_file, write_over, write_stream
from ..console import complain, progress_bar, report_changes
from ..disks import describe_disk, open_disk, usage_error
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
@click.argument("directories", metavar="SOURCE...", nargs=-1)
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
    """Write the disk of SOURCE to OUT, `-` for standard output.

    SOURCE is a directory, or what `vfloppy serve` takes in place of one.

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
    if len(directories) == 1 and is_source(directories[0]):
        export = _source(directories[0], options)
        save, what = partial(write_file, export, out), human_size(export.size)
    else:
        description = describe_disk(options, directories, usual_format=format_of_file_name(out))
        leave_out = [] if special else [out]
        disk = open_disk(description, options, leave_out=leave_out, warn=complain)
        if not quiet:
            report_changes(disk)
        export, save, what = disk.export, partial(disk.write_to, out), summary(disk)
    shown = not quiet and sys.stderr is not None and sys.stderr.isatty()
    with progress_bar(export.size, shown) as progress:
        if out == "-":
            with standard_output() as out_stream:
                write_stream(export, out_stream, progress)
        elif special:
            write_over(export, out, progress, sync=fsync)
        else:
            save(progress=progress, sync=fsync)
    if not quiet:
        complain(f"wrote {_name(out)}: {what}")


def _source(word: str, options: DiskOptions) -> Export:
    """Return what is no directory. Raise UsageError and VfloppyError."""
    from ...library.sources import check_options, open_source  # noqa: PLC0415  most are directories

    try:
        check_options(word, [*options.given, *(["manifest"] if options.manifest else [])])
        return open_source(word)
    except OptionError as error:
        raise usage_error(error) from None


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
