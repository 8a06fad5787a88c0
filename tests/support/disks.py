"""A tree as a disk of either format, for tests that hold both against the same promises."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Any

from vfloppy.export import Alerts
from vfloppy.synth.fat.disk import disk as fat_disk
from vfloppy.synth.fat.plan import plan as fat_plan
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.host.leases import has_leases as grants_leases
from vfloppy.synth.image.files import Files, FileSource
from vfloppy.synth.image.image import Image
from vfloppy.synth.iso.disk import disk as iso_disk
from vfloppy.synth.iso.plan import plan as iso_plan
from vfloppy.synth.tree.columns import Tree


class CheckedFiles(HostFiles):
    """Files of a host that grants no leases: they are checked at each read."""

    def open(self, alerts: Alerts | None = None) -> Files:
        """See `FileSource.open`."""
        return super().open(None)


def files_of(tree: Tree, *, leases: bool = True, **options: Any) -> FileSource:
    """The files of a tree for a server, which has leases taken where there are any."""
    return (HostFiles if leases else CheckedFiles)(tree, **options)


def has_leases(folder: Path) -> bool:
    """Whether files of a folder can be put under lease."""
    with tempfile.TemporaryFile(dir=folder) as file:
        reading = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)
    try:
        fcntl.fcntl(reading, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    else:
        return grants_leases(reading)
    finally:
        os.close(reading)


def disk_of(tree: Tree, form: str, files: FileSource) -> Image:
    """`form` is fat or iso. Raises PlanError."""
    if form == "fat":
        return fat_disk(fat_plan(tree), tree, files)
    return iso_disk(iso_plan(tree), tree, files)
