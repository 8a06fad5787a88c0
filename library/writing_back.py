"""Writing back: what guests have changed on a disk goes home, or elsewhere, when serving ends.

A guest's file system is read by a child that may write beneath the directories of the disk, to the
overlay and to the place for changes, and nowhere else; the server's process reads none of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

from ..errors import Spelling, in_python
from ..filters.header import OverlayError
from ..process.sandbox import Sandbox
from ..synth.forks import Forked
from .applying import Applied, resume_applying
from .description import Description
from .disk import Disk
from .harvesting import apply_found, find_changes
from .preload import preload


class WrittenBack(NamedTuple):
    """The outcome for the changes to a disk that was served."""

    found: int = 0
    """The number of changes."""
    problems: tuple[str, ...] = ()
    """Reasons why the disk is not consistent; then nothing was applied."""
    left_out: tuple[str, ...] = ()
    saved: int | None = None
    """The number of files that were written to the place for changes."""
    applied: Applied | None = None
    saved_to: str = ""
    """The new directory with the changes that the host's directories could not take."""

    @property
    def keeps_overlay(self) -> bool:
        """True if the overlay holds what is nowhere else."""
        if self.applied is None:
            return bool(self.problems or self.found) and (bool(self.problems) or self.saved is None)
        return bool(self.applied.problems)


@contextmanager
def overlay_to_write_back(path: str | None, description: Description) -> Iterator[str]:
    """Provide the path of an overlay for a disk whose changes will be written back.

    That is `path`, or a new, empty file; it has a name, so that a server that is killed loses
    nothing. It is removed if the block fails. What was begun to be applied to the directories
    before, by a process that was killed, is ended first. Raise OverlayError and ApplyError.
    """
    resume_applying(description.paths)
    if path is not None:
        yield path
        return
    path = _new_overlay()
    try:
        yield path
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def _new_overlay() -> str:
    folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108  made for us alone there
    try:
        descriptor, path = tempfile.mkstemp(".overlay", "vfloppy-", folder)
    except OSError as error:
        text = f"no overlay can be made in {folder} (TMPDIR is another): {error.strerror}"
        raise OverlayError(text) from error
    os.close(descriptor)
    return path


def write_back(
    disk: Disk,
    *,
    apply: bool,
    changes_to: str | None = None,
    confined: bool = True,
    spelling: Spelling = in_python,
) -> WrittenBack:
    """Apply what guests have changed to the directories, or save it to `changes_to`, or both.

    To be called when nobody writes any more. The overlay is empty after all of it was applied.
    Raise WriteError, ApplyError and OSError; all that was written is in the overlay then.
    """
    preload(everything=True)  # nothing can be imported behind the sandbox's door
    return Forked(partial(_done, disk, apply, changes_to, confined, spelling)).result()


def _done(
    disk: Disk, apply: bool, changes_to: str | None, confined: bool, spelling: Spelling
) -> WrittenBack:
    """Return what came of it: the child's whole work."""
    from ..harvest.saving import save  # noqa: PLC0415  servers may not need it

    if confined:
        Sandbox(_folders(disk, changes_to), writes=True).enter()
    changes = find_changes(disk, spelling=spelling)
    done = WrittenBack(len(changes.changes), changes.problems, changes.left_out)
    if changes_to is not None and (changes.changes or changes.problems):
        done = done._replace(saved=save(changes, changes_to))
    if apply and changes.changes and not changes.problems:
        home = apply_found(disk, changes)
        done = done._replace(applied=home.applied, saved_to=home.saved_to)
    return done


def _folders(disk: Disk, changes_to: str | None) -> list[str | bytes | int]:
    """Return the directories beneath which may be written."""
    assert disk.overlay is not None
    paths = filter(None, (changes_to, disk.overlay.file.name))
    outside = (os.path.dirname(os.path.abspath(each)) for each in paths)
    return [*disk.image.features.directories, *outside]
