"""A tree and options become a layout, by arithmetic alone: names, records, blocks.

Nothing here reads a file, the clock or the environment, and nothing is random.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import TypeAlias

from ...errors import PlanError, option_named
from ..tree.columns import Tree, printable, some_paths
from .continuations import Continuations
from .dates import NodeDates
from .directories import FacetLayout, path_record_bytes
from .facets import Facet, Joliet, Primary
from .hiding import APPENDED, hidden_nodes
from .layout import GRUB_BLOCK_LIST, IsoLayout, IsoOptions, Start
from .names import JOLIET_CHARACTERS, JOLIET_LONG_CHARACTERS
from .places import (
    JOLIET_PARTS,
    PRIMARY_PARTS,
    Part,
    blocks_of,
    page_starts,
    place_parts,
    tail_blocks,
)
from .records import (
    BLOCK_BYTES,
    BOOT_INFO_END,
    FLOPPY_MEDIA,
    MOST_BLOCKS,
    MOST_EXTENT_BYTES,
    MOST_PARENT_NUMBER,
    PADDING_BLOCKS,
    SYSTEM_BLOCKS,
)
from .rockridge import ER, Attributes, RockRidge, hard_links
from .second import placed, second_layouts, second_parts

Work: TypeAlias = Callable[[], FacetLayout]
Aside: TypeAlias = Callable[[Work], Work]


def plan(
    tree: Tree,
    options: IsoOptions | None = None,
    aside: Aside = lambda work: work,
) -> IsoLayout:
    """Lay a tree out.

    `aside` may start some work elsewhere, and returns what gives its result.
    Raise PlanError when it doesn't fit.
    """
    options = options or IsoOptions()
    return _Plan(tree, options, aside).layout()


class _Plan:
    """One plan under way."""

    def __init__(self, tree: Tree, options: IsoOptions, aside: Aside) -> None:
        self._tree = tree
        self._aside = aside
        self._options = options
        self._created_ns = _created_ns(tree, options)
        self._dates = NodeDates(
            tree, zone=options.zone, latest_ns=options.latest_ns, root_ns=self._created_ns
        )
        self._appended = tree.find(APPENDED) if options.boot_uefi_append else None
        if self._appended is not None and not tree.sizes[self._appended]:
            raise PlanError(f"{option_named('boot_uefi_append')}: the file of the host is empty")
        self._first_links, counts = hard_links(tree, but=self._appended)
        rock_ridge = None
        if options.rock_ridge:
            attributes = Attributes(
                tree, self._dates, options.preserve, self._first_links, counts, options.posix
            )
            rock_ridge = RockRidge(attributes, Continuations(end=len(ER)))
        everywhere = frozenset() if self._appended is None else {self._appended}
        hidden = everywhere | hidden_nodes(tree, options.hide, "hide")
        self._primary = Primary(tree, rock_ridge, options.level, options.cache_bytes, hidden)
        self._joliet: Joliet | None = None
        if options.joliet:
            most = JOLIET_LONG_CHARACTERS if options.joliet_long else JOLIET_CHARACTERS
            hidden = everywhere | hidden_nodes(tree, options.hide_joliet, "hide_joliet")
            self._joliet = Joliet(tree, most, options.cache_bytes, hidden)

    def layout(self) -> IsoLayout:
        tree, options = self._tree, self._options
        self._check_sizes()
        bios_node, uefi_node, boot_file = self._boot_nodes()
        measure = partial(_measure, limit=options.limit_pathtables)
        measured = self._aside(partial(measure, self._joliet, True)) if self._joliet else None
        # Beside another one, nobody takes its names for those of the host.
        only_facet = not options.joliet and not options.rock_ridge
        primary = measure(self._primary, only_facet)
        joliet = measured() if measured else None
        renamed = (joliet or primary).renamed
        self._check_strict(renamed)
        boots = {bios_node, uefi_node, self._appended} != {None}
        made_node = uefi_node if options.uefi_is_made else None
        catalogue_node = tree.find(options.boot_catalogue) if options.boot_catalogue else None
        file_sizes = self._own_sizes(boot_file, made_node, catalogue_node, self._appended)
        file_starts = self._file_starts(file_sizes)
        apart = {
            part: 0 if node is None else tree.sizes[node]
            for part, node in (
                (Part.BOOT_FILE, boot_file),
                (Part.UEFI_IMAGE, made_node),
                (Part.APPENDED, self._appended),
            )
        }
        places = self._places(primary, joliet, boots, apart, file_starts[-1])
        layout = IsoLayout(
            options=options,
            identity=self._identity(),
            created_ns=self._created_ns,
            dates=self._dates,
            primary=self._primary,
            primary_layout=placed(primary, places, PRIMARY_PARTS),
            joliet=self._joliet,
            joliet_layout=joliet and placed(joliet, places, JOLIET_PARTS),
            second_layouts=second_layouts(primary, joliet, places),
            places=places,
            boot_file=boot_file,
            uefi_node=made_node,
            catalogue_node=catalogue_node,
            appended_node=self._appended,
            bios=None,
            uefi=None,
            first_file_block=places[Part.CONTENTS].start,
            file_starts=file_starts,
            file_sizes=file_sizes,
            first_links=self._first_links,
            renamed=renamed,
        )

        def start(node: int | None) -> Start | None:
            return None if node is None else Start(layout.file_block(node), tree.sizes[node])

        appended = start(self._appended)
        return layout._replace(bios=start(bios_node), uefi=start(uefi_node) or appended)

    def _places(
        self,
        primary: FacetLayout,
        joliet: FacetLayout | None,
        boots: bool,
        apart_bytes: Mapping[Part, int],
        content_blocks: int,
    ) -> dict[Part, range]:
        """Return the blocks of each part of the image. Raise PlanError if they are too many."""
        options = self._options
        places = place_parts(
            {
                Part.SYSTEM_AREA: SYSTEM_BLOCKS,
                Part.PRIMARY_DESCRIPTOR: 1,
                Part.BOOT_RECORD: int(boots),
                Part.JOLIET_DESCRIPTOR: int(bool(joliet)),
                Part.TERMINATOR: 1,
                Part.BOOT_CATALOGUE: int(boots),
                Part.PRIMARY_L_TABLE: primary.path_table_blocks,
                Part.PRIMARY_M_TABLE: primary.path_table_blocks,
                Part.JOLIET_L_TABLE: joliet.path_table_blocks if joliet else 0,
                Part.JOLIET_M_TABLE: joliet.path_table_blocks if joliet else 0,
                Part.PRIMARY_DIRECTORIES: primary.directory_blocks,
                Part.JOLIET_DIRECTORIES: joliet.directory_blocks if joliet else 0,
                **(second_parts(primary, joliet) if options.volume_partition else {}),
                **{part: blocks_of(size) for part, size in apart_bytes.items()},
                Part.CONTENTS: content_blocks,
                Part.PADDING: PADDING_BLOCKS if options.padding else 0,
            }
        )
        end = places[Part.TAIL].start
        if options.hybrid:
            places[Part.TAIL] = range(end, end + tail_blocks(end))
        _check_blocks(places[Part.TAIL].stop)
        return places

    def _boot_nodes(self) -> tuple[int | None, int | None, int | None]:
        """Return what a BIOS starts, what UEFI starts, and which of them a table is patched
        into.
        """
        options = self._options
        bios_node = self._boot_node(options.boot_bios, "boot_bios")
        uefi_node = self._boot_node(options.boot_uefi, "boot_uefi")
        if options.boot_floppy and bios_node is not None:
            size = self._tree.sizes[bios_node]
            if size not in FLOPPY_MEDIA:
                sizes = ", ".join(map(str, FLOPPY_MEDIA))
                raise PlanError(
                    f"{option_named('boot_bios', options.boot_bios)} has {size} bytes; the "
                    "diskettes of "
                    f"{option_named('boot_floppy')} have {sizes}"
                )
        needed = 0
        if options.boot_info_table:
            needed, what = BOOT_INFO_END, "takes a boot info table"
        if options.goes_on_with_grub:
            needed, what = GRUB_BLOCK_LIST[1], "GRUB's code for disks goes on with"
        if bios_node is None or not needed:
            return bios_node, uefi_node, None
        size = self._tree.sizes[bios_node]
        if size < needed:
            raise PlanError(
                f"{option_named('boot_bios', options.boot_bios)} has {size} bytes; one that "
                f"{what} has {needed} "
                f"or more ({option_named('boot_info_table', False)} if it takes none)"
            )
        return bios_node, uefi_node, bios_node

    def _check_sizes(self) -> None:
        if self._options.level == 3:
            return
        tree = self._tree
        large = [node for node, size in enumerate(tree.sizes) if size > MOST_EXTENT_BYTES]
        if large:
            names = some_paths([tree.path(node) for node in large])
            raise PlanError(f"files of 4 GiB and more need {option_named('iso_level', 3)}: {names}")

    def _boot_node(self, path: str | None, option: str) -> int | None:
        """Return the file at a path in the tree."""
        if path is None:
            return None
        node = self._tree.find(path)
        if node is None:
            raise PlanError(
                f"{option_named(option, path)}: no such file in the tree (not: on the host)"
            )
        node = self._first_links.get(node, node)
        if self._tree.is_directory(node) or not self._tree.sizes[node]:
            raise PlanError(f"{option_named(option, path)}: no file with anything in it")
        is_made = option == "boot_uefi" and self._options.uefi_is_made  # loaded file by file
        if self._tree.sizes[node] > MOST_EXTENT_BYTES and not is_made:
            raise PlanError(f"{option_named(option, path)}: 4 GiB or more, which nothing can start")
        return node

    def _own_sizes(self, *apart: int | None) -> Sequence[int]:
        """Return the sizes, without those of other names of a file, and without files placed
        apart.
        """
        nodes = [*self._first_links, *(node for node in apart if node is not None)]
        if not nodes:
            return self._tree.sizes
        sizes = array("Q", self._tree.sizes)
        for node in nodes:
            sizes[node] = 0
        return sizes

    def _file_starts(self, sizes: Sequence[int]) -> array[int]:
        """Return the blocks before each file; files of a page or more start at a whole page."""
        starts = page_starts(sizes)
        _check_blocks(starts[-1])
        return array("I", starts)

    def _check_strict(self, renamed: Mapping[int, str]) -> None:
        if not self._options.strict or not renamed:
            return
        names = some_paths([self._tree.path(node) for node in renamed])
        where, advice = (
            "an image without Joliet and Rock Ridge",
            f"leave out {option_named('rock_ridge', False)}",
        )
        if self._joliet:
            where, advice = "Joliet", f"{option_named('joliet', False)} leaves that tree out"
            if not self._options.joliet_long:
                longer = option_named("joliet_long")
                advice += f", {longer} has {JOLIET_LONG_CHARACTERS} characters a name"
        raise PlanError(
            f"{option_named('strict')} refuses to rename, and {where} can't hold {len(renamed)} "
            "of the names: "
            f"{names}; {advice}"
        )

    def _identity(self) -> bytes:
        tree, options = self._tree, self._options
        digest = hashlib.blake2b(options.told_apart_by.encode(), digest_size=36)
        digest.update(tree.names)
        digest.update(tree.sizes.tobytes())
        digest.update(self._created_ns.to_bytes(16, "little", signed=True))
        digest.update(tree.directories.tobytes())
        digest.update(tree.first_children.tobytes())
        return digest.digest()


def _check_blocks(blocks: int) -> None:
    if blocks > MOST_BLOCKS:
        raise PlanError(
            f"the tree needs {blocks} blocks of {BLOCK_BYTES} bytes; an ISO 9660 image has at "
            f"most {MOST_BLOCKS}"
        )


def _created_ns(tree: Tree, options: IsoOptions) -> int:
    """Return the volume's date: as given, or the latest of the tree's but the root's."""
    if options.created_ns is not None:
        return options.created_ns
    latest = max(tree.mtimes_ns[1:], default=0)
    return latest if options.latest_ns is None else min(latest, options.latest_ns)


