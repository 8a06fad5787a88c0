"""From a directory and options to a disk: the wiring of scan, plan and image."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click

from ..errors import PlanError
from ..synth.fat.disk import disk as fat_disk
from ..synth.fat.plan import DEFAULT_LABEL, FatOptions, check_label, plan
from ..synth.host import ScannedFiles
from ..synth.image import Image
from ..synth.scan import ScanOptions, scan
from ..synth.tree import Tree, printable

_DESCRIPTORS_WANTED = 16384

Command = Callable[..., Any]


@dataclass(frozen=True)
class Disk:
    """A directory as a disk, and what of it differs from the host."""

    tree: Tree
    image: Image
    format: str
    renamed: list[tuple[str, str]]
    """The host path of each file that has another name on the disk, and that name."""
    skipped: list[tuple[str, str]]
    """The host path of each thing that is not on the disk, and the reason."""


def disk_options(command: Command) -> Command:
    """Adds the directory and the options that say what the disk is like."""
    for decorate in (
        click.option(
            "--skip-unreadable",
            is_flag=True,
            help="Leave out what may not be read, instead of refusing the directory.",
        ),
        click.option(
            "--label",
            default=DEFAULT_LABEL,
            show_default=True,
            metavar="NAME",
            callback=_checked_label,
            help="The volume label: at most 11 characters, stored in upper case.",
        ),
        click.argument("directory", metavar="DIR"),
    ):
        command = decorate(command)
    return command


def open_disk(
    directory: str, label: str, skip_unreadable: bool, leave_out: str | None = None
) -> Disk:
    """Scans a directory and lays it out. `leave_out` is a file that is no part of it."""
    _raise_descriptor_limit()
    gc.disable()  # a scan makes many objects and no cycles; looking for some costs a quarter of it
    options = ScanOptions(skip_unreadable=skip_unreadable, leave_out=_identity(leave_out))
    tree = scan(directory, options)
    layout = plan(tree, FatOptions(label=label))
    gc.enable()
    return Disk(
        tree=tree,
        image=fat_disk(layout, tree, ScannedFiles(tree)),
        format=f"FAT{layout.geometry.fat_bits}",
        renamed=[(printable(tree.path(node)), name) for node, name in layout.renamed.items()],
        skipped=[(printable(path), reason) for path, reason in tree.skipped],
    )


def _checked_label(_ctx: click.Context, _param: click.Parameter, label: str) -> str:
    try:
        check_label(label)
    except PlanError as error:
        raise click.BadParameter(str(error)) from None
    return label


def _identity(path: str | None) -> frozenset[tuple[int, int]]:
    """Device and inode of a file that may not exist yet."""
    if path is None:
        return frozenset()
    try:
        status = os.stat(path)
    except OSError:
        return frozenset()
    return frozenset({(status.st_dev, status.st_ino)})


def _raise_descriptor_limit() -> None:
    """Host files are kept open between requests; the usual limit of 1024 is low for that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS_WANTED)
    )
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
