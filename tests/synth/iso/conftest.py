"""Images of small trees, and what they hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vfloppy.synth.host.files import HostFiles
from vfloppy.synth.image.image import Image
from vfloppy.synth.image.section import Section
from vfloppy.synth.iso.disk import disk
from vfloppy.synth.iso.layout import IsoLayout, IsoOptions
from vfloppy.synth.iso.plan import plan
from vfloppy.synth.scanning.merging import Made as MadeFile
from vfloppy.synth.scanning.scan import ScanOptions, scan
from vfloppy.synth.tree.columns import Tree

Made = tuple[Tree, IsoLayout, Image]


@pytest.fixture
def make() -> Callable[..., Made]:
    """Makes the image of a directory: `make(root, level=1)`."""

    def make_image(root, uefi_image: Section | None = None, **options) -> Made:
        rock_ridge = options.get("rock_ridge", True)
        made = []
        if uefi_image:
            options = {"boot_uefi": "efi.made", "uefi_is_made": True, **options}
            made = [MadeFile(options["boot_uefi"], uefi_image.size, 10**18, "why")]
        tree = scan(
            str(root),
            ScanOptions(
                symlinks="keep" if rock_ridge else "skip",
                keep_special_files=rock_ridge,
                owners=True,
            ),
            made=made,
        )
        layout = plan(tree, IsoOptions(**options))
        return tree, layout, disk(layout, tree, HostFiles(tree), uefi_image)

    return make_image
