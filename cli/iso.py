"""A tree as an ISO 9660 image: what the options mean to it, and a FAT inside for UEFI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from typing import NamedTuple

from ..errors import PlanError
from ..synth.fat.disk import disk as fat_disk
from ..synth.fat.names import rename_reason
from ..synth.fat.plan import FatOptions
from ..synth.fat.plan import Layout as FatLayout
from ..synth.fat.plan import plan as fat_plan
from ..synth.host import ScannedFiles
from ..synth.image import Image
from ..synth.iso.disk import disk
from ..synth.iso.layout import IsoOptions, Layout, Texts
from ..synth.iso.plan import Aside, Work, plan
from ..synth.scan import ScanOptions, scan
from ..synth.sharing import Forked, may_fork
from ..synth.tree import Tree, printable
from .epoch import source_date_epoch
from .files import OptionFiles
from .options import DiskOptions

_UEFI_LABEL = "EFI"
_WORTH_A_PROCESS = 20_000  # files


class Inner(NamedTuple):
    """A disk inside the image, and the option that asked for it."""

    option: str
    tree: Tree
    renamed: Mapping[int, str]
    """The names by node that could not stay as the host has them."""

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """Path, name on the disk, and reason of each of those."""
        return [
            (
                f"{self.option}: {printable(self.tree.path(node))}",
                name,
                rename_reason(self.tree.name(node)),
            )
            for node, name in self.renamed.items()
        ]


def iso_disk(
    options: DiskOptions,
    contents: OptionFiles,
    scan_options: ScanOptions,
    tree: Tree,
    files_of: Callable[[Tree], ScannedFiles],
) -> tuple[Layout, Image, tuple[Inner, ...]]:
    """Lays a tree out as ISO 9660; also returns the disks inside.

    `files_of` reads the files of a tree.

    Raises UsageError, VfloppyError and OSError.
    """
    iso_options = _iso_options(options, contents)
    if not options.boot_uefi_dir:
        layout = plan(tree, iso_options, aside=_aside(tree))
        return layout, disk(layout, tree, files_of(tree)), ()
    as_fat = scan_options._replace(keep_special_files=False, owners=False)
    if as_fat.symlinks == "keep":
        as_fat = as_fat._replace(symlinks="skip")
    uefi_tree = scan(options.boot_uefi_dir, as_fat)
    uefi_layout = _uefi_layout(options.boot_uefi_dir, uefi_tree, options)
    uefi_image = fat_disk(uefi_layout, uefi_tree, files_of(uefi_tree))
    layout = plan(tree, iso_options, uefi_image.size, _aside(tree))
    inner = Inner("--boot-uefi-dir", uefi_tree, uefi_layout.renamed)
    return layout, disk(layout, tree, files_of(tree), uefi_image), (inner,)


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


def _iso_options(options: DiskOptions, contents: OptionFiles) -> IsoOptions:
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
        boot_load_size=1 if options.boot_floppy else options.boot_load_size,
        boot_floppy=options.boot_floppy,
        boot_info_table=options.boot_info_table and not options.boot_floppy,
        boot_uefi=options.boot_uefi,
        hybrid=options.hybrid,
        mbr_code=contents.mbr_code,
        strict=options.strict,
        cache_bytes=options.cache_size,
    )


def _uefi_layout(directory: str, tree: Tree, options: DiskOptions) -> FatLayout:
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
    return layout
