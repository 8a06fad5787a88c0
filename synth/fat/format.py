"""FAT as one of the formats."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from ...errors import OptionError, PlanError, option_named
from ...options import Option, Values, excluding
from ..findings import Finding
from ..formats import Format, Names, Order, Renamed, Times
from ..image.files import FileSource
from ..image.image import Image
from ..names.composing import composed
from ..names.upcase import fold
from ..tree.columns import Tree, printable
from . import lint
from .attributes import attribute_rule
from .disk import directories_of, disk
from .labels import check_label
from .names import rename_reason
from .notes import notes
from .options import NATURAL, NOT_OF_FLOPPIES, OPTIONS
from .ordering import NamesInOrder, patterns_of
from .plan import FatLayout, FatOptions, plan

# Bytes to leave free on a disk that is to be written, unless its size was given: as many as fit.
_ROOM = (1 << 30, 256 << 20, 64 << 20, 16 << 20, 4 << 20, 1 << 20)
_TIMES = (datetime(1980, 1, 1), datetime(2107, 12, 31, 23, 59, 58), 2)


class Fat(Format[FatLayout]):
    """FAT12, FAT16 and FAT32, by themselves or in a partition."""

    name: ClassVar[str] = "fat"
    options: ClassVar[tuple[Option, ...]] = OPTIONS
    readers: ClassVar[tuple[str, ...]] = lint.READERS
    reader: ClassVar[str] = "pyfatfs"

    def check(self, values: Values, given: Collection[str]) -> None:
        """See `Format.check`."""
        _check(values, given)

    def fold(self, values: Values) -> Callable[[str], str]:
        """See `Format.fold`."""
        if values["normalize"] is None:
            return fold
        return lambda name: fold(composed(name))

    def order(self, values: Values) -> Order | None:
        """See `Format.order`."""
        patterns = patterns_of(values["order"], values["order_from"])
        is_natural = NATURAL in values["order"]
        return NamesInOrder(patterns, is_natural).key_in if patterns or is_natural else None

    def plan(self, tree: Tree, values: Values, inner: Mapping[str, int]) -> FatLayout:  # noqa: ARG002
        """See `Format.plan`."""
        options = _planned(values)
        if not values["writable"] or values["size"] or values["floppy"]:
            return plan(tree, options)
        for free in _ROOM:
            with suppress(PlanError):
                return plan(tree, options._replace(free=free))
        return plan(tree, options)

    def image(
        self,
        layout: FatLayout,
        tree: Tree,
        source: FileSource,
        inner: Mapping[str, Image],  # noqa: ARG002  FAT holds none
    ) -> Image:
        """See `Format.image`."""
        return disk(layout, tree, source)

    def title(self, layout: FatLayout) -> str:
        """See `Format.title`."""
        return f"FAT{layout.geometry.fat_bits}"

    def renamed(self, layout: FatLayout, tree: Tree) -> Iterator[Renamed]:
        """See `Format.renamed`."""
        for node, name in layout.renamed.items():
            yield Renamed(printable(tree.path(node)), name, rename_reason(tree.name(node)))

    def renamed_count(self, layout: FatLayout) -> int:
        """See `Format.renamed_count`."""
        return len(layout.renamed)

    def entries(self, layout: FatLayout, tree: Tree) -> Iterator[dict[str, Any]]:
        """See `Format.entries`."""
        directories = directories_of(layout, tree)
        for node in range(1, len(tree)):
            entry: dict[str, Any] = {
                "long_name": directories.long_name(node),
                "short_name": directories.short_name(node),
                "first_cluster": directories.first_cluster(node),
            }
            if node in layout.renamed:
                entry["renamed"] = rename_reason(tree.name(node))
            yield entry

    def lint(self, layout: FatLayout, tree: Tree) -> Iterator[Finding]:
        """See `Format.lint`."""
        return lint.lint(tree, layout)

    def usual_readers(self, layout: FatLayout) -> set[str]:  # noqa: ARG002
        """See `Format.usual_readers`. DOS trips over most."""
        return set(lint.READERS) - {lint.DOS}

    def notes(self, layout: FatLayout, tree: Tree) -> Sequence[str]:
        """See `Format.notes`."""
        return notes(layout, tree)

    def measures(self, layout: FatLayout) -> str:
        """See `Format.measures`: as a BIOS counts the disk, if it can."""
        geometry = layout.geometry
        cylinders, rest = divmod(layout.disk_sectors, geometry.heads * geometry.sectors_per_track)
        if rest or geometry.sector_bytes != 512 or geometry.fat_bits == 32:
            return ""
        return (
            f"{cylinders} cylinders, {geometry.heads} heads, {geometry.sectors_per_track} sectors"
        )

    def device(self, layout: FatLayout) -> str:
        """See `Format.device`."""
        return "/dev/sda" if layout.options.partition == "none" else "/dev/sda1"

    def drive(self, layout: FatLayout) -> str:  # noqa: ARG002
        """See `Format.drive`."""
        return "if=virtio"

    def names(self, layout: FatLayout, tree: Tree) -> Sequence[Names]:
        """See `Format.names`."""
        return (Names("long names", "/", directories_of(layout, tree).long_name),)

    def times(self, layout: FatLayout) -> Times:
        """See `Format.times`."""
        return Times(*_TIMES, zone=layout.options.zone, latest_ns=layout.options.latest_ns)


def _check(values: Values, given: Collection[str]) -> None:
    """Raise OptionError or PlanError for options that contradict each other, or those given."""
    if values["label"] is not None:
        check_label(values["label"])
    if values["floppy"]:
        excluding("floppy", NOT_OF_FLOPPIES, given)
    elif values["partition"] == "none":
        none = option_named("partition", "none")
        marks = ["esp"] + ["active"] * ("active" in given)  # that of a preset has nothing to mark
        for name in marks:
            if values[name]:
                raise OptionError(f"{option_named(name)} marks a partition; it goes without {none}")
        if values["mbr_code"]:
            code = option_named("mbr_code")
            raise OptionError(f"{code} goes before a partition table; here is none")
    cluster_size, sector_size = values["cluster_size"], values["sector_size"]
    if cluster_size and int(cluster_size) < int(sector_size):
        raise OptionError(
            f"{option_named('cluster_size', cluster_size)} is less than one sector of "
            f"{sector_size} bytes"
        )


def _planned(values: Values) -> FatOptions:
    """Return the options as the planner has them."""
    is_free, count = values["size"] or (False, 0)
    cluster_size = values["cluster_size"]
    return FatOptions(
        label=values["label"],
        fat_bits=None if values["fat"] == "auto" else int(values["fat"]),
        size=count if values["size"] and not is_free else None,
        free=count if is_free else 0,
        cluster_bytes=int(cluster_size) if cluster_size else None,
        sector_bytes=int(values["sector_size"]),
        partition=values["partition"],
        esp=values["esp"],
        floppy=values["floppy"],
        volume_id=values["volume_id"],
        zone=UTC if values["utc"] else None,
        latest_ns=values["source_date_epoch"],
        hide_dotfiles=values["hide_dotfiles"],
        attributes=tuple(map(attribute_rule, values["attrib"])),
        active=values["active"],
        whole_cylinders=values["whole_cylinders"],
        has_first_files=bool(patterns_of(values["order"], values["order_from"])),
        normalize=values["normalize"] == "nfc",
        strict=values["strict"],
        cache_bytes=values["cache_size"],
        boot_sector=values["boot_sector"],
        mbr_code=values["mbr_code"],
    )


FORMAT = Fat()