def _measure(facet: Facet, notes_changes: bool, *, limit: bool) -> FacetLayout:
    """Return the sizes of a facet's directories and path tables; where they are is not known yet.

    With `notes_changes`, also the names that are not the host's. With `limit`, raise PlanError for
    a directory whose number a path table can't tell as that of a parent.
    """
    tree, rock_ridge = facet.tree, facet.rock_ridge
    level_end = 1
    blocks: list[int] = []
    sorted_ordinals = array("I", [0])  # siblings, which stand side by side, in the disk's order
    identifier_bytes = array("B", [1])
    renamed: dict[int, str] = {}
    ends = array("I", [1])  # where there the directories in each directory end
    for ordinal in range(len(tree.directories)):
        if ordinal == level_end:
            level_end = len(sorted_ordinals)
            if rock_ridge:
                rock_ridge.continuations.end_level(sum(blocks))
        block_count, identifiers, bare_lengths = facet.measure(ordinal)
        blocks.append(block_count)
        if identifiers:
            children = tree.children(ordinal)
            if notes_changes:
                renamed |= facet.changed_names(children, identifiers)
            if rock_ridge:
                rock_ridge.continue_all(children, bare_lengths)
            nodes = tree.directories_among(children)
            if nodes:
                names = [identifiers[node - children.start] for node in nodes]
                identifier_bytes.extend(map(len, names))
                own = range(ends[-1], ends[-1] + len(names))
                sorted_ordinals.extend(sorted(own, key=lambda each: names[each - own.start]))
        ends.append(len(sorted_ordinals))
    if rock_ridge:
        rock_ridge.continuations.end_level(sum(blocks))
    order = array("I", [0])
    for number, ordinal in enumerate(order, 1):  # it grows meanwhile
        below = sorted_ordinals[ends[ordinal] : ends[ordinal + 1]]
        if limit and below and number > MOST_PARENT_NUMBER:
            path = printable(tree.path(tree.directories[ordinal]))
            raise PlanError(
                f"directory /{path} has directories and is number {number}; a path table counts "
                f"to {MOST_PARENT_NUMBER}; with {option_named('limit_pathtables', False)}, Windows "
                "and DOS don't find what is in it, and others do"
            )
        order.extend(below)
    lengths = (path_record_bytes(identifier_bytes[ordinal]) for ordinal in order)
    return FacetLayout(
        path_order=order,
        path_offsets=array("I", accumulate(lengths, initial=0)),
        directory_starts=array("I", accumulate(blocks, initial=0)),
        continuations=rock_ridge.continuations if rock_ridge else None,
        first_directory_block=0,
        little_table_block=0,
        big_table_block=0,
        renamed=renamed,
    )
