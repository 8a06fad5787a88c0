"""From directories and options to a disk: the wiring of scan, plan and image."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from ..errors import ScanError
from ..synth.fat.names import rename_reason
from ..synth.fat.plan import Layout as FatLayout
from ..synth.grafts import Graft
from ..synth.host import ScannedFiles
from ..synth.image import Image
from ..synth.named import NamedPaths
from ..synth.scan import ScanOptions, scan
from ..synth.scan_options import as_is
from ..synth.tree import Tree, printable
from .excludes import excluded_by
from .fat import fat_disk, fold_of, from_qemu
from .files import OptionFiles, read_option_files
from .options import DiskOptions

if TYPE_CHECKING:  # half of the runs need the one, half the other
    from ..synth.iso.layout import Layout as IsoLayout
    from .iso import Inner

_DESCRIPTORS_WANTED = 24 << 10
_MOST_PROCESSES = 4
_LARGE_BYTES = (1 << 32) - 1


class Disk(NamedTuple):
    """Directories as a disk."""

    tree: Tree
    layout: FatLayout | IsoLayout
    image: Image
    inner: tuple[Inner, ...] = ()
    """Disks inside the image."""
    contents: OptionFiles = OptionFiles(None, None, ())
    """Of the files that options named."""

    @property
    def trees(self) -> list[Tree]:
        """The tree, and those of the disks inside."""
        return [self.tree, *(each.tree for each in self.inner)]

    @property
    def roots(self) -> list[int]:
        """Descriptors of the directories of the host that it is read from, its own."""
        return [each for tree in self.trees for each in tree.held.values()]

    @property
    def is_fat(self) -> bool:
        """Whether it is FAT; otherwise it is ISO 9660."""
        return isinstance(self.layout, FatLayout)

    @property
    def format(self) -> str:
        """The name of the file system."""
        if isinstance(self.layout, FatLayout):
            return f"FAT{self.layout.geometry.fat_bits}"
        return "ISO 9660"

    @property
    def is_renamed_in_joliet(self) -> bool:
        """Whether the names that changed are so in Joliet's tree only, of which Windows reads."""
        return not isinstance(self.layout, FatLayout) and self.layout.options.rock_ridge

    @property
    def renamed(self) -> list[tuple[str, str, str]]:
        """Path in the tree, name on the disk, and reason of each name that changed."""
        tree = self.tree
        own = [
            (printable(tree.path(node)), name, self._reason(node))
            for node, name in self.layout.renamed.items()
        ]
        return own + [each for inner in self.inner for each in inner.changes]

    def _reason(self, node: int) -> str:
        if self.is_fat:
            return rename_reason(self.tree.name(node))
        where = "in Joliet" if self.is_renamed_in_joliet else "without Rock Ridge"
        return f"{where}, characters, length, or another one like it"

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Path and reason of each thing that is not on the disk."""
        return [(printable(path), reason) for path, reason in self.tree.skipped] + [
            (f"{each.option}: {printable(path)}", reason)
            for each in self.inner
            for path, reason in each.tree.skipped
        ]


def open_disk(
    options: DiskOptions,
    directories: tuple[str, ...],
    out: str | None = None,
    *,
    named: NamedPaths | None = None,
    leases: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Disk:
    """Scans directories and lays them out. `out` is a file that is no part of it.

    What the options name is found as by `named` before.
    With `leases`, whoever writes to a file that is open here waits until we know. `tell` hears of
    changed files that are read all the same, with `--on-change current`.

    Raises UsageError, VfloppyError and OSError.
    """
    options, directories = from_qemu(options, directories)
    if not directories and not options.graft:
        raise click.UsageError("no directory given, and no --graft")
    if "" in directories:
        raise ScanError("a directory's name is empty")
    _raise_descriptor_limit()
    gc.disable()  # a scan makes many objects and no cycles; looking for some costs a quarter of it
    try:
        named = named or NamedPaths()
        contents = read_option_files(options, named)
        scan_options = _scan_options(options, contents, out, named)
        tree = scan(directories, scan_options, _grafts(options))
        on_change = tell if options.on_change == "current" else None
        files_of = partial(ScannedFiles, leases=leases, on_change=on_change)
        layout: FatLayout | IsoLayout
        inner: tuple[Inner, ...] = ()
        if options.format == "fat":
            layout, image = fat_disk(options, contents, tree, files_of(tree))
        else:
            from .iso import iso_disk  # noqa: PLC0415

            layout, image, inner = iso_disk(options, contents, scan_options, tree, files_of)
    finally:
        gc.enable()
    disk = Disk(tree, layout, image, inner, contents)
    if options.manifest:
        from .manifest import write_manifest  # noqa: PLC0415  most runs need none

        write_manifest(options.manifest, tree, layout, named)
    return disk


def usual_processes() -> int:
    """How many processes share work."""
    return min(_MOST_PROCESSES, os.cpu_count() or 1)


def _grafts(options: DiskOptions) -> list[Graft]:
    return [Graft(target, source) for target, source in options.graft]


def _scan_options(
    options: DiskOptions, contents: OptionFiles, out: str | None, named: NamedPaths
) -> ScanOptions:
    return ScanOptions(
        skip_unreadable=options.skip_unreadable,
        leave_out=_identities(path for path in (out, options.manifest) if path),
        skip_larger_than=_LARGE_BYTES if options.skip_large else None,
        excluded=excluded_by([*options.exclude, *contents.patterns]),
        symlinks=options.symlinks,
        keep_special_files=options.format == "iso" and options.rock_ridge,
        owners=options.preserve,
        processes=usual_processes(),
        strict=options.strict,
        fold=fold_of(options) if options.format == "fat" else as_is,
        named=named,
    )


def _identities(paths: Iterable[str]) -> frozenset[tuple[int, int]]:
    """Device and inode of files, where they exist."""
    found = set()
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _raise_descriptor_limit() -> None:
    """Host files are kept open between requests; the usual limit of 1024 is low for that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
