"""Notes: what of a disk is not as its options have it, in sentences for whoever gave them."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import option_named
from ..tree.columns import Tree, printable
from .plan import FatLayout

# The first entries of the root, of which loaders read no more than eight characters and three.
_BOOTED = {b"IO.SYS", b"MSDOS.SYS", b"IBMBIO.COM", b"IBMDOS.COM"}


def notes(layout: FatLayout, tree: Tree) -> list[str]:
    """Return all notes."""
    options = layout.options
    found = []
    label = layout.label.decode().rstrip()
    if options.label is not None and options.label.rstrip() != label:
        found.append(f"label {options.label!r} is stored in capitals: {label!r}")
    size = layout.disk_sectors * layout.geometry.sector_bytes
    if options.size is not None and options.size != size:
        found.append(
            f"{option_named('size', options.size)} is rounded down to {size} bytes, whole cylinders"
        )
    if (options.boot_sector or b"")[3:11] == b"SYSLINUX":
        found.append(
            f"{option_named('boot_sector')} is SYSLINUX's, which holds the place of ldlinux.sys on "
            "the disk that it is from; `syslinux --install` writes the right one into an image"
        )
    for node in long_boot_names(layout, tree):
        path = printable(tree.path(node))
        found.append(f"{path}: {LONG_BOOT_NAME}")
    return found


LONG_BOOT_NAME = (
    "in small letters it has a long name, which stands where DOS's loader looks for the file; "
    "name it in capitals"
)


def long_boot_names(layout: FatLayout, tree: Tree) -> Iterator[int]:
    """Yield files of DOS at the start of the root whose names take more than one slot there."""
    if not layout.contents_first:
        return
    for node in tree.children(0)[:2]:
        slots = layout.slot_starts[node + 1] - layout.slot_starts[node]
        if slots > 1 and tree.name(node).upper() in _BOOTED:
            yield node
