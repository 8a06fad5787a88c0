"""The end of serving: changes of guests are kept, saved, brought home, or gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ...errors import VfloppyError
from ...library.disk import Disk
from ...library.exports import Source, Sources
from ...library.summary import count, human_size
from ..console import complain, sentence
from ..options.disk import spelled
from ..options.serve import ServeOptions

if TYPE_CHECKING:
    from ...filters.store import OverlayFile


def disks_written(sources: Sources) -> Iterator[tuple[str, Source, OverlayFile]]:
    """Yield what has an overlay, each with the start of a line about it."""
    for each in sources.each:
        overlay = each.what.overlay if isinstance(each.what, Disk) else each.what
        if overlay is None:
            continue
        from ...filters.overlay import Overlay  # noqa: PLC0415  most disks are not written

        if isinstance(overlay, Overlay):
            yield f"{each.name}: " if each.name else "", each, overlay.file


def settle_writes(sources: Sources, serving: ServeOptions, *, quiet: bool) -> bool:
    """Do with what guests have written what was asked for, and tell of it.

    Return False if something is to be looked after.
    """
    is_settled = True
    for title, source, file in disks_written(sources):
        if next(file.touched(), None) is None:
            _remove_own(serving, source, file)
        elif isinstance(source.what, Disk) and (source.writes_back or serving.changes is not None):
            is_settled &= _bring_home(title, source, source.what, serving, quiet=quiet)
        elif not quiet:
            written = human_size(file.written_bytes)
            fate = f"kept in {file.name}" if file.name else "gone (--overlay FILE keeps it)"
            complain(f"{title}{written} that guests have written: {fate}")
    return is_settled


def _bring_home(
    title: str, source: Source, disk: Disk, serving: ServeOptions, *, quiet: bool
) -> bool:
    from ...library.writing_back import write_back  # noqa: PLC0415  most disks are not written
    from ..applied import say_applied  # noqa: PLC0415  likewise

    assert disk.overlay is not None
    file = disk.overlay.file
    kept = f"all that guests have written is kept in {file.name}" if file.name else ""
    try:
        done = write_back(
            disk,
            apply=source.writes_back,
            changes_to=serving.changes,
            confined=serving.sandbox,
            spelling=spelled,
        )
    except (VfloppyError, OSError) as error:
        complain(f"{title}{sentence(error)}")
        if kept:
            complain(f"{title}{kept}: see vfloppy harvest")
        return False
    for each in done.left_out:
        complain(title + each, "warning")
    for problem in done.problems:
        complain(title + problem)
    if done.saved is not None and not quiet:
        complain(f"{title}{count(done.saved, 'file')} written to {serving.changes}")
    if done.applied is not None:
        say_applied(done.applied, quiet=quiet)
    elif source.writes_back and done.problems:
        complain(f"{title}nothing was applied; {kept}: see vfloppy harvest")
    elif not quiet and not done.found:
        complain(f"{title}guests have written, and changed no file")
    if done.saved_to:
        complain(f"{title}what could not be applied is in {done.saved_to}", "warning")
    if not done.keeps_overlay:
        _remove_own(serving, source, file)
    return not done.problems and (done.applied is None or done.applied.is_complete)


def _remove_own(serving: ServeOptions, source: Source, file: OverlayFile) -> None:
    """Remove the overlay that was made to be looked at when serving ends."""
    if (source.writes_back or serving.changes is not None) and serving.overlay is None:
        with suppress(OSError):
            os.unlink(file.name)
