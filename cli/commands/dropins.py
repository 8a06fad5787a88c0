"""Stand-ins for mkisofs and its like: their options, exit statuses, and what they say."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import click

from ... import __version__
from ...dropins.request import SECTOR_BYTES, Request, read_request
from ...dropins.spelling import spelled
from ...dropins.table import TABLE, Fate
from ...dropins.words import asks_for
from ...errors import OptionError, VfloppyError
from ...library.disk import Disk, open_described
from ...synth.output.writer import write_over, write_stream
from .. import DROPINS
from ..console import complain, one_line
from ..disks import spare_descriptors, usual_processes
from .build import is_special, standard_output

_STEPS = 10
_MOST_TOLD = 10
_MOST_LIST_BYTES = 64 << 20


class _Raw(click.Command):
    """A command that gets its words as they are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["arguments"] = tuple(args)
        return []


def _command(tool: str) -> click.Command:
    def run(arguments: tuple[str, ...]) -> None:
        _run(tool, arguments)

    return _Raw(tool, callback=run, add_help_option=False)


commands = {tool: _command(tool) for tool in DROPINS}
"""The stand-ins by name."""


def _run(tool: str, arguments: tuple[str, ...]) -> None:
    """Be a tool. Raise VfloppyError, in its words."""
    if what := asks_for(arguments):
        click.echo(_version(tool) if what == "version" else _help(tool))
        return
    try:
        _make(tool, read_request(tool, arguments, _text_of))
    except OptionError as error:
        raise OptionError(_worded(tool, error)) from None
    except VfloppyError as error:
        raise VfloppyError(_worded(tool, error)) from None


def _worded(tool: str, error: VfloppyError) -> str:
    text = error.worded(spelled)
    if isinstance(error, OptionError) and error.option:
        text = f"{spelled(error.option)}: {text}"
    return text if text.startswith(f"{tool}:") else f"{tool}: {text}"


def _make(tool: str, request: Request) -> None:
    """Make the image that is asked for. Raise VfloppyError."""
    with _messages(request) as tell:
        out = request.out
        special = out not in {"-", ""} and not request.only_size and is_special(out, force=True)
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        description = request.description(epoch, processes=usual_processes())
        spare_descriptors()
        leave_out = [out] if out != "-" and not special else []
        disk = open_described(description, leave_out=leave_out)
        sectors = disk.size // SECTOR_BYTES
        request.check(disk.tree, sectors)
        for text in request.notes:
            tell(f"{tool}: NOTE : {text}")
        if request.only_size:
            tell(f"Total extents scheduled to be written = {sectors}")
            click.echo(sectors)
            return
        for path, reason in disk.skipped:  # even with -quiet
            complain(f"{tool}: left out: {path} ({reason})", "warning")
        _tell_renamed(disk, tell)
        if request.is_verbose:
            for region in disk.regions():
                tell(f"Writing:   {region.name:<39} Start Block {region.offset // SECTOR_BYTES}")
        _write(disk, out, special, _percentages(disk.size, tell))
        tell(f"{sectors} extents written ({sectors >> 9} MB)")
        if tool.startswith("xorriso"):
            tell(f"ISO image produced: {sectors} sectors")
            tell(f"Written to medium : {sectors} sectors at LBA 0")
            tell(f"Writing to 'stdio:{out}' completed successfully.")


def _write(disk: Disk, out: str, special: bool, progress: Callable[[int], None]) -> None:
    if out == "-":
        with standard_output() as stream:
            write_stream(disk.export, stream, progress)
    elif special:
        write_over(disk.export, out, progress)
    else:
        disk.write_to(out, progress=progress)


def _tell_renamed(disk: Disk, tell: Callable[[str], None]) -> None:
    """Tell the first names that had to change, and how many more there are."""
    part = disk.parts[0]
    for each in islice(part.renamed, _MOST_TOLD):
        where = f" in {each.where}" if each.where else ""
        tell(f"renamed: {each.path} to {each.name}{where}")
    if part.renamed_count > _MOST_TOLD:
        tell(f"renamed: {part.renamed_count - _MOST_TOLD} more")


def _percentages(total: int, tell: Callable[[str], None]) -> Callable[[int], None]:
    """Return what to call with each number of bytes done, which tells each tenth."""
    done = told = 0

    def progress(size: int) -> None:
        nonlocal done, told
        done += size
        step = done * _STEPS // max(total, 1)
        if step > told:
            told = step
            tell(f"{done * 100 / total:6.2f}% done")

    return progress


@contextlib.contextmanager
def _messages(request: Request) -> Iterator[Callable[[str], None]]:
    """Yield what to say something with: to standard error, to -log-file, or to nobody."""
    if request.is_quiet:
        yield lambda _: None
    elif request.log_file:
        with open(request.log_file, "w", encoding="utf-8") as log:
            yield lambda text: print(one_line(text), file=log)
    else:
        yield lambda text: click.echo(one_line(text), err=True)


def _text_of(path: str) -> str:
    """Return the text of a file that an option names, `-` for standard input."""
    if path == "-":
        data: Any = sys.stdin.buffer.read(_MOST_LIST_BYTES)
    else:
        with open(path, "rb") as file:
            data = file.read(_MOST_LIST_BYTES)
    return os.fsdecode(data)


def _version(tool: str) -> str:
    return f"{tool} (vfloppy {__version__}): images of directories by vfloppy's own code"


def _help(tool: str) -> str:
    """Return the help, which scripts look through for the options that they want to use."""
    lines = [
        f"Usage: {tool}{' -as mkisofs' if tool == 'xorriso' else ''} [options] file...",
        f"Note: this is vfloppy {__version__}, which stands in for {tool}.",
        "Options:",
    ]
    for word in TABLE:
        if word.fate is Fate.HONOURED:
            names = ", ".join(f"-{each}" for each in word.names.split())
            lines.append(f"  {names} {word.values}".ljust(40) + f" {word.says}")
    lines.append("Options without effect, and those that are refused: see docs/dropins.md.")
    return "\n".join(lines)
