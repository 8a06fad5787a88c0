"""The exports of a server, from the command line's words or from a configuration file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ...errors import OptionError
from ...library.config import read_config
from ...library.disk import Disk
from ...library.exports import Source, Sources, check_export_name
from ...library.qemu import is_to_be_written
from ...process.reports import log
from ...sources.register import is_source
from ..console import sentence
from ..disks import describe_disk, open_disk, usage_error
from ..options.disk import DiskOptions, spelled
from ..options.serve import ServeOptions

if TYPE_CHECKING:
    from ...filters.filter import Filter

Wanted = Mapping[str, tuple[tuple[str, ...], DiskOptions]]
"""Directories and options by the names of exports."""


def sources_of(
    options: DiskOptions, directories: tuple[str, ...], serving: ServeOptions
) -> Sources:
    """Return the disks to offer. Raise UsageError, VfloppyError and OSError."""
    try:
        wanted = _wanted(options, directories, serving)
        for name in wanted:
            check_export_name(name)
        filters = _filters(serving.filters)
    except OptionError as error:
        raise usage_error(error) from None
    names = (name for directories, _ in wanted.values() for name in directories)
    if serving.single and any(map(is_to_be_written, names)):
        raise click.UsageError("fat:rw: goes without --single, which nobody outlives")
    default = serving.default_export
    if default and default not in wanted:
        raise click.UsageError(f"--default-export {default}: there is no export of that name")
    try:
        each = [source_of(name, *its, filters) for name, its in wanted.items()]
        return Sources(each, confined=serving.sandbox)
    except OptionError as error:
        raise usage_error(error) from None


def source_of(
    name: str,
    directories: tuple[str, ...],
    options: DiskOptions,
    filters: Sequence[Filter] = (),
) -> Source:
    """Return an export, scanned, whose manifest is written at each scan. Raise likewise."""
    if len(directories) == 1 and is_source(directories[0]):
        from ...library.sources import check_options, open_source  # noqa: PLC0415  most are none

        (word,) = directories
        if options.harvest:
            raise click.UsageError(f"{word}: --write-back and --changes are about directories")
        check_options(word, [*options.given, *(["manifest"] if options.manifest else [])])
        writable = bool(options.given.get("writable"))
        export = open_source(word, writable=writable, overlay=options.overlay)
        return Source(name, export, filters=filters)

    def scan(disk: Disk) -> Disk:
        return open_disk(
            disk.description,
            options,
            named=disk.named,
            leave_out=disk.kept_out,
            warn=log.warning,
        )

    if options.harvest or options.overlay:
        options = options._replace(given={**options.given, "writable": True})
    description = describe_disk(options, directories)
    writes_back = options.write_back or any(map(is_to_be_written, directories))
    kept_out = [options.overlay] if options.overlay else []
    for each in filters:
        kept_out += each.files

    def first() -> Disk:
        return open_disk(description, options, leave_out=kept_out, warn=log.warning)

    if not description.values["writable"]:
        return Source(name, first(), scan, sentence, filters=filters)
    from ...library.overlays import overlaid  # noqa: PLC0415  most disks are not written

    if not writes_back and not options.harvest:
        return Source(name, overlaid(first, options.overlay), scan, sentence, filters=filters)
    from ...library.writing_back import overlay_to_write_back  # noqa: PLC0415  likewise

    with overlay_to_write_back(options.overlay, description) as path:
        kept_out.append(path)
        disk = overlaid(first, path)
    return Source(name, disk, scan, sentence, writes_back=writes_back, filters=filters)


def _filters(words: Sequence[str]) -> Sequence[Filter]:
    """Return the filters that words ask for. Raise OptionError."""
    if not words:
        return ()
    from ...filters.register import filters_of  # noqa: PLC0415  most servers have none

    return filters_of(words)


def _wanted(options: DiskOptions, directories: tuple[str, ...], serving: ServeOptions) -> Wanted:
    if serving.config:
        if directories:
            raise click.UsageError("--config names the directories; none may stand beside it")
        chosen = [*options.given, *(["manifest"] if options.manifest else [])]
        if chosen:
            option = spelled(min(chosen))
            raise click.UsageError(f"--config names each disk's options; {option} belongs there")
        return {
            name: (each.directories, DiskOptions(each.given, each.manifest, each.overlay))
            for name, each in read_config(serving.config).items()
        }
    named = named_directories(directories)
    if named and serving.export_name:
        raise click.UsageError("--export-name goes without NAME=DIR, which names the exports")
    if named and serving.overlay and len(named) > 1:
        raise click.UsageError(
            "--overlay is of one disk; with several, --config FILE gives each its own"
        )
    if named and serving.changes and len(named) > 1:
        raise click.UsageError("--changes is of one disk; with several, give each an --overlay")
    options = options._replace(
        overlay=serving.overlay,
        write_back=serving.write_back,
        harvest=serving.write_back or serving.changes is not None,
    )
    if named:
        return {name: ((directory,), options) for name, directory in named.items()}
    return {serving.export_name: (directories, options)}


def named_directories(words: Sequence[str]) -> dict[str, str] | None:
    """Return what `NAME=DIR` words say; None if they are directories.

    Raise UsageError for a mixture.
    """
    named: dict[str, str] = {}
    for word in words:
        name, equals, directory = word.partition("=")
        if equals and directory and "/" not in name and not os.path.isdir(word):
            if name in named:
                raise click.UsageError(f"two exports are named {name!r}")
            named[name] = directory
    if named and len(named) != len(words):
        raise click.UsageError("directories with names (NAME=DIR) and without don't go together")
    return named or None
