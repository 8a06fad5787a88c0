"""What a person sees: complaints, the disk in one line, sizes, lists, a progress bar."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # half of the time it takes to say `--help`
    from .disks import Disk

_MOST_LISTED = 10


def one_line(message: str) -> str:
    """A message without what a terminal would obey: lines joined, the rest escaped."""
    text = " ".join(message.splitlines())
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def say(text: str) -> None:
    """One line on standard output, likewise."""
    click.echo(one_line(text))


def _to_standard_error(message: str, _level: str, /) -> None:
    with suppress(OSError):  # there is nowhere else to say it
        click.echo(f"vfloppy: {one_line(message)}", err=True)


_complainer: Callable[[str, str], None] = _to_standard_error


def complain(message: str, level: str = "error") -> None:
    """One line on standard error, without what a terminal would obey; `level` is for programs."""
    _complainer(message, level)


def complain_by(complainer: Callable[[str, str], None]) -> None:
    """Has message and level of all that follows go another way: to a log that programs read."""
    global _complainer  # noqa: PLW0603  as standard error is
    _complainer = complainer


def human_size(size: int) -> str:
    """A size for people, in binary units."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if value < 1024 or unit == "PiB":
            break
    return f"{value:.4g} {unit}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def describe(disk: Disk) -> str:
    """A disk in one line: files, directories, size, format, what was skipped and renamed."""
    tree = disk.tree
    text = (
        f"{count(tree.file_count, 'file')} and "
        f"{count(len(tree.directories) - 1, 'directory', 'directories')} "
        f"({human_size(sum(tree.sizes))}) as "
        f"{'a' if disk.is_fat else 'an'} {disk.format} disk of {human_size(disk.image.size)}"
    )
    skipped = [each.reason for tree in disk.trees for each in tree.skipped]
    if skipped:
        reasons = Counter(skipped)
        listed = ", ".join(f"{number} x {reason}" for reason, number in reasons.items())
        text += f"; skipped {len(skipped)} ({listed})"
    own = len(disk.layout.renamed)
    renamed = own + sum(len(each.renamed) for each in disk.inner)
    if renamed:
        text += f"; renamed {renamed}"
        if own and disk.is_renamed_in_joliet:
            text += f" ({own} in Joliet)"
    return text


def report_changes(disk: Disk) -> None:
    """Lists on standard error what the disk doesn't hold as the host has it."""
    _list("skipped", [f"{path} ({reason})" for path, reason in disk.skipped])
    own = len(disk.layout.renamed) if disk.is_renamed_in_joliet else 0
    _list(
        "renamed",
        [
            f"{path} to {name}{' in Joliet' if number < own else ''}"
            for number, (path, name, _) in enumerate(disk.renamed)
        ],
    )


def _list(what: str, lines: Sequence[str]) -> None:
    for line in lines[:_MOST_LISTED]:
        complain(f"{what}: {line}", "warning")
    if len(lines) > _MOST_LISTED:
        text = f"{what}: {len(lines) - _MOST_LISTED} more; `vfloppy map --json` lists them all"
        complain(text, "warning")


@contextmanager
def progress_bar(total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields what to call with each number of bytes done; shows rate and time left if `shown`."""
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
