"""Findings: parts of a tree that an ISO 9660 image can't hold as they are, or readers trip over."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import option_named
from ..findings import Finding
from ..names.upcase import fold
from ..tree.columns import Tree, printable
from .dates import FIRST_SECOND, LAST_SECOND
from .facets import Joliet, Primary
from .layout import IsoLayout
from .records import MOST_EXTENT_BYTES, MOST_PARENT_NUMBER
from .rockridge import LINUX_NAME_BYTES

LEVEL_1, LINUX, MACOS, WINDOWS, XORRISO = "level 1", "Linux", "macOS", "Windows", "xorriso"
READERS = ALL = (LEVEL_1, LINUX, MACOS, WINDOWS, XORRISO)
_MOST_LEVELS = 8  # of directories, the root included (ECMA-119, 6.8.2.1)
_LINUX_EXTENTS = 100  # fs/isofs/inode.c: of a file of more, the rest is not there
_XORRISO_TARGET_BYTES = 1023  # of a link that leads further, libisofs reads no image
_WINDOWS_PATH_UNITS = 259 - len("D:\\")


def lint(tree: Tree, layout: IsoLayout) -> Iterator[Finding]:
    """Yield all findings: what changed on the way to the image, then what readers trip over."""
    options = layout.options
    for skipped in tree.skipped:
        yield Finding(printable(skipped.path), "skipped", skipped.reason, ALL)
    for node, name in layout.renamed.items():
        text = f"becomes {name!r}" + (
            " in Joliet" if options.rock_ridge else ": there is no Rock Ridge"
        )
        readers = (WINDOWS,) if options.rock_ridge else ALL
        yield Finding(printable(tree.path(node)), "renamed", text, readers)
    if not options.joliet and not options.rock_ridge:
        yield Finding("", "trips", "names are capitals, digits and _ only", (WINDOWS, MACOS, LINUX))
    elif not options.joliet:
        yield Finding("", "trips", "no Joliet: shows short names in capitals", (WINDOWS,))
    elif not options.rock_ridge:
        yield Finding("", "trips", "no Rock Ridge: modes and links are unknown", (LINUX, MACOS))
    yield from _path_table_findings(tree, layout)
    plain = Primary(tree, None, 1)
    for ordinal in range(len(tree.directories)):
        yield from _directory_findings(tree, layout, ordinal)
        children = tree.children(ordinal)
        if children:
            yield from _name_findings(tree, layout, children, plain)


def _path_table_findings(tree: Tree, layout: IsoLayout) -> Iterator[Finding]:
    order = (layout.joliet_layout or layout.primary_layout).path_order
    for number, ordinal in enumerate(order[MOST_PARENT_NUMBER:], MOST_PARENT_NUMBER + 1):
        if tree.subdirectories(ordinal):
            folder = printable(tree.path(tree.directories[ordinal]))
            text = f"directory {number} of a path table: it doesn't find the directories in it"
            yield Finding(folder, "trips", text, (LEVEL_1, WINDOWS))


def _directory_findings(tree: Tree, layout: IsoLayout, ordinal: int) -> Iterator[Finding]:
    node = tree.directories[ordinal]
    folder = printable(tree.path(node))
    levels = folder.count("/") + 2 if folder else 1
    if levels > _MOST_LEVELS:
        text = f"{levels} levels deep; ISO 9660 has {_MOST_LEVELS}, newer readers have no limit"
        yield Finding(folder, "trips", text, (LEVEL_1,))
    for child in tree.children(ordinal):
        second = tree.mtimes_ns[child] // 1_000_000_000
        size = tree.sizes[child]
        doubts = second < FIRST_SECOND or second > LAST_SECOND or size > MOST_EXTENT_BYTES
        if not doubts and child not in tree.targets and child not in tree.rdevs:
            continue
        path = printable(tree.path(child))
        if second < FIRST_SECOND or second > LAST_SECOND:
            yield Finding(path, "clamped", "its time is outside of 1900 to 2155", ALL)
        if size > MOST_EXTENT_BYTES:
            text = "4 GiB or more: several extents, of which some readers take the first only"
            yield Finding(path, "trips", text, (LEVEL_1, MACOS))
        if size > _LINUX_EXTENTS * MOST_EXTENT_BYTES:
            text = f"in more than {_LINUX_EXTENTS} extents (400 GiB): it reads no further"
            yield Finding(path, "trips", text, (LINUX,))
        target = len(tree.targets.get(child, b""))
        if layout.options.rock_ridge and target > _XORRISO_TARGET_BYTES:
            text = f"a link of {target} bytes; with more than {_XORRISO_TARGET_BYTES} it reads none"
            yield Finding(path, "trips", f"{text} of the image", (XORRISO,))
        if layout.options.joliet and (child in tree.targets or child in tree.rdevs):
            text = "neither file nor directory: is not in Joliet's tree"
            yield Finding(path, "trips", text, (WINDOWS,))


def _name_findings(
    tree: Tree, layout: IsoLayout, children: range, plain: Primary
) -> Iterator[Finding]:
    """Yield what Joliet and a reader that knows level 1 only make of names that others see
    whole.
    """
    folder = tree.path(tree.directories[tree.parent(children.start)])
    folder_units = len(folder.decode("utf-8", "replace")) + 1 if folder else 0
    if isinstance(layout.joliet, Joliet):
        folded: dict[str, str] = {}
        for node, name in zip(children, layout.joliet.names(children), strict=True):
            twin = folded.setdefault(fold(name), name)
            if twin != name:
                text = f"the same as {twin} but for capitals"
                yield Finding(printable(tree.path(node)), "trips", text, (WINDOWS,))
            length = folder_units + len(name)
            if length > _WINDOWS_PATH_UNITS:
                text = f"a path of {length} characters; {_WINDOWS_PATH_UNITS} is most"
                yield Finding(printable(tree.path(node)), "trips", text, (WINDOWS,))
    if layout.options.rock_ridge:
        for node in children:
            length = len(tree.name(node))
            if length > LINUX_NAME_BYTES:
                text = f"a name of {length} bytes; it shows {LINUX_NAME_BYTES} at most"
                yield Finding(printable(tree.path(node)), "trips", text, (LINUX,))
    for node, name in plain.changed_names(children, plain.identifiers(children)).items():
        path = printable(tree.path(node))
        if layout.options.level == 1:
            yield Finding(path, "trips", f"becomes {name!r}", (LEVEL_1,))
        else:
            yield Finding(
                path,
                "trips",
                f"no name of 8.3; {option_named('iso_level', 1)} makes one",
                (LEVEL_1,),
            )
