"""`vfloppy harvest`: what guests have done to a disk, seen before any directory is changed."""

from __future__ import annotations

import json
import sys

import click

from ...errors import VfloppyError
from ...harvest.changes import Changes
from ...harvest.report import document, line
from ...library.harvesting import apply_overlay, find_changes, open_overlay
from ...library.overlays import is_empty
from ...library.summary import count
from ..applied import (
    ALLOW_GIT_HELP,
    APPLY_HELP,
    NO_TRASH_HELP,
    PARTIAL_HELP,
    say_brought_home,
)
from ..console import complain, say, sentence
from ..options.disk import spelled

_EPILOG = """\b
Examples:
  vfloppy serve --overlay changes ~/esp
  vfloppy harvest changes
  vfloppy harvest --json changes | jq -r '.changes[].path'
  vfloppy harvest --to changed.tar changes
  vfloppy harvest --apply changes

\b
Exit status: 0 nothing has changed, 1 something has, 2 it can't be told, or not all of it.
With --apply: 0 all is in its place, 1 something is to be looked after, 2 nothing was applied.
"""
_NOTHING, _SOMETHING, _UNTOLD = range(3)


@click.command("harvest", epilog=_EPILOG)
@click.argument("overlay", metavar="OVERLAY")
@click.argument("directories", metavar="[DIR]...", nargs=-1)
@click.option(
    "--to",
    "out",
    metavar="OUT",
    help="Write new and rewritten files, and the list of all changes, to a new directory, or to an "
    "archive that ends with .tar or .zip.",
)
@click.option(
    "--allow-removals",
    is_flag=True,
    help="Take it for meant that more than a few of the files are gone.",
)
@click.option(
    "--leave-out",
    metavar="NAME",
    multiple=True,
    help="Leave out what has this name in the root, such as NvVars; may be repeated.",
)
@click.option("--apply", "applies", is_flag=True, help=APPLY_HELP)
@click.option("--partial", is_flag=True, help=PARTIAL_HELP)
@click.option("--no-trash", is_flag=True, help=NO_TRASH_HELP)
@click.option("--allow-git", is_flag=True, help=ALLOW_GIT_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but problems.")
def command(
    overlay: str,
    directories: tuple[str, ...],
    out: str | None,
    allow_removals: bool,
    leave_out: tuple[str, ...],
    applies: bool,
    partial: bool,
    no_trash: bool,
    allow_git: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Tell what guests have changed on the disk that OVERLAY was written over, or bring it home.

    Without --apply, nothing is changed.

    The overlay remembers the directories and the options of its disk, which must still make the
    same one; DIR is for directories that are somewhere else now. Only FAT can be harvested. What
    systems keep for themselves, such as System Volume Information, is left out.
    """
    _check(applies=applies, out=out, partial=partial, no_trash=no_trash, allow_git=allow_git)
    if is_empty(overlay):
        say("0 changes")
        sys.exit(_NOTHING)
    try:
        if applies:
            done = apply_overlay(
                overlay,
                directories,
                partial=partial,
                trash=not no_trash,
                allow_git=allow_git,
                allow_removals=allow_removals,
                leave_out=leave_out,
                warn=complain,
                spelling=spelled,
            )
            sys.exit(say_brought_home(done, overlay, as_json=as_json, quiet=quiet))
        disk = open_overlay(overlay, directories, warn=complain)
        try:
            changes = find_changes(
                disk, allow_removals=allow_removals, leave_out=leave_out, spelling=spelled
            )
            _print(changes, as_json=as_json, quiet=quiet)
            if out is not None:
                _save(changes, out, quiet=quiet or as_json)
        finally:
            disk.close()
    except (VfloppyError, OSError) as error:
        complain(sentence(error))
        sys.exit(_UNTOLD)
    if changes.problems:
        sys.exit(_UNTOLD)
    sys.exit(_SOMETHING if changes.changes else _NOTHING)


def _check(
    *, applies: bool, out: str | None, partial: bool, no_trash: bool, allow_git: bool
) -> None:
    """Raise UsageError for options that don't go together."""
    if applies and out is not None:
        raise click.UsageError("--apply goes without --to, which writes the changes elsewhere")
    about = {"--partial": partial, "--no-trash": no_trash, "--allow-git": allow_git}
    for name, is_given in about.items():
        if is_given and not applies:
            raise click.UsageError(f"{name} is about --apply")


def _print(changes: Changes, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(json.dumps(document(changes), indent=1))
    elif not quiet:
        for change in changes.changes:
            say(line(change))
        for each in changes.left_out:
            complain(each, "warning")
    for problem in changes.problems:
        complain(problem)
    if not as_json and not quiet:
        say(count(len(changes.changes), "change"))


def _save(changes: Changes, out: str, *, quiet: bool) -> None:
    from ...harvest.saving import save  # noqa: PLC0415  most only look

    saved = save(changes, out)
    if not quiet:
        say(f"{count(saved, 'file')} written to {out}")
