"""ISO 9660 as one of the formats."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from ...errors import OptionError, option_named
from ...options import Option, Values, excluding
from ..findings import Finding
from ..forks import Forked, may_fork
from ..formats import Format, InnerDisk, Names, OwnFile, Patch, Renamed, Times
from ..image.files import FileSource
from ..image.image import Image
from ..tree.columns import Tree, printable
from . import lint
from .disk import catalogue_of, disk
from .facets import Facet
from .hiding import APPENDED
from .layout import DEFAULT_UEFI_PATH, IsoLayout, IsoOptions, Texts
from .options import OPTIONS
from .plan import Aside, Work, plan
from .posix import Posix
from .records import (
    BLOCK_BYTES,
    BOOT_INFO_END,
    BOOT_INFO_OFFSET,
    BOOT_INFO_TABLE_START,
    SYSTEM_BLOCKS,
)
from .volume import check_text

_UEFI_DIRECTORY = "boot_uefi_dir"
_WORTH_A_PROCESS = 20_000  # files


_TEXTS = {
    "label": "volume",
    "system_id": "system",
    "volume_set": "volume_set",
    "publisher": "publisher",
    "preparer": "preparer",
    "application": "application",
}
_TIMES = (datetime(1900, 1, 1), datetime(2155, 12, 31, 23, 59, 59), 1)
_JOLIET_SLASH = "/".encode("utf-16-be")
# What is patched in a boot file (mkisofs, -boot-info-table), and GRUB's list of blocks.
_PATCHED = (range(8, 64), range(2548, 2560))
_STARTED = ("boot_bios", "boot_uefi", "boot_uefi_dir", "boot_uefi_append")
_ABOUT = {
    "boot_bios": ("boot_load_size", "boot_info_table", "boot_floppy"),
    _UEFI_DIRECTORY: ("boot_uefi_fat", "boot_uefi_size", "boot_uefi_label"),
}
"""Options about what another one names."""


class Iso(Format[IsoLayout]):
    """ISO 9660 with Rock Ridge, Joliet and El Torito."""

    name: ClassVar[str] = "iso"
    options: ClassVar[tuple[Option, ...]] = OPTIONS
    readers: ClassVar[tuple[str, ...]] = lint.READERS
    reader: ClassVar[str] = "pycdlib"

    def check(self, values: Values, given: Collection[str]) -> None:
        """See `Format.check`."""
        _check(values, given)

    def keeps_links(self, values: Values) -> bool:
        """See `Format.keeps_links`."""
        return bool(values["rock_ridge"])

    def inner_disks(self, values: Values) -> Sequence[InnerDisk]:
        """See `Format.inner_disks`: a FAT that holds what UEFI starts."""
        directory = values[_UEFI_DIRECTORY]
        if not directory:
            return ()
        common = {"label": values["boot_uefi_label"], "partition": "none"}
        is_free, size = values["boot_uefi_size"] or (True, 0)
        if values["boot_uefi_size"]:
            common["size"] = f"{'+' if is_free else ''}{size}"
        fat = values["boot_uefi_fat"]
        types = ("12", "16", "32") if fat == "auto" and is_free else (fat,)
        if fat == "32" and is_free:  # or it would have 256 MiB at least
            common["cluster_size"] = "512"
        attempts = [{**common, "fat": each} for each in types]
        path = values["boot_uefi"] or DEFAULT_UEFI_PATH
        return (InnerDisk(_UEFI_DIRECTORY, directory, "fat", attempts, path, "boot_uefi"),)

    def grafts(self, values: Values) -> Sequence[tuple[str, str]]:
        """See `Format.grafts`: with the host's file that becomes a partition."""
        appended = values["boot_uefi_append"]
        return [*values["graft"], (APPENDED, appended)] if appended else values["graft"]

    def own_files(self, values: Values) -> Sequence[OwnFile]:
        """See `Format.own_files`: the boot catalogue."""
        path = values["boot_catalogue"]
        return [OwnFile(path, BLOCK_BYTES, values["volume_date"] or 0)] if path else ()

    def own_contents(self, layout: IsoLayout) -> Mapping[int, bytes]:
        """See `Format.own_contents`."""
        node = layout.catalogue_node
        return {} if node is None else {node: catalogue_of(layout)}

    def plan(self, tree: Tree, values: Values, inner: Mapping[str, int]) -> IsoLayout:
        """See `Format.plan`."""
        return plan(tree, _planned(values, inner), _aside(tree, values["processes"]))

    def image(
        self, layout: IsoLayout, tree: Tree, source: FileSource, inner: Mapping[str, Image]
    ) -> Image:
        """See `Format.image`."""
        return disk(layout, tree, source, inner.get(_UEFI_DIRECTORY))

    def title(self, layout: IsoLayout) -> str:  # noqa: ARG002
        """See `Format.title`."""
        return "ISO 9660"

    def renamed(self, layout: IsoLayout, tree: Tree) -> Iterator[Renamed]:
        """See `Format.renamed`."""
        where = "Joliet" if layout.options.rock_ridge else ""
        reason = f"{'in Joliet' if where else 'without Rock Ridge'}, characters, length, or another"
        for node, name in layout.renamed.items():
            path = printable(tree.path(node))
            yield Renamed(path, name, f"{reason} one like it", where)

    def renamed_count(self, layout: IsoLayout) -> int:
        """See `Format.renamed_count`."""
        return len(layout.renamed)

    def entries(self, layout: IsoLayout, tree: Tree) -> Iterator[dict[str, Any]]:
        """See `Format.entries`."""
        facets: list[tuple[str, Facet, str]] = [("iso_name", layout.primary, "ascii")]
        if layout.joliet:
            facets.append(("joliet_name", layout.joliet, "utf-16-be"))
        for node in range(1, len(tree)):
            entry: dict[str, Any] = {
                key: facet.identifier(node).decode(encoding)
                for key, facet, encoding in facets
                if node not in facet.hidden
            }
            if node in tree.targets:
                entry["target"] = os.fsdecode(tree.targets[node])
            if tree.is_directory(node):
                entry["first_block"], _ = layout.primary_layout.directory_extent(tree.ordinal(node))
            elif tree.sizes[node]:
                entry["first_block"] = layout.file_block(node)
            yield entry

    def lint(self, layout: IsoLayout, tree: Tree) -> Iterator[Finding]:
        """See `Format.lint`."""
        return lint.lint(tree, layout)

    def usual_readers(self, layout: IsoLayout) -> set[str]:
        """See `Format.usual_readers`. Those that know level 1 only have to be asked for."""
        strictest = set() if layout.options.level == 1 else {lint.LEVEL_1}
        return set(lint.READERS) - strictest

    def device(self, layout: IsoLayout) -> str:  # noqa: ARG002
        """See `Format.device`."""
        return "/dev/sda"

    def drive(self, layout: IsoLayout) -> str:  # noqa: ARG002
        """See `Format.drive`."""
        return "media=cdrom"

    def names(self, layout: IsoLayout, tree: Tree) -> Sequence[Names]:
        """See `Format.names`. Rock Ridge's are those of the primary tree: it is compared once."""
        names = []
        if layout.options.rock_ridge:
            names.append(Names("Rock Ridge", b"/", tree.name, layout.primary.hidden))
        if facet := layout.joliet:
            names.append(
                Names(facet.name, _JOLIET_SLASH, facet.identifier, facet.hidden, "utf-16-be")
            )
        if not layout.options.rock_ridge:
            facet = layout.primary
            names.append(Names(facet.name, b"/", facet.identifier, facet.hidden))
        return names

    def times(self, layout: IsoLayout) -> Times:
        """See `Format.times`. Records say their zone, so that all that is found is in UTC."""
        latest_ns = layout.options.latest_ns
        return Times(*_TIMES, zone=UTC, latest_ns=latest_ns)

    def inside(self, layout: IsoLayout) -> Mapping[int, str]:
        """See `Format.inside`."""
        return {} if layout.uefi_node is None else {layout.uefi_node: _UEFI_DIRECTORY}

    def patched(self, layout: IsoLayout, tree: Tree) -> Mapping[int, Sequence[range]]:
        """See `Format.patched`."""
        options = layout.options
        node = tree.find(options.boot_bios) if options.boot_bios else None
        is_patched = node is not None and options.boot_info_table
        return {node: _PATCHED} if node is not None and is_patched else {}

    def patch_in(self, found: bytes, start: int, expected: bytes, size: int) -> Patch | None:
        """See `Format.patch_in`: a boot info table says where its file is, and how long."""
        table = BOOT_INFO_TABLE_START.pack(SYSTEM_BLOCKS, start, size)
        option = option_named("boot_bios", "PATH")
        if found[BOOT_INFO_OFFSET:].startswith(table):
            return Patch(_PATCHED, f"a boot info table on the image, which {option} expects there")
        host = expected[BOOT_INFO_OFFSET:BOOT_INFO_END]
        if host.startswith(table[:4]) and host[8:12] == table[8:]:
            text = (
                "a boot info table in the directory's own file (mkisofs and genisoimage write it)"
            )
            return Patch(_PATCHED, text)
        return None


