"""Functions of `import vfloppy` that open disks by their options, and check them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal, TypedDict, Unpack

from ..synth.findings import Finding
from ..synth.formats import NAMES
from .description import Path, describe
from .disk import Disk, open_described

Texts = str | Sequence[str]
Size = str | int


class DiskOptions(TypedDict, total=False):
    """The options of `open_disk`, named as on the command line; `vfloppy build --help` tells each.

    None stands for the default. Those from `fat` on are for FAT, those from `iso_level` on for ISO
    9660.
    """

    graft: Mapping[str, Path] | Sequence[str] | None
    exclude: Texts | None
    exclude_from: Path | Sequence[Path] | None
    symlinks: Literal["skip", "keep", "follow", "follow-all", "refuse"] | None
    skip_unreadable: bool | None
    skip_large: bool | None
    strict: bool | None
    distinct: bool | None
    preset: str | None
    writable: bool | None
    label: str | None
    utc: bool | None
    mbr_code: Path | None
    on_change: Literal["error", "current"] | None
    cache_size: Size | None
    source_date_epoch: int | None
    processes: int | None
    fat: Literal["auto", "12", "16", "32", 12, 16, 32] | None
    size: Size | None
    cluster_size: Size | None
    sector_size: Literal["512", "4096", 512, 4096] | None
    floppy: str | None
    partition: Literal["mbr", "gpt", "none"] | None
    esp: bool | None
    volume_id: str | int | None
    hide_dotfiles: bool | None
    attrib: Texts | None
    order: Texts | None
    order_from: Path | Sequence[Path] | None
    active: bool | None
    whole_cylinders: bool | None
    normalize: Literal["nfc"] | None
    boot_sector: Path | None
    iso_level: Literal["1", "2", "3", 1, 2, 3] | None
    rock_ridge: bool | None
    joliet: bool | None
    joliet_long: bool | None
    preserve: bool | None
    uid: int | str | None
    gid: int | str | None
    file_mode: int | str | None
    dir_mode: int | str | None
    new_dir_mode: int | str | None
    limit_pathtables: bool | None
    hide: Texts | None
    hide_joliet: Texts | None
    system_id: str | None
    volume_set: str | None
    publisher: str | None
    preparer: str | None
    application: str | None
    volume_date: str | date | None
    padding: bool | None
    boot_bios: str | None
    boot_floppy: bool | None
    boot_load_size: int | Literal["full"] | None
    boot_info_table: bool | None
    boot_catalogue: str | None
    boot_uefi: str | None
    boot_uefi_append: Path | None
    boot_uefi_dir: Path | None
    boot_uefi_fat: Literal["auto", "12", "16", "32", 12, 16, 32] | None
    boot_uefi_size: Size | None
    boot_uefi_label: str | None
    hybrid: bool | None
    volume_partition: bool | None


def open_disk(
    paths: Path | Iterable[Path] = (),
    *,
    format: str = NAMES[0],  # noqa: A002  as the command line has it
    overlay: Path | None = None,
    **options: Unpack[DiskOptions],
) -> Disk:
    """Scan a directory, or several merged into one, and lay it out as a disk.

    No file is opened: contents are read from the host's files when somebody reads the disk. Of two
    files of one name the later directory's is taken.

    With `writable`, the disk has room, and what is written to it goes to a temporary overlay; with
    `overlay`, to a file, which goes on where it was if it is there. Nothing of it reaches the
    directories.

    Raise OptionError for an option that can't be, ScanError for a directory that can't be read,
    PlanError for one that the format can't hold, OverlayError for an overlay of another disk; all
    are VfloppyError.
    """
    return _opened(paths, {"format": format, **options}, overlay)


def _opened(paths: Path | Iterable[Path], given: Mapping[str, Any], overlay: Path | None) -> Disk:
    if overlay is None and not given.get("writable"):
        return open_described(describe(paths, given))
    from .overlays import overlaid  # noqa: PLC0415  most disks are not written

    leave_out = [] if overlay is None else [os.fsdecode(overlay)]
    description = describe(paths, {**given, "writable": True})
    return overlaid(lambda: open_described(description, leave_out=leave_out), overlay)


def open_config(path: Path) -> dict[str, Disk]:
    """Open the disks that a configuration file of `vfloppy serve --config` describes, by name.

    Raise OptionError for a file that makes no sense, and as `open_disk` does.
    """
    from .config import read_config  # noqa: PLC0415  most programs have no such file

    return {
        name: _opened(each.directories, each.given, each.overlay)
        for name, each in read_config(path).items()
    }


def check(
    paths: Path | Iterable[Path] = (),
    *,
    format: str = NAMES[0],  # noqa: A002  as the command line has it
    **options: Unpack[DiskOptions],
) -> list[Finding]:
    """Return what a disk of directories would lose, change or be refused for; see `Disk.check`.

    Takes what `open_disk` takes, and what that would raise of the directories' contents is a
    finding of the kind `refused`. Raise OptionError, and ScanError for a directory that can't be
    read at all.
    """
    from .checking import findings, spelled_out  # noqa: PLC0415  most who open a disk check none

    return spelled_out(findings(describe(paths, {"format": format, **options})))
