"""A tree as a disk of either format, for tests that hold both against the same promises."""

from __future__ import annotations

from vfloppy.synth.fat.disk import disk as fat_disk
from vfloppy.synth.fat.plan import plan as fat_plan
from vfloppy.synth.host import ScannedFiles
from vfloppy.synth.image import Image
from vfloppy.synth.iso.disk import disk as iso_disk
from vfloppy.synth.iso.plan import plan as iso_plan
from vfloppy.synth.tree import Tree


def disk_of(tree: Tree, form: str, files: ScannedFiles) -> Image:
    """`form` is fat or iso. Raises PlanError."""
    if form == "fat":
        return fat_disk(fat_plan(tree), tree, files)
    return iso_disk(iso_plan(tree), tree, files)
