"""Disks of directories: opened, looked into, read and written."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..errors import PlanError, option_named, worded
from ..export import Export, Reader
from ..options import Values
from ..synth.findings import Finding
from ..synth.formats import Format, InnerDisk, Renamed, format_named
from ..synth.host.files import HostFiles
from ..synth.host.paths import NamedPaths
from ..synth.image.files import FileSource
from ..synth.image.image import Image
from ..synth.image.section import Region
from ..synth.scanning.merging import Graft, Made
from ..synth.scanning.options import ScanOptions
from ..synth.scanning.scan import scan
from ..synth.tree.columns import Tree, printable
from .description import Description, describe
from .file import DiskFile
from .inputs import file_contents, scan_options

if TYPE_CHECKING:
    from ..filters.overlay import Overlay
    from .verify import Difference, Source

# What of a tree makes another disk: not how much the host has allocated, nor what was left out.
_COLUMNS = [each.name for each in fields(Tree) if each.name not in {"sparse", "skipped"}]
# What an inner disk has of the options of the one around it.
_SHARED = ("utc", "strict", "source_date_epoch", "cache_size", "on_change", "processes")
Progress = Callable[[int], None]
"""Called with the number of bytes that were dealt with since the last call."""


class Part(NamedTuple):
    """A tree and what became of it: the disk itself, or one inside its image."""

    option: str
    """The option that asked for an inner disk; empty for the disk itself."""
    format: Format[Any]
    tree: Tree
    layout: Any
    image: Image

    @property
    def renamed(self) -> Iterator[Renamed]:
        """The names that could not stay as the host has them."""
        return self.format.renamed(self.layout, self.tree)

    @property
    def renamed_count(self) -> int:
        """The number of `renamed`, without going through them."""
        return self.format.renamed_count(self.layout)

    @property
    def skipped(self) -> Iterator[tuple[str, str]]:
        """Path and reason of each thing that is not on the disk."""
        for path, reason in self.tree.skipped:
            yield printable(path), reason


def within(option: str, path: str) -> str:
    """Return a path on the disk that an option, already worded, asks for; "" is the main disk."""
    return f"{option}: {path}" if option else path


class Disk:
    """A directory, or several, as a disk: scanned and laid out; its bytes come when they are read.

    It is that of the moment when it was scanned: reading a file that was changed since fails with
    HostReadError. Methods may be called from any thread.
    """

    def __init__(
        self,
        description: Description,
        parts: tuple[Part, ...],
        contents: Values,
        named: NamedPaths,
        took_s: float,
    ) -> None:
        self.description = description
        self.named = named
        """The ways to what the description names, for another scan to find it so again."""
        self.took_s = took_s
        """The time that it took to scan and to lay out, in seconds."""
        self._contents = contents
        self.parts = parts
        """The disk itself, then those inside its image."""
        self.overlay: Overlay | None = None
        """The disk with what is written over it; None for one that can't be written."""
        self._lock = threading.Lock()
        self._reader: Reader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.title} disk of {self.size} bytes, of {', '.join(self.description.paths)}>"

    @property
    def export(self) -> Export:
        """The bytes, for servers and filters; of a writable disk, those that were written, too."""
        return self.overlay or self.image

    @property
    def image(self) -> Image:
        """The disk as it was laid out, whatever is written over it."""
        return self.parts[0].image

    @property
    def size(self) -> int:
        """The length in bytes."""
        return self.export.size

    @property
    def format(self) -> Format[Any]:
        """The format that it was made by."""
        return self.parts[0].format

    @property
    def tree(self) -> Tree:
        """The tree that was scanned."""
        return self.parts[0].tree

    @property
    def layout(self) -> Any:
        """The places of everything, as the format has it."""
        return self.parts[0].layout

    @property
    def title(self) -> str:
        """The name of the file system: `FAT32`, `ISO 9660`."""
        return self.format.title(self.layout)

    @property
    def renamed(self) -> list[Renamed]:
        """The names that could not stay as the host has them.

        Paths on a disk inside the image begin with the option that asks for it: `boot_uefi_dir: `.
        """
        return [
            each._replace(path=within(part.option, each.path))
            for part in self.parts
            for each in part.renamed
        ]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Path and reason of each thing that is not on the disk; see `renamed` for the paths."""
        return [
            (within(part.option, path), reason)
            for part in self.parts
            for path, reason in part.skipped
        ]

    @property
    def notes(self) -> list[str]:
        """Sentences on what is not as the options have it, such as a size that was rounded."""
        return list(map(worded, self.format.notes(self.layout, self.tree)))

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the disk.

        Raise ValueError for a range outside of it, HostReadError for a file that has changed.
        """
        with self._lock:
            if self._reader is None:
                self._reader = self.export.open()
            return self._reader.read(offset, length)

    def open(self) -> DiskFile:
        """Return the disk as a binary file, to read and seek in; wrap it in io.BufferedReader."""
        return DiskFile(self.export)

    def write_to(
        self,
        path: str | os.PathLike[str],
        *,
        sync: bool = True,
        progress: Progress = lambda _: None,
    ) -> None:
        """Write the disk to a file, sparse, which takes the place of what is there when complete.

        With `sync`, it is on the host's disk by then. Raise WriteError and HostReadError.
        """
        from ..synth.output.writer import write_file  # noqa: PLC0415  a server needs it not

        values = self.description.values
        # Of a file that has changed, one process tells once.
        processes = 1 if values["on_change"] == "current" else values["processes"]
        write_file(self.export, os.fspath(path), progress, sync=sync, processes=processes)

    def check(self) -> list[Finding]:
        """Return what is renamed, left out or clamped, and which readers trip over what.

        With a preset, only what concerns its reader; else what concerns any usual reader of the
        format. `vfloppy.check` also tells what a directory would be refused for.
        """
        from .checking import findings_of, spelled_out  # noqa: PLC0415  servers need it not

        return spelled_out(findings_of(self, self.description))

    def verify(
        self, image: Source, *, times: bool = True, progress: Progress = lambda _: None
    ) -> list[Difference]:
        """Return what differs between an image and this disk: names, sizes, times, bytes.

        The image is a path, a binary file that can be sought in, or an NBD URI; it is read by
        pyfatfs or pycdlib (`pip install 'vfloppy[verify]'`). `times=False` leaves times out.

        Raise OptionError for an image that can't be opened, another VfloppyError for one that
        makes no sense.
        """
        from .verify import verify  # noqa: PLC0415  few read images back

        return verify(self, image, times=times, progress=progress)

    def regions(self) -> Iterator[Region]:
        """Yield every stretch of the disk that has a name, in order: offset, length, kind, name."""
        return self.image.regions()

    def files(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of each file and directory; see docs/library.md for the keys."""
        from .manifest import entries  # noqa: PLC0415  most need it not

        return entries(self)

    def close(self) -> None:
        """Close files that `read` has opened; it opens them again.

        Of a writable disk, close the overlay as well, which is the end of it.
        """
        with self._lock:
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        if self.overlay is not None:
            self.overlay.file.close()

    def rescan(self, *, warn: Callable[[str], None] = lambda _: None) -> Disk:
        """Scan the directories again, and return the disk of this moment; this one stays as it is.

        What the description names is found by no link that was not there at first. Raise as
        `vfloppy.open_disk` does. `warn`: see `open_described`.
        """
        return open_described(
            self.description, named=self.named, leave_out=self.kept_out, warn=warn
        )

    @property
    def kept_out(self) -> tuple[str, ...]:
        """The files of its own that are no part of it, wherever they are."""
        name = self.overlay.file.name if self.overlay else ""
        return (name,) if name else ()

    def is_same_as(self, other: Disk) -> bool:
        """Return whether nothing that two disks of one description were made of differs."""
        pairs = zip(self.parts, other.parts, strict=True)
        return self._contents == other._contents and all(
            getattr(one.tree, each) == getattr(two.tree, each)
            for one, two in pairs
            for each in _COLUMNS
        )


def open_described(
    description: Description,
    *,
    named: NamedPaths | None = None,
    leave_out: Collection[str] = (),
    warn: Callable[[str], None] = lambda _: None,
) -> Disk:
    """Scan directories and lay them out; see `vfloppy.open_disk`.

    What the description names is found as by `named` before, if that is given: by no link that was
    not there at first. `leave_out` are files that are no part of the disk, such as the one it will
    be written to. `warn` hears of changed files that are read all the same, as
    `on_change="current"` has it.
    """
    started = time.monotonic()
    form, named = description.format, named or NamedPaths()
    contents = file_contents(description, named)
    values = {**description.values, **contents}
    options = scan_options(form, values, leave_out, named)
    source_of = partial(HostFiles, on_change=warn if values["on_change"] == "current" else None)
    wanted = form.inner_disks(values)
    inner = [_inner_part(each, values, options, source_of) for each in wanted]
    made = [_made(*each) for each in zip(wanted, inner, strict=True)]
    made += [Made(*each, mode=0o444) for each in form.own_files(values)]
    main = _part("", form, description.paths, options, [values], source_of, inner, made)
    parts = (main, *inner)
    return Disk(description, parts, contents, named, time.monotonic() - started)


def _inner_part(
    wanted: InnerDisk,
    values: Values,
    options: ScanOptions,
    source_of: Callable[[Tree], FileSource],
) -> Part:
    """Make the disk inside. Raise PlanError when the directory fits none of the attempts."""
    form = format_named(wanted.format)
    symlinks = "skip" if options.symlinks == "keep" else options.symlinks
    options = options._replace(keep_special_files=False, owners=False, symlinks=symlinks)
    shared = {name: values[name] for name in _SHARED}
    attempts = (describe(wanted.directory, each, shared).values for each in wanted.attempts)
    try:
        return _part(wanted.option, form, (wanted.directory,), options, attempts, source_of)
    except PlanError as error:
        where = option_named(wanted.option, wanted.directory)
        raise PlanError(f"{where}: {error.marked}") from error


def _made(wanted: InnerDisk, part: Part) -> Made:
    """Return the disk inside as a file of the outer tree, as old as the latest that it holds."""
    why = (
        f"the image of {option_named(wanted.option, wanted.directory)} goes there, unless "
        f"{option_named(wanted.elsewhere, 'PATH')} gives it another place"
    )
    latest_ns = max(part.tree.mtimes_ns[1:], default=0)
    return Made(wanted.path, part.image.size, latest_ns, why)


def _part(
    option: str,
    form: Format[Any],
    paths: tuple[str, ...],
    options: ScanOptions,
    attempts: Iterable[Values],
    source_of: Callable[[Tree], FileSource],
    inner: Sequence[Part] = (),
    made: Sequence[Made] = (),
) -> Part:
    """Scan, lay out by the first attempt that the tree fits, and make the image.

    Raise PlanError of the last attempt, and ScanError.
    """
    tree: Tree | None = None
    failure: PlanError | None = None
    for values in attempts:
        if tree is None:
            tree = scan(paths, options, [Graft(*each) for each in form.grafts(values)], made)
        try:
            layout = form.plan(tree, values, {each.option: each.image.size for each in inner})
        except PlanError as error:
            failure = error
            continue
        images = {each.option: each.image for each in inner}
        image = form.image(layout, tree, source_of(tree), images)
        return Part(option, form, tree, layout, image)
    assert failure is not None
    raise failure
