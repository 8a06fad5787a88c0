"""Harvesting: what guests have written over a disk, as changes to its directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..errors import OptionError, Spelling, in_python
from ..export import Export, Reader
from ..filters.header import OverlayError
from ..filters.overlay import Overlay
from ..filters.store import OverlayFile
from ..harvest.changes import Changes
from .description import Description, Path
from .disk import Disk, open_described
from .overlays import described, digest_of, refusal

if TYPE_CHECKING:
    from .applying import Applied


class OverlaySnapshot:
    """A disk as its overlay has it now; see `harvest.snapshot.Snapshot`."""

    def __init__(self, served: Export, file: OverlayFile) -> None:
        self.size = file.size
        self._file = file
        self._reader: Reader = served.open()

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the disk. Raise HostReadError."""
        return self._file.read(self._reader, offset, length)

    def touched(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of what was written to."""
        return self._file.touched()


def find_changes(
    disk: Disk,
    *,
    allow_removals: bool = False,
    leave_out: Collection[str] = (),
    spelling: Spelling = in_python,
) -> Changes:
    """Return what guests have changed on a writable disk of FAT, nobody writing meanwhile.

    That many files are gone is a problem unless `allow_removals` is given. `leave_out` are names in
    the root that are no changes. The contents of changes are read from the disk, so close it later.
    Nothing reaches the directories. `spelling` words options in problems.

    Raise OptionError for a disk that is no FAT or not writable, another VfloppyError for one that a
    guest has formatted anew, HostReadError for files that have changed.
    """
    if disk.overlay is None:
        raise OptionError("this disk is not writable, so no guest has changed it")
    if disk.format.name != "fat":
        raise OptionError(
            f"changes to a disk of {disk.title} can't be harvested, only those of FAT"
        )
    from ..harvest.harvesting import harvest  # noqa: PLC0415  servers may not need it

    return harvest(
        disk.layout,
        disk.tree,
        disk.image,
        OverlaySnapshot(disk.image, disk.overlay.file),
        allow_removals=allow_removals,
        leave_out=leave_out,
        spelling=spelling,
    )


def open_overlay(
    overlay: Path,
    paths: Path | Iterable[Path] = (),
    *,
    warn: Callable[[str], None] = lambda _: None,
) -> Disk:
    """Return the disk that an overlay was written over, with the overlay, to be read only.

    The overlay remembers directories and options; `paths` are the directories where they are
    somewhere else now. Close the disk to have the overlay closed.

    Raise OverlayError for what is no overlay, is in use, or is of a disk that the directories don't
    make any more; ScanError and PlanError as `vfloppy.open_disk` does.
    """
    name = os.fsdecode(overlay)
    file = OverlayFile.open(name)
    try:
        return _opened(file, _moved(described(file.description), paths), warn)
    except BaseException:
        file.close()
        raise


def _opened(file: OverlayFile, description: Description, warn: Callable[[str], None]) -> Disk:
    """Return the disk of an overlay, with the overlay. Raise OverlayError if it is another disk."""
    disk = open_described(description, leave_out=[file.name], warn=warn)
    if file.size != disk.size or file.identity != digest_of(disk):
        raise OverlayError(refusal(file.name, file, disk))
    disk.overlay = Overlay(disk.image, file)
    return disk


class BroughtHome(NamedTuple):
    """The outcome of applying an overlay."""

    changes: Changes | None
    """All that guests have changed; None if applying it had begun before, and was ended now."""
    applied: Applied | None
    """None if the disk is not consistent: nothing was applied, for the problems of `changes`."""
    saved_to: str = ""
    """The new directory with the changes that the host's directories could not take."""


def apply_overlay(
    overlay: Path,
    paths: Path | Iterable[Path] = (),
    *,
    partial: bool = False,
    trash: bool = True,
    allow_git: bool = False,
    allow_removals: bool = False,
    leave_out: Collection[str] = (),
    warn: Callable[[str], None] = lambda _: None,
    spelling: Spelling = in_python,
) -> BroughtHome:
    """Bring home what an overlay holds, into the directories that its disk was made of.

    If that was begun before, by a process that was killed, it is ended. The overlay is empty
    afterwards, and can be served with the directories as they are now. Changes that the directories
    could not take are saved beside it, in a directory `OVERLAY.refused`. See `find_changes` and
    `apply_found` for options.

    Raise ApplyError when it stopped in the middle, to be called again; and as `open_overlay` and
    `find_changes` do.
    """
    from .applying import resume_applying  # noqa: PLC0415  most only look

    name = os.fsdecode(overlay)
    with OverlayFile.open(name, writable=True) as file:
        description = _moved(described(file.description), paths)
        token = _token(file)
        for applied in resume_applying(description.paths, lambda each: _end(file, token, each)):
            if applied.token == token:
                return BroughtHome(None, applied)
        disk = _opened(file, description, warn)
        changes = find_changes(
            disk, allow_removals=allow_removals, leave_out=leave_out, spelling=spelling
        )
        if changes.problems and not partial:
            return BroughtHome(changes, None)
        return apply_found(disk, changes, partial=partial, trash=trash, allow_git=allow_git)


def apply_found(
    disk: Disk,
    changes: Changes,
    *,
    partial: bool = False,
    trash: bool = True,
    allow_git: bool = False,
) -> BroughtHome:
    """Bring home the changes that were found on a disk, and empty its overlay.

    With `partial`, take what can be told of a disk that is not consistent; nothing is removed then,
    and the overlay is kept. Without `trash`, removed files are gone. `allow_git` has files in
    repositories of git written. Raise ApplyError.
    """
    from ..harvest.volume import Volume  # noqa: PLC0415  servers may not need it
    from .applying import apply_changes  # noqa: PLC0415  likewise

    assert disk.overlay is not None
    file = disk.overlay.file
    token = _token(file)
    saved_to = ""

    def finished(applied: Applied) -> None:
        nonlocal saved_to
        if applied.token == token:
            saved_to = _save_refused(file, changes, applied)
            _end(file, token, applied)

    with disk.image.open() as reader:
        volume = Volume(disk.layout, disk.tree, reader.read, disk.image.size)

        def names(ordinal: int) -> Sequence[str]:
            return [entry.name for entry in volume.entries(ordinal)]

        applied = apply_changes(
            changes,
            disk.tree,
            names,
            partial=partial,
            trash=trash,
            allow_git=allow_git,
            token=token,
            finished=finished,
        )
    return BroughtHome(changes, applied, saved_to)


def _token(file: OverlayFile) -> str:
    """Return a text that tells an overlay apart from others, for a journal."""
    return f"{file.identity.hex()} {os.path.realpath(file.name) if file.name else ''}"


def _end(file: OverlayFile, token: str, applied: Applied) -> None:
    """Empty an overlay that was applied; keep one of which a part only could be told."""
    if applied.token == token and not applied.problems:
        file.clear()


def _save_refused(file: OverlayFile, changes: Changes, applied: Applied) -> str:
    """Save the changes that were refused beside a named overlay; return where, if there are any."""
    from ..harvest.saving import save  # noqa: PLC0415  seldom needed
    from .applying import Outcome  # noqa: PLC0415  likewise

    refused = {deed.path for deed in applied.of(Outcome.REFUSED)}
    left = tuple(each for each in changes.changes if "/".join(each.path) in refused)
    if not left or not file.name:
        return ""
    out = file.name + ".refused"
    save(replace(changes, changes=left), out)
    return out


def _moved(description: Description, paths: Path | Iterable[Path]) -> Description:
    single = isinstance(paths, str | bytes | os.PathLike)
    moved = tuple(map(os.fsdecode, [paths] if single else paths))  # type: ignore[arg-type]
    return description._replace(paths=moved) if moved else description
