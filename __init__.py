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
    from .export import Export, HostReadError, Reader, Writer
    from .filters.filter import Filter, FilterReader, RequestReader
    from .filters.header import OverlayError
    from .library.api import DiskOptions, check, open_config, open_disk
    from .library.disk import Disk
    from .library.file import DiskFile
    from .library.harvesting import (
        BroughtHome,
        apply_found,
        apply_overlay,
        find_changes,
        open_overlay,
    )
    from .library.serving import serve, serve_forever
    from .library.sources import open_source
    from .library.types import Change, Changes, Finding, Region, Renamed
    from .library.verify import Difference

# Imported when they are first asked for: the command line needs few of them to say `--help`.
_HOMES = {
    "Change": "library.types",
    "Changes": "library.types",
    "Difference": "library.verify",
    "Disk": "library.disk",
    "DiskFile": "library.file",
    "DiskOptions": "library.api",
    "Export": "export",
    "Filter": "filters.filter",
    "FilterReader": "filters.filter",
    "Finding": "library.types",
    "HostReadError": "export",
    "OptionError": "errors",
    "OverlayError": "filters.header",
    "PlanError": "errors",
    "Reader": "export",
    "Region": "library.types",
    "Renamed": "library.types",
    "RequestReader": "filters.filter",
    "ScanError": "errors",
    "VfloppyError": "errors",
    "WriteError": "errors",
    "Writer": "export",
    "check": "library.api",
    "BroughtHome": "library.harvesting",
    "apply_found": "library.harvesting",
    "apply_overlay": "library.harvesting",
    "find_changes": "library.harvesting",
    "open_config": "library.api",
    "open_disk": "library.api",
    "open_overlay": "library.harvesting",
    "open_source": "library.sources",
    "serve": "library.serving",
    "serve_forever": "library.serving",
}

__all__ = [
    "BroughtHome",
    "Change",
    "Changes",
    "Difference",
    "Disk",
    "DiskFile",
    "DiskOptions",
    "Export",
    "Filter",
    "FilterReader",
    "Finding",
    "HostReadError",
    "OptionError",
    "OverlayError",
    "PlanError",
    "Reader",
    "Region",
    "Renamed",
    "RequestReader",
    "ScanError",
    "VfloppyError",
    "WriteError",
    "Writer",
    "apply_found",
    "apply_overlay",
    "check",
    "find_changes",
    "open_config",
    "open_disk",
    "open_overlay",
    "open_source",
    "serve",
    "serve_forever",
]


if not TYPE_CHECKING:  # type checkers would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  cheap, and not needed for --version

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
