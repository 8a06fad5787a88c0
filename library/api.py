"""What `import vfloppy` is for: `open_disk` and `serve`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from ..export import Export
from ..synth.findings import Finding
from .description import Path, describe
from .disk import Disk, open_described

if TYPE_CHECKING:
    from ..nbd.server.threads import ThreadedServer

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
    preset: str | None
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
    normalize: Literal["nfc"] | None
    boot_sector: Path | None
    iso_level: Literal["1", "2", "3", 1, 2, 3] | None
    rock_ridge: bool | None
    joliet: bool | None
    joliet_long: bool | None
    preserve: bool | None
    system_id: str | None
    volume_set: str | None
    publisher: str | None
    preparer: str | None
    application: str | None
    volume_date: str | date | None
    padding: bool | None
    boot_bios: str | None
    boot_floppy: bool | None
    boot_load_size: int | None
    boot_info_table: bool | None
    boot_uefi: str | None
    boot_uefi_dir: Path | None
    hybrid: bool | None


def open_disk(
    paths: Path | Iterable[Path] = (),
    *,
    format: Literal["fat", "iso"] = "fat",  # noqa: A002  as the command line has it
    **options: Unpack[DiskOptions],
) -> Disk:
    """Scan a directory, or several merged into one, and lay it out as a disk.

    No file is opened: contents are read from the host's files when somebody reads the disk. Of two
    files of one name the later directory's is taken.

    Raise OptionError for an option that can't be, ScanError for a directory that can't be read,
    PlanError for one that the format can't hold; all are VfloppyError.
    """
    return open_described(describe(paths, {"format": format, **options}))


def check(
    paths: Path | Iterable[Path] = (),
    *,
    format: Literal["fat", "iso"] = "fat",  # noqa: A002  as the command line has it
    **options: Unpack[DiskOptions],
) -> list[Finding]:
    """Return what a disk of directories would lose, change or be refused for; see `Disk.check`.

    Takes what `open_disk` takes, and what that would raise of the directories' contents is a
    finding of the kind `refused`. Raise OptionError, and ScanError for a directory that can't be
    read at all.
    """
    from .checking import findings, spelled_out  # noqa: PLC0415  most who open a disk check none

    return spelled_out(findings(describe(paths, {"format": format, **options})))


def serve(
    what: Disk | Export | Mapping[str, Disk | Export],
    *,
    unix: str | os.PathLike[str] | None = None,
    host: str = "localhost",
    port: int | None = None,
) -> ThreadedServer:
    """Serve a disk, or several by name, over NBD by threads of this process, until it is closed.

    With `unix`, listen on a Unix socket at that path; with `port`, on TCP (0: any free port); with
    neither, on a Unix socket in a private directory. May be called from any thread.

        with vfloppy.serve(disk, unix="/tmp/disk.sock") as server:
            print(server.uri)

    Raise ListenError, a VfloppyError.
    """
    from ..nbd.server.threads import ThreadedServer  # noqa: PLC0415  most who open a disk serve none
    from ..process.listeners import listen_private, listen_tcp, listen_unix  # noqa: PLC0415  see below

    named = what if isinstance(what, Mapping) else {"": what}
    exports = {
        name: each.export if isinstance(each, Disk) else each for name, each in named.items()
    }
    if unix is not None:
        listener = listen_unix(unix)
    elif port is not None:
        listener = listen_tcp(host, port)
    else:
        listener = listen_private()
    return ThreadedServer(listener, exports)
