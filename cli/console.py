"""Output for people: complaints, lists of what is not as on the host, a progress bar."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from ..errors import VfloppyError, worded

if TYPE_CHECKING:  # half of the time it takes to say `--help`
    from ..library.disk import Disk

_MOST_LISTED = 10


def one_line(message: str) -> str:
    """Return a message without what a terminal would obey: lines joined, the rest escaped."""
    text = " ".join(message.splitlines())
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def say(text: str) -> None:
    """Print a line on standard output, without what a terminal would obey."""
    click.echo(one_line(text))


def _to_standard_error(message: str, _level: str, /) -> None:
    with suppress(OSError):  # there is nowhere else to say it
        click.echo(f"vfloppy: {one_line(message)}", err=True)


_complainer: Callable[[str, str], None] = _to_standard_error


def complain(message: str, level: str = "error") -> None:
    """Print a line on standard error, likewise; `level` is for programs that read it."""
    _complainer(message, level)


def complain_by(complainer: Callable[[str, str], None]) -> None:
    """Have message and level of all complaints from now on go to another place, such as a log."""
    global _complainer  # noqa: PLW0603  as standard error is
    _complainer = complainer


def sentence(error: Exception) -> str:
    """Return what an error says, for a person, with options as one types them."""
    if isinstance(error, VfloppyError):
        from .options.disk import spelled  # noqa: PLC0415  slow to import, and seldom needed

        return error.worded(spelled)
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # all else has a name
        return f"standard output: {error.strerror}"
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def report_changes(disk: Disk) -> None:
    """List on standard error what the disk doesn't hold as the host has it."""
    from ..library.disk import within  # noqa: PLC0415  slow to import for `--help`
    from .options.disk import spelled  # noqa: PLC0415

    skipped, renamed = [], []
    for part in disk.parts:
        option = part.option and spelled(part.option)
        skipped += [f"{within(option, path)} ({reason})" for path, reason in part.skipped]
        renamed += [
            f"{within(option, each.path)} to {each.name}{' in ' if each.where else ''}{each.where}"
            for each in part.renamed
        ]
    notes = disk.format.notes(disk.layout, disk.tree)
    for each in notes:
        complain(worded(each, spelled), "warning")
    _list("skipped", skipped)
    _list("renamed", renamed)


def _list(what: str, lines: Sequence[str]) -> None:
    for line in lines[:_MOST_LISTED]:
        complain(f"{what}: {line}", "warning")
    if len(lines) > _MOST_LISTED:
        text = f"{what}: {len(lines) - _MOST_LISTED} more; `vfloppy map --json` lists them all"
        complain(text, "warning")


@contextmanager
def progress_bar(total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yield what to call with each number of bytes done; show rate and time left if `shown`."""
    if not shown:
        yield lambda _: None
        return
    # rich is slow to import, and most runs show no bar.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(True), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    # Drawn when something was done and not by a thread, beside which nothing may fork.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.update(task, advance=done, refresh=True)