def _aside(tree: Tree, processes: int) -> Aside:
    """Do work in another process if the tree is worth one."""

    def start(work: Work) -> Work:
        if processes < 2 or len(tree) < _WORTH_A_PROCESS or not may_fork():
            return work
        try:
            return Forked(work).result
        except OSError:  # the system allows no more processes
            return work

    return start


def _check(values: Values, given: Collection[str]) -> None:
    """Raise OptionError or PlanError for options that contradict each other, or those given.

    PlanError is for a text that a volume descriptor can't hold.
    """
    for field, text in _texts(values)._asdict().items():
        check_text(field, text)
    for what, names in _ABOUT.items():
        for name in names:
            if name in given and not values[what]:
                metavar = next(each.metavar for each in OPTIONS if each.name == what)
                raise OptionError(f"{option_named(name)} is about {option_named(what, metavar)}")
    if values["boot_catalogue"] and not _starts(values):
        raise OptionError(
            f"{option_named('boot_catalogue')} has nothing to list; {option_named('boot_bios')} or "
            f"{option_named('boot_uefi')} names something to start"
        )
    if values["boot_floppy"]:
        excluding("boot_floppy", ("boot_load_size", "boot_info_table"), given)
        if values["mbr_code"]:
            raise OptionError(
                f"{option_named('boot_floppy')} goes without {option_named('mbr_code')}, which "
                "starts no diskette"
            )
    if values["joliet_long"] and not values["joliet"]:
        raise OptionError(
            f"{option_named('joliet_long')} goes without {option_named('joliet', False)}"
        )
    for name in ("preserve", *Posix._fields):
        if values[name] is not None and values[name] is not False and not values["rock_ridge"]:
            raise OptionError(
                f"{option_named(name)} needs Rock Ridge; ISO 9660 alone has no owners"
            )
    _check_hybrid(values)


