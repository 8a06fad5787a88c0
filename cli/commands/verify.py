"""`vfloppy verify`: an image, read back by independent readers, against its directory."""

from __future__ import annotations

import json
import sys

import click

from ...errors import OptionError
from ...library.summary import count, human_size
from ...library.verify import Comparison, format_of, opened
from ..console import progress_bar, say
from ..disks import describe_disk, open_disk, usage_error
from ..options.disk import DiskOptions, disk_options, spelled

_EPILOG = """\b
Examples:
  vfloppy verify esp.img ~/esp
  vfloppy verify nbd://localhost ~/esp
  vfloppy verify --exclude '*.o' build.iso build/

\b
Exit status: 0 the same, 1 something differs or can't be read, 2 wrong usage.
"""


@click.command("verify", epilog=_EPILOG)
@disk_options
@click.argument("image", metavar="IMAGE_OR_URI")
@click.argument("directories", metavar="DIR...", nargs=-1)
@click.option("--times/--no-times", default=True, help="Compare times, too.  [default: times]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what differs.")
def command(
    options: DiskOptions,
    image: str,
    directories: tuple[str, ...],
    times: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the disk IMAGE, or the one at an NBD URI, with DIR: names, sizes, times and bytes.

    The image is read by pyfatfs or pycdlib, which share nothing with what writes it. The options
    that say what is on the disk, and under which name, are those that it was made with.
    """
    try:
        usual = None if "format" in options.given else format_of(image)
        description = describe_disk(options, directories, usual_format=usual)
        with opened(image) as stream:
            disk = open_disk(description, options)
            comparison = Comparison(disk, times=times, spelling=spelled)
            shown = not quiet and not as_json and sys.stderr is not None and sys.stderr.isatty()
            with progress_bar(sum(disk.tree.sizes), shown) as progress:
                differences = comparison.run(stream, progress, image)
    except OptionError as error:  # there is no such image
        raise usage_error(error) from None
    if as_json:
        click.echo(json.dumps({"differences": [each._asdict() for each in differences]}, indent=1))
    else:
        for each in differences:
            say(f"{each.kind}: {each.path}: {each.text}")
    if not quiet and not as_json:
        say(
            f"{count(comparison.entries, 'name')} and {human_size(comparison.bytes)} compared, "
            f"{count(len(differences), 'difference')}"
        )
    sys.exit(1 if differences else 0)
