"""A tree as a FAT disk: what the options mean to it, and QEMU's own way of naming one."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from typing import Any

import click

from ..synth.compose import composed
from ..synth.fat.disk import disk
from ..synth.fat.plan import FatOptions, Layout, plan
from ..synth.host import ScannedFiles
from ..synth.image import Image
from ..synth.tree import Tree
from ..synth.upcase import fold
from .epoch import source_date_epoch
from .fat_options import NOT_OF_FLOPPIES
from .files import OptionFiles
from .options import DiskOptions
from .presets import PRESETS

# QEMU's own name for a directory as a disk: fat:[12|16|32:][floppy:][rw:]DIR, in any order.
_QEMU_NAME = re.compile(r"fat:((?:(?:12|16|32|floppy|rw):)*)(.+)", re.DOTALL)


def fat_disk(
    options: DiskOptions, contents: OptionFiles, tree: Tree, files: ScannedFiles
) -> tuple[Layout, Image]:
    """Lays a tree out as FAT. Raises UsageError and PlanError."""
    layout = plan(tree, _fat_options(options, contents))
    return layout, disk(layout, tree, files)


def _fat_options(options: DiskOptions, contents: OptionFiles) -> FatOptions:
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
        latest_ns=source_date_epoch(),
        hide_dotfiles=options.hide_dotfiles,
        normalize=options.normalize == "nfc",
        strict=options.strict,
        cache_bytes=options.cache_size,
        boot_sector=contents.boot_sector,
        mbr_code=contents.mbr_code,
    )


def fold_of(options: DiskOptions) -> Callable[[str], str]:
    """What names share that are one on a FAT disk."""
    if options.normalize is None:
        return fold
    return lambda name: fold(composed(name))


def from_qemu(
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
    is_floppy, fat = "floppy" in words, types.pop() if types else None
    settled = {"preset", "floppy", *(NOT_OF_FLOPPIES if is_floppy else ["fat"] if fat else [])}
    if twice := sorted(options.given & settled):
        option = {"preset": "for"}.get(twice[0], twice[0].replace("_", "-"))
        raise click.UsageError(f"QEMU's {match[0][: match.start(2)]} goes without --{option}")
    values: dict[str, Any] = dict(PRESETS["vvfat"].values)
    if is_floppy:
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
    left = {name: value for name, value in values.items() if name not in options.given}
    return options._replace(**left), (match[2],)
