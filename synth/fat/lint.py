"""Findings: parts of a tree that a FAT disk can't hold as they are, or that readers trip over."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import option_named
from ..findings import Finding
from ..names.composing import composed
from ..tree.columns import Tree, printable
from .disk import directories_of
from .names import decode, rename_reason, units
from .notes import LONG_BOOT_NAME, long_boot_names
from .plan import FatLayout
from .records import MOST_NAME_UNITS
from .times import FIRST_STAMP, LAST_STAMP, stamp

DOS, EDK2, LINUX, MACOS, U_BOOT, WINDOWS = "DOS", "EDK2", "Linux", "macOS", "U-Boot", "Windows"
READERS = (DOS, EDK2, LINUX, MACOS, U_BOOT, WINDOWS)
ALL = READERS

_WINDOWS_PATH_UNITS = 259 - len("C:\\")
_DOS_PATH_CHARACTERS = 63
_DOS_FILE_BYTES = (1 << 31) - 1
_USUAL_ROOT_ENTRIES = 512
_LARGEST_COMMON_CLUSTER_BYTES = 32768


def lint(tree: Tree, layout: FatLayout) -> Iterator[Finding]:
    """Yield all findings: what changed on the way to the disk, then what readers trip over."""
    for skipped in tree.skipped:
        yield Finding(printable(skipped.path), "skipped", skipped.reason, ALL)
    for node, name in layout.renamed.items():
        text = f"becomes {name!r}: {rename_reason(tree.name(node))}"
        yield Finding(printable(tree.path(node)), "renamed", text, ALL)
    yield from _disk_findings(layout)
    yield from _label_findings(tree, layout)
    for node in long_boot_names(layout, tree):
        yield Finding(printable(tree.path(node)), "trips", LONG_BOOT_NAME, (DOS,))
    for ordinal in range(len(tree.directories)):
        yield from _directory_findings(tree, layout, ordinal)


def _disk_findings(layout: FatLayout) -> Iterator[Finding]:
    geometry = layout.geometry
    if geometry.fat_bits == 32:
        yield Finding("", "trips", "FAT32 is unknown to DOS before 7.1", (DOS,))
    if geometry.root_entries > _USUAL_ROOT_ENTRIES:
        text = f"a root directory of {geometry.root_entries} entries; some expect 512 or fewer"
        yield Finding("", "trips", text, (DOS,))
    if geometry.cluster_bytes > _LARGEST_COMMON_CLUSTER_BYTES:
        text = f"clusters of {geometry.cluster_bytes} bytes; 32768 are the most that all read"
        yield Finding("", "trips", text, (DOS, MACOS, U_BOOT))
    if geometry.sector_bytes != 512:
        text = f"sectors of {geometry.sector_bytes} bytes need a device that has them too"
        yield Finding("", "trips", text, ALL)
    if layout.options.partition == "gpt":
        yield Finding("", "trips", "a GPT is unknown to it", (DOS,))
    if layout.options.partition == "none" and not geometry.is_floppy:
        text = "no partition table; older versions expect one on what is no floppy"
        yield Finding("", "trips", text, (WINDOWS,))


def _label_findings(tree: Tree, layout: FatLayout) -> Iterator[Finding]:
    children = tree.children(0)
    if not layout.label or not children:
        return
    shorts = directories_of(layout, tree).names_of(0)
    for node, short in zip(children, shorts, strict=True):
        if short == layout.label.upper():
            text = (
                "the disk's label is its name, too; DOSBox and others take one for the other: pass "
                f"another {option_named('label')}"
            )
            yield Finding(printable(tree.path(node)), "clashes", text, ALL)


def _directory_findings(tree: Tree, layout: FatLayout, ordinal: int) -> Iterator[Finding]:
    folder = tree.path(tree.directories[ordinal])
    folder_units = units(folder.decode("utf-8", "replace")) + 1 if folder else 0
    seen: dict[str, str] = {}  # by what they are when they are composed
    for node in tree.children(ordinal):
        name = layout.renamed.get(node) or decode(tree.name(node))
        path = printable(tree.path(node))
        yield from _time_findings(tree, layout, node, path)
        length = folder_units + units(name)
        if length > _WINDOWS_PATH_UNITS:
            text = f"a path of {length} characters; {_WINDOWS_PATH_UNITS} is most without \\\\?\\"
            yield Finding(path, "trips", text, (WINDOWS,))
        if length > _DOS_PATH_CHARACTERS:
            text = f"a path of {length} characters; {_DOS_PATH_CHARACTERS} is most"
            yield Finding(path, "trips", text, (DOS,))
        if tree.sizes[node] > _DOS_FILE_BYTES:
            text = "2 GiB or more; some programs count with a sign"
            yield Finding(path, "trips", text, (DOS, U_BOOT))
        if not name.isascii():
            yield from _unicode_findings(path, name, seen)
        if units(name) == MOST_NAME_UNITS:
            yield Finding(path, "trips", "a name of 255 characters, the very most", (EDK2, U_BOOT))


def _time_findings(tree: Tree, layout: FatLayout, node: int, path: str) -> Iterator[Finding]:
    when = stamp(tree.mtimes_ns[node], layout.options.zone)
    if when in {FIRST_STAMP, LAST_STAMP}:
        text = "its time is outside of 1980 to 2107"
        yield Finding(path, "clamped", text, ALL)


def _unicode_findings(path: str, name: str, seen: dict[str, str]) -> Iterator[Finding]:
    if any(character > "\uffff" for character in name):
        yield Finding(path, "trips", "characters beyond U+FFFF", (DOS, EDK2, U_BOOT))
    else:
        yield Finding(path, "trips", "characters beyond ASCII; shows the 8.3 name", (DOS,))
    form = composed(name)
    if form != name:
        yield Finding(
            path,
            "trips",
            f"not composed; {option_named('normalize', 'nfc')} would do that",
            (MACOS,),
        )
    twin = seen.setdefault(form, path)
    if twin != path:
        yield Finding(path, "trips", f"the same as {twin} once composed", (MACOS,))
