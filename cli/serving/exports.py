"""What a server offers: one disk or several, with options of their own, and newer ones in time."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from ...export import Export
from ...library.description import Description
from ...library.disk import Disk
from ...nbd import Sandbox
from ...process.reports import log
from ...synth.host.paths import NamedPaths
from ..console import describe, sentence
from ..disks import open_disk
from ..options.disk import DiskOptions, options_from

# A scan is taken for fresh for so many times as long as it took: clients come in twos and threes.
_FRESH_FOR = 10


@dataclass
class Source:
    """An export by name: what its disk is made of, and the disk as it is."""

    name: str
    description: Description
    options: DiskOptions
    disk: Disk = field(init=False)
    _named: NamedPaths = field(init=False, default_factory=NamedPaths)
    _scanned_at: float = field(init=False, default=0.0)
    _took_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.disk = self._open()

    def refresh(self, *, asked: bool) -> bool:
        """Scans again, unless the last scan is fresh; whether anything has changed.

        A scan that fails leaves the disk as it was: reading what is gone says so.
        """
        if not asked and time.monotonic() - self._scanned_at < _FRESH_FOR * self._took_s:
            return False
        try:
            disk = self._open()
        except Exception as error:  # whatever it is, what was served is still there
            self._scanned_at = time.monotonic()
            log.error("rescan of %s failed, serving what was: %s", self._title, sentence(error))
            return False
        if disk.is_same_as(self.disk):
            return False
        self.disk = disk
        log.info("rescan of %s: %s", self._title, describe(disk))
        return True

    @property
    def _title(self) -> str:
        return self.name or ", ".join(self.description.paths)

    def _open(self) -> Disk:
        started = time.monotonic()
        disk = open_disk(self.description, self.options, named=self._named, warn=log.warning)
        self._scanned_at = time.monotonic()
        self._took_s = self._scanned_at - started
        return disk


class Sources:
    """All exports of a server, and what its connections are confined to, unless they are not."""

    def __init__(self, each: Sequence[Source], *, confined: bool) -> None:
        self.each = each
        self.sandbox = Sandbox(self._roots()) if confined else None

    def _roots(self) -> list[int]:
        """The directories that are read beneath, as the scans hold them."""
        return [root for source in self.each for root in source.disk.export.features.directories]

    def exports(self) -> Mapping[str, Export]:
        """The disks by name."""
        return {source.name: source.disk.export for source in self.each}

    def descriptions(self) -> Mapping[str, str]:
        """What they are, in words."""
        return {source.name: describe(source.disk) for source in self.each}

    def refresh(self, asked: bool) -> tuple[Mapping[str, Export], Mapping[str, str]] | None:
        """The exports and descriptions, if any has changed."""
        changed = [source.refresh(asked=asked) for source in self.each]
        if not any(changed):
            return None
        if self.sandbox:
            try:
                self.sandbox.replace(self._roots())
            except OSError as error:
                log.error("the directories are gone again: %s", error)
        return self.exports(), self.descriptions()


def named_directories(words: Sequence[str]) -> dict[str, str] | None:
    """What `NAME=DIR` words say; None if they are directories. Raises UsageError for a mixture."""
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


def read_config(path: str) -> dict[str, tuple[tuple[str, ...], DiskOptions]]:
    """The exports of a configuration file: directories and options by name. Raises UsageError.

    [export.NAME]
    directories = ["/some/directory"]       # or directory = "..."
    label = "NAME"                          # options as on the command line
    """
    import tomllib  # noqa: PLC0415  most servers have no such file

    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise click.UsageError(f"--config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--config {path}: {error}") from None
    exports = document.pop("export", None)
    if document or not isinstance(exports, dict) or not exports:
        odd = f"; {next(iter(document))} is no part of it" if document else ""
        raise click.UsageError(f"--config {path}: tables [export.NAME] are expected{odd}")
    return {name: _read_export(path, name, table) for name, table in exports.items()}


def _read_export(path: str, name: str, table: Any) -> tuple[tuple[str, ...], DiskOptions]:
    where = f"--config {path}: export.{name}"
    if not isinstance(table, dict):
        raise click.UsageError(f"{where}: a table is expected")
    given = dict(table)
    directories = given.pop("directories", [])
    if "directory" in given:
        directories = [given.pop("directory"), *directories]
    if not isinstance(directories, list) or not all(isinstance(each, str) for each in directories):
        raise click.UsageError(f"{where}: directories is no list of texts")
    if any("\0" in each for each in directories):
        raise click.UsageError(f"{where}: a directory's name has a NUL")
    directories = [os.fsdecode(each.encode()) for each in directories]  # whatever the locale is
    try:
        options = options_from(given)
    except click.UsageError as error:
        raise click.UsageError(f"{where}: {error.message}") from None
    if not directories and not options.given.get("graft"):
        raise click.UsageError(f"{where}: directories is missing")
    return tuple(directories), options
