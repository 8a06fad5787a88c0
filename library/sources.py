"""Exports that are made of no directory, opened by the words that people write."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import OptionError, option_named
from ..export import Export
from ..sources.register import opened
from ..sources.source import Source
from .description import Path

if TYPE_CHECKING:
    from ..filters.overlay import Overlay

_OF_ANY_DISK = {"writable", "processes", "source_date_epoch"}


def open_source(word: Path, *, writable: bool = False, overlay: Path | None = None) -> Export:
    """Return the export that a word stands for: `memory:64M`, `disk.img`, `disk.img.xz`,
    `script:FILE`.

    With `writable`, one that can't be written by itself is written over, until the end; with
    `overlay`, what is written is kept in a file. Raise VfloppyError.
    """
    source = opened(os.fsdecode(word))
    if overlay is None and (source.features.writable or not writable):
        return source
    try:
        return _overlaid(source, os.fsdecode(word), overlay)
    except BaseException:
        source.close()
        raise


def source_of(export: Export) -> Source | None:
    """Return the source that an export is, or lies over; None for any other."""
    from ..filters.overlay import Overlay  # noqa: PLC0415  most disks are not written

    below = export.base if isinstance(export, Overlay) else export
    return below if isinstance(below, Source) else None


def check_options(word: str, given: Collection[str]) -> None:
    """Raise OptionError for options that say how a directory becomes a disk."""
    for name in given:
        if name not in _OF_ANY_DISK:
            text = f"{option_named(name)} is of disks made of directories, and {word} is none"
            raise OptionError(text)


def _overlaid(source: Source, word: str, path: Path | None) -> Overlay:
    """Return a source with an overlay, at `path` or a temporary one. Raise OverlayError."""
    from ..filters.header import OverlayError  # noqa: PLC0415  most disks are not written
    from ..filters.overlay import Overlay  # noqa: PLC0415
    from ..filters.store import OverlayFile  # noqa: PLC0415

    if path is None:
        return Overlay(source, OverlayFile.temporary(source.size))
    name = os.fsdecode(path)
    facts = {"source": word}
    if not os.path.exists(name) or not os.path.getsize(name):
        return Overlay(source, OverlayFile.create(name, source.size, source.identity, facts))
    file = OverlayFile.open(name, writable=True)
    try:
        if (file.size, file.identity) != (source.size, source.identity):
            if file.is_touched:
                was = file.description.get("source", "a directory")
                raise OverlayError(
                    f"overlay {name}: what it holds was written over another disk ({was}, "
                    f"{file.size} bytes), or {word} has changed; it is left as it is: serve that "
                    "disk with it, or this one with another file"
                )
            file.renew(source.size, source.identity, facts)
    except BaseException:
        file.close()
        raise
    return Overlay(source, file)
