"""vfloppy: any directory is a disk, computed block by block as somebody reads it.

    import vfloppy

    disk = vfloppy.open_disk("/some/directory")              # a FAT32 disk; nothing is read yet
    disk.write_to("disk.img")                                # the same bytes that are served
    with vfloppy.serve(disk, unix="/tmp/disk.sock") as server:
        print(server.uri)                                    # for QEMU, guestfish, nbdcopy

docs/library.md has more. What the user can do something about is raised as VfloppyError; a file
that has changed since it was scanned as HostReadError, which is one, and an OSError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .errors import OptionError, PlanError, ScanError, VfloppyError, WriteError
    from .export import Export, HostReadError, Reader
    from .library.api import open_disk, serve
    from .library.disk import Disk, DiskFile

# Imported when they are first asked for: the command line needs few of them to say `--help`.
_HOMES = {
    "Disk": "library.disk",
    "DiskFile": "library.disk",
    "Export": "export",
    "HostReadError": "export",
    "OptionError": "errors",
    "PlanError": "errors",
    "Reader": "export",
    "ScanError": "errors",
    "VfloppyError": "errors",
    "WriteError": "errors",
    "open_disk": "library.api",
    "serve": "library.api",
}

__all__ = [
    "Disk",
    "DiskFile",
    "Export",
    "HostReadError",
    "OptionError",
    "PlanError",
    "Reader",
    "ScanError",
    "VfloppyError",
    "WriteError",
    "open_disk",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  cheap, and not needed for --version

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
