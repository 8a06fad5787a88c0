"""From directories and options to a disk: the wiring of scan, plan and image."""

from __future__ import annotations

import gc
import os
import re
import resource
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Any

import click

from ..errors import ScanError
from ..synth.fat.disk import disk as fat_disk
from ..synth.fat.names import rename_reason
from ..synth.fat.plan import FatOptions, Layout, plan
from ..synth.fat.records import MOST_FILE_BYTES
from ..synth.grafts import Graft
from ..synth.host import ScannedFiles
from ..synth.image import Image
from ..synth.scan import ScanOptions, scan
from ..synth.tree import Tree, printable
from .options import DiskOptions
from .presets import PRESETS

_DESCRIPTORS_WANTED = 16384
_MOST_PROCESSES = 4
# QEMU's own name for a directory as a disk: fat:[12|16|32:][floppy:][rw:]DIR, in any order.
_QEMU_NAME = re.compile(r"fat:((?:(?:12|16|32|floppy|rw):)*)(.+)", re.DOTALL)


@dataclass(frozen=True)
class Disk:
    """Directories as a disk."""

    tree: Tree
    layout: Layout
    image: Image

    @property
    def format(self) -> str:
        """The name of the file system."""
        return f"FAT{self.layout.geometry.fat_bits}"

    @property
    def renamed(self) -> list[tuple[str, str, str]]:
        """Path in the tree, name on the disk, and reason of each name that changed."""
        tree = self.tree
        return [
            (printable(tree.path(node)), name, rename_reason(tree.name(node)))
            for node, name in self.layout.renamed.items()
        ]

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Path and reason of each thing that is not on the disk."""
        return [(printable(path), reason) for path, reason in self.tree.skipped]


def open_disk(
    options: DiskOptions,
    directories: tuple[str, ...],
    out: str | None = None,
    *,
    leases: bool = False,
) -> Disk:
    """Scans directories and lays them out. `out` is a file that is no part of it.

    With `leases`, whoever writes to a file that is open here waits until we know.

    Raises UsageError, VfloppyError and OSError.
    """
    options, directories = _from_qemu(options, directories)
    if not directories and not options.graft:
        raise click.UsageError("no directory given, and no --graft")
    if "" in directories:
        raise ScanError("a directory's name is empty")
    _raise_descriptor_limit()
    gc.disable()  # a scan makes many objects and no cycles; looking for some costs a quarter of it
    try:
        tree = scan(directories, _scan_options(options, out), _grafts(options))
        layout = plan(tree, _fat_options(options))
    finally:
        gc.enable()
    disk = Disk(tree, layout, fat_disk(layout, tree, ScannedFiles(tree, leases=leases)))
    if options.manifest:
        from .manifest import write_manifest  # noqa: PLC0415  most runs need none

        write_manifest(options.manifest, tree, layout)
    return disk


def _grafts(options: DiskOptions) -> list[Graft]:
    return [Graft(target, source) for target, source in options.graft]


def _scan_options(options: DiskOptions, out: str | None) -> ScanOptions:
    return ScanOptions(
        skip_unreadable=options.skip_unreadable,
        leave_out=_identities(path for path in (out, options.manifest) if path),
        skip_larger_than=MOST_FILE_BYTES if options.skip_large else None,
        excluded=_excluded(options),
        symlinks=options.symlinks,
        processes=min(_MOST_PROCESSES, os.cpu_count() or 1),
        strict=options.strict,
    )


def _fat_options(options: DiskOptions) -> FatOptions:
    is_free, size = options.size or (False, 0)
    return FatOptions(
        label=options.label,
        fat_bits=None if options.fat == "auto" else int(options.fat),
        size=size if options.size and not is_free else None,
        free=size if is_free else 0,
        cluster_bytes=options.cluster_size,
        sector_bytes=options.sector_size,
        partition=options.partition,
        esp=options.esp,
        floppy=options.floppy,
        volume_id=options.volume_id,
        zone=UTC if options.utc else None,
        latest_ns=_source_date_epoch(),
        hide_dotfiles=options.hide_dotfiles,
        normalize=options.normalize == "nfc",
        strict=options.strict,
        boot_sector=Path(options.boot_sector).read_bytes() if options.boot_sector else None,
        mbr_code=Path(options.mbr_code).read_bytes() if options.mbr_code else None,
    )


def _excluded(options: DiskOptions) -> Callable[[str], bool] | None:
    patterns = list(options.exclude)
    for path in options.exclude_from:
        patterns += Path(path).read_text("utf-8", "surrogateescape").splitlines()
    if not patterns:
        return None
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  slow to import, and most runs need none

    try:
        return GitIgnoreSpec.from_lines(patterns).match_file
    except ValueError as error:
        raise click.UsageError(f"--exclude: {error}") from None


def _identities(paths: Iterable[str]) -> frozenset[tuple[int, int]]:
    """Device and inode of files, where they exist."""
    found = set()
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _source_date_epoch() -> int | None:
    """The time that none on the disk is later than, by reproducible-builds.org's convention."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    try:
        return int(text) * 1_000_000_000
    except ValueError:
        raise click.UsageError(
            f"SOURCE_DATE_EPOCH is {text!r}; expected seconds since 1970"
        ) from None


def _from_qemu(
    options: DiskOptions, directories: tuple[str, ...]
) -> tuple[DiskOptions, tuple[str, ...]]:
    """Takes QEMU's `fat:floppy:12:DIR` for what it means to QEMU. Raises UsageError."""
    match = _QEMU_NAME.fullmatch(directories[0]) if directories else None
    if match is None:
        return options, directories
    words = set(match[1].split(":"))
    if "rw" in words:
        raise click.UsageError(
            "fat:rw: asks for a disk that can be written; these can only be read"
        )
    if len(directories) > 1:
        raise click.UsageError("QEMU's fat: takes one directory")
    types = words & {"12", "16", "32"}
    if len(types) > 1:
        raise click.UsageError(f"fat: with {' and '.join(sorted(types))} at once")
    fat = types.pop() if types else None
    values: dict[str, Any] = dict(PRESETS["vvfat"].values)
    if "floppy" in words:
        if fat == "32":
            raise click.UsageError("QEMU has no FAT32 floppy, and neither has anybody else")
        del values["size"]
        if fat == "16":  # twice as many clusters as a FAT12 of that size has
            values |= {"partition": "none", "size": (False, 5760 * 512), "cluster_size": 512}
        else:
            values |= {"floppy": "1.44M" if fat else "2.88M", "fat": "auto"}
    elif fat:
        values["fat"] = fat
        if fat == "12":
            values["size"] = (False, 64 * 16 * 63 * 512)
    return replace(options, **values), (match[2],)


def _raise_descriptor_limit() -> None:
    """Host files are kept open between requests; the usual limit of 1024 is low for that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
