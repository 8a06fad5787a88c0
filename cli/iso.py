"""A tree as an ISO 9660 image: what the options mean to it, and a FAT inside for UEFI."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

from ..errors import PlanError
from ..synth.fat.disk import disk as fat_disk
from ..synth.fat.plan import FatOptions
from ..synth.fat.plan import plan as fat_plan
from ..synth.host import ScannedFiles
from ..synth.image import Image
from ..synth.iso.disk import disk
from ..synth.iso.layout import IsoOptions, Layout, Texts
from ..synth.iso.plan import Aside, Work, plan
from ..synth.scan import ScanOptions, scan
from ..synth.sharing import Forked, may_fork
from ..synth.tree import Tree
from .epoch import source_date_epoch
from .options import DiskOptions, file_bytes

_UEFI_LABEL = "EFI"
_WORTH_A_PROCESS = 20_000  # files


def iso_disk(
    options: DiskOptions, tree: Tree, files_of: Callable[[Tree], ScannedFiles]
) -> tuple[Layout, Image, tuple[Tree, ...]]:
    """Lays a tree out as ISO 9660; also returns the trees of images inside.

    `files_of` reads the files of a tree.

    Raises UsageError, VfloppyError and OSError.
    """
    if not options.boot_uefi_dir:
        layout = plan(tree, _iso_options(options), aside=_aside(tree))
        return layout, disk(layout, tree, files_of(tree)), ()
    uefi_tree = scan(options.boot_uefi_dir, ScanOptions(skip_unreadable=options.skip_unreadable))
    uefi_image = _uefi_image(options.boot_uefi_dir, uefi_tree, options, files_of(uefi_tree))
    layout = plan(tree, _iso_options(options), uefi_image.size, _aside(tree))
    return layout, disk(layout, tree, files_of(tree), uefi_image), (uefi_tree,)


def _aside(tree: Tree) -> Aside:
    """Does work in another process if the tree is worth one."""

    def start(work: Work) -> Work:
        if len(tree) < _WORTH_A_PROCESS or not may_fork():
            return work
        try:
            return Forked(work).result
        except OSError:  # the system allows no more processes
            return work

    return start


def _iso_options(options: DiskOptions) -> IsoOptions:
    return IsoOptions(
        level=int(options.iso_level),
        rock_ridge=options.rock_ridge,
        joliet=options.joliet,
        joliet_long=options.joliet_long,
        preserve=options.preserve,
        texts=Texts(
            volume=options.label,
            system=options.system_id,
            volume_set=options.volume_set,
            publisher=options.publisher,
            preparer=options.preparer,
            application=options.application,
        ),
        created_ns=options.volume_date,
        zone=UTC if options.utc else None,
        latest_ns=source_date_epoch(),
        padding=options.padding,
        boot_bios=options.boot_bios,
        boot_load_size=options.boot_load_size,
        boot_info_table=options.boot_info_table,
        boot_uefi=options.boot_uefi,
        hybrid=options.hybrid,
        mbr_code=file_bytes(options.mbr_code),
        strict=options.strict,
        cache_bytes=options.cache_size,
    )


def _uefi_image(directory: str, tree: Tree, options: DiskOptions, files: ScannedFiles) -> Image:
    """A directory as the smallest FAT that holds it, without a partition table."""
    for fat_bits in (12, 16, 32):
        fat_options = FatOptions(
            label=_UEFI_LABEL,
            fat_bits=fat_bits,
            partition="none",
            zone=UTC if options.utc else None,
            latest_ns=source_date_epoch(),
            strict=options.strict,
        )
        try:
            layout = fat_plan(tree, fat_options)
        except PlanError as error:
            if fat_bits == 32:
                raise PlanError(f"--boot-uefi-dir {directory}: {error}") from error
        else:
            break
    return fat_disk(layout, tree, files)
