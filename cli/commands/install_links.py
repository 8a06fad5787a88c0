"""`vfloppy install-links`: names of other programs that lead to vfloppy."""

from __future__ import annotations

import os
import sys

import click

from .. import DROPINS
from ..console import say


@click.command("install-links")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.argument("names", metavar="[NAME...]", nargs=-1, type=click.Choice(DROPINS))
def command(directory: str, names: tuple[str, ...]) -> None:
    """Make links to vfloppy in DIR, by the names of the programs that it stands in for.

    Without NAMEs, all of them: mkisofs, genisoimage, xorrisofs, xorriso. With DIR at the front of
    PATH, what calls those programs gets vfloppy. Of xorriso there is `xorriso -as mkisofs` only.

    What is in DIR already is not replaced, unless it is such a link.
    """
    program = _program()
    links = [os.path.join(directory, name) for name in names or DROPINS]
    for link in links:
        if os.path.lexists(link) and not _is_ours(link):
            raise click.ClickException(f"{link}: there is one already, which isn't vfloppy's")
    for link in links:
        new = f"{link}.new"
        os.symlink(program, new)
        os.replace(new, link)
        say(f"{link} -> {program}")


def _is_ours(link: str) -> bool:
    return os.path.islink(link) and os.path.basename(os.readlink(link)) == "vfloppy"


def _program() -> str:
    """Return the path of the installed command. Raise ClickException if there is none."""
    for folder in (os.path.dirname(sys.argv[0]), os.path.dirname(sys.executable)):
        path = os.path.abspath(os.path.join(folder, "vfloppy"))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise click.ClickException(
        f"no command `vfloppy` beside {sys.executable}; `pip install` makes one"
    )