def _check_hybrid(values: Values) -> None:
    if values["boot_uefi_append"] and values["boot_uefi_dir"]:
        raise OptionError(
            f"{option_named('boot_uefi_append')} goes without {option_named('boot_uefi_dir')}: "
            "there is one partition for UEFI"
        )
    _check_volume_partition(values)
    if values["boot_uefi_append"] and not values["hybrid"]:
        raise OptionError(
            f"{option_named('boot_uefi_append')} makes a partition; pass "
            f"{option_named('hybrid', True)}, too"
        )
    if values["mbr_code"] and not values["hybrid"]:
        raise OptionError(
            f"{option_named('mbr_code')} goes into a partition table; pass "
            f"{option_named('hybrid', True)}, too"
        )
    if values["hybrid"] and not values["mbr_code"] and not _starts(values, *_STARTED[1:]):
        raise OptionError(
            f"{option_named('hybrid')} has nothing to start; pass {option_named('mbr_code')} for "
            f"BIOS, or {option_named('boot_uefi')} or {option_named('boot_uefi_dir')}"
        )


def _texts(values: Values) -> Texts:
    """Return the texts of the volume descriptors, without those that nobody gave."""
    given = {field: values[option] for option, field in _TEXTS.items()}
    return Texts(**{field: text for field, text in given.items() if text is not None})


def _check_volume_partition(values: Values) -> None:
    if not values["volume_partition"]:
        return
    if not values["hybrid"]:
        raise OptionError(
            f"{option_named('volume_partition')} is one of {option_named('hybrid', True)}, which "
            "makes partition tables"
        )
    if not values["boot_uefi_append"] and (values["boot_uefi"] or values["boot_uefi_dir"]):
        raise OptionError(
            f"{option_named('volume_partition')} would overlap the image for UEFI, which is a file "
            f"of the tree; {option_named('boot_uefi_append', 'FILE')} is a partition behind it"
        )


def _starts(values: Values, *names: str) -> bool:
    """Return whether options name something to start."""
    return any(values[name] for name in names or _STARTED)


def _planned(values: Values, inner: Collection[str]) -> IsoOptions:
    """Return the options as the planner has them."""
    is_floppy = values["boot_floppy"]
    return IsoOptions(
        level=int(values["iso_level"]),
        rock_ridge=values["rock_ridge"],
        joliet=values["joliet"],
        joliet_long=values["joliet_long"],
        preserve=values["preserve"],
        posix=Posix(**{name: values[name] for name in Posix._fields}),
        limit_pathtables=values["limit_pathtables"],
        texts=_texts(values),
        created_ns=values["volume_date"],
        zone=UTC if values["utc"] else None,
        latest_ns=values["source_date_epoch"],
        padding=values["padding"],
        boot_bios=values["boot_bios"],
        boot_load_size=1 if is_floppy else values["boot_load_size"],
        boot_floppy=is_floppy,
        boot_info_table=values["boot_info_table"] and not is_floppy,
        volume_partition=values["volume_partition"],
        boot_uefi_append=bool(values["boot_uefi_append"]),
        hide=values["hide"],
        hide_joliet=values["hide_joliet"],
        boot_catalogue=values["boot_catalogue"],
        boot_uefi=values["boot_uefi"] or (DEFAULT_UEFI_PATH if inner else None),
        uefi_is_made=_UEFI_DIRECTORY in inner,
        hybrid=values["hybrid"],
        mbr_code=values["mbr_code"],
        strict=values["strict"],
        cache_bytes=values["cache_size"],
    )


FORMAT = Iso()
