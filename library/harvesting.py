"""Harvesting: what guests have written over a disk, as changes to its directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator

from ..errors import OptionError, Spelling, in_python
from ..export import Export, Reader
from ..filters.header import OverlayError
from ..filters.overlay import Overlay
from ..filters.store import OverlayFile
from ..harvest.changes import Changes
from .description import Description, Path
from .disk import Disk, open_described
from .overlays import described, digest_of, refusal


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
        description = _moved(described(file.description), paths)
        disk = open_described(description, leave_out=[name], warn=warn)
        if file.size != disk.size or file.identity != digest_of(disk):
            raise OverlayError(refusal(name, file, disk))
    except BaseException:
        file.close()
        raise
    disk.overlay = Overlay(disk.image, file)
    return disk


def _moved(description: Description, paths: Path | Iterable[Path]) -> Description:
    single = isinstance(paths, str | bytes | os.PathLike)
    moved = tuple(map(os.fsdecode, [paths] if single else paths))  # type: ignore[arg-type]
    return description._replace(paths=moved) if moved else description
