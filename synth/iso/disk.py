"""A layout becomes an image: sections that compute every byte when it is asked for.

block 0 +-----------------------------+
        | (zero)                      |  or the MBR and the GPT of a hybrid
     16 +-----------------------------+
        | volume descriptors          |  primary, boot record, Joliet's, terminator
        | boot catalogue              |
        +-----------------------------+
        | path tables                 |  L and M of each facet
        | directories                 |  each a run of blocks: the root, then level by level, each
        |   with continuation areas   |  with what Rock Ridge has no room for in directory records
        | Joliet's directories        |
        +-----------------------------+
        | boot file, image for UEFI   |  those that are no files as the host has them
        +-----------------------------+
        | file contents               |  each from the start of a block, large ones of a page
        +-----------------------------+
        | padding (zero)              |
        | (appended partition)        |
        | (backup GPT)                |
        +-----------------------------+
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ...export import Kind
from ..image.contents import Contents
from ..image.files import FileSource
from ..image.image import Image
from ..image.section import Fixed, Section, Stretch, Zeros
from ..tree.columns import Tree
from . import eltorito
from .directories import FacetLayout, IsoDirectories, PathTable
from .eltorito import BootFile, boot_record
from .facets import Facet
from .hybrid import system_area, tail
from .layout import IsoLayout
from .places import PARTITION_BLOCKS, Part
from .records import BLOCK_BYTES, FLOPPY_MEDIA, PADDING_BLOCKS, TERMINATOR
from .rockridge import ContinuationArea
from .volume import joliet_descriptor, primary_descriptor


def disk(
    layout: IsoLayout, tree: Tree, files: FileSource, uefi_image: Image | None = None
) -> Image:
    """Return the image of a layout, with `uefi_image` as the contents of the node that is made.

    Raise PlanError when a text can't be written or a given boot code can't be put on it.
    """
    numbers: dict[Section | Image, int] = {}
    if uefi_image and layout.uefi_node is not None:
        numbers[uefi_image] = layout.uefi_node + 1
    catalogue = Fixed(catalogue_of(layout), Kind.TABLE, "boot catalogue")
    if layout.catalogue_node is not None:
        numbers[catalogue] = layout.catalogue_node + 1
    sections = _sections(layout, _makers(layout, tree, files, uefi_image, catalogue))
    return Image(sections, numbered=files, numbers=numbers)


def catalogue_of(layout: IsoLayout) -> bytes:
    """Return the boot catalogue of a layout."""
    options = layout.options
    media = FLOPPY_MEDIA[layout.bios.size] if options.boot_floppy and layout.bios else 0
    return eltorito.boot_catalogue(layout.bios, layout.uefi, options.boot_load_size, media)


def _sections(
    layout: IsoLayout, makers: Mapping[Part, Callable[[], Iterable[Section | Image]]]
) -> Iterator[Section | Image]:
    """Yield the sections of each part that isn't empty, and zeros before one that starts a page.

    Each part makes its own sections, and has to fill its place exactly.
    """
    end = 0
    for part, place in layout.places.items():
        yield Zeros((place.start - end) * BLOCK_BYTES, Kind.RESERVED, "up to a whole page")
        end = place.stop
        if place:
            sections = list(makers[part]())
            assert sum(each.size for each in sections) == len(place) * BLOCK_BYTES, part
            yield from sections


def _makers(
    layout: IsoLayout,
    tree: Tree,
    files: FileSource,
    uefi_image: Image | None,
    boot_catalogue: Section,
) -> Mapping[Part, Callable[[], Iterable[Section | Image]]]:
    """Return what makes the sections of each part."""
    facets: list[tuple[Facet, FacetLayout]] = [(layout.primary, layout.primary_layout)]
    if layout.joliet and layout.joliet_layout:
        facets.append((layout.joliet, layout.joliet_layout))
    directories = [
        IsoDirectories(facet, place, layout.dates, layout.file_block) for facet, place in facets
    ]

    def joliet_descriptors() -> Iterator[Section]:
        assert layout.joliet_layout
        descriptor = joliet_descriptor(layout, layout.joliet_layout, directories[1])
        yield Fixed(descriptor, Kind.RESERVED, "Joliet's descriptor")

    def reserved(data: bytes, label: str) -> list[Section]:
        return [Fixed(data, Kind.RESERVED, label)]

    return {
        Part.SYSTEM_AREA: lambda: system_area(layout),
        Part.PRIMARY_DESCRIPTOR: lambda: reserved(
            primary_descriptor(layout, layout.primary_layout, directories[0]), "primary descriptor"
        ),
        Part.BOOT_RECORD: lambda: reserved(boot_record(layout.catalogue_block), "boot record"),
        Part.JOLIET_DESCRIPTOR: joliet_descriptors,
        Part.TERMINATOR: lambda: reserved(TERMINATOR, "terminator"),
        Part.BOOT_CATALOGUE: lambda: [boot_catalogue],
        Part.PRIMARY_L_TABLE: lambda: [PathTable(*facets[0], big_endian=False)],
        Part.PRIMARY_M_TABLE: lambda: [PathTable(*facets[0], big_endian=True)],
        Part.JOLIET_L_TABLE: lambda: [PathTable(*facets[1], big_endian=False)],
        Part.JOLIET_M_TABLE: lambda: [PathTable(*facets[1], big_endian=True)],
        Part.PRIMARY_DIRECTORIES: lambda: _with_continuations(*facets[0], directories[0]),
        Part.JOLIET_DIRECTORIES: lambda: [directories[1]],
        Part.CONTENTS: lambda: [
            Contents(tree, files, layout.file_starts, BLOCK_BYTES, layout.file_sizes)
        ],
        Part.PADDING: lambda: [Zeros(PADDING_BLOCKS * BLOCK_BYTES, Kind.RESERVED, "padding")],
        Part.TAIL: lambda: tail(layout),
        **_makers_of_files(layout, files, uefi_image),
        **_makers_of_partition(layout),
    }


def _makers_of_files(
    layout: IsoLayout, files: FileSource, uefi_image: Image | None
) -> Mapping[Part, Callable[[], Iterable[Section | Image]]]:
    """Return what makes the sections of files that have a place of their own."""
    options = layout.options

    def boot_file() -> Iterator[Section]:
        assert layout.boot_file is not None
        assert layout.bios
        is_grub = options.goes_on_with_grub
        info = options.boot_info_table
        yield BootFile(files, layout.boot_file, layout.bios, info=info, grub_block_list=is_grub)

    def appended() -> Iterator[Section]:
        assert layout.appended_node is not None
        assert layout.partition
        yield BootFile(files, layout.appended_node, layout.partition, label="appended partition")

    def image_for_uefi() -> Iterator[Section | Image]:
        assert uefi_image
        yield uefi_image
        yield Zeros(-uefi_image.size % BLOCK_BYTES, Kind.RESERVED, "behind the image for UEFI")

    return {
        Part.BOOT_FILE: boot_file,
        Part.UEFI_IMAGE: image_for_uefi,
        Part.APPENDED: appended,
    }


def _makers_of_partition(
    layout: IsoLayout,
) -> Mapping[Part, Callable[[], Iterable[Section]]]:
    """Return what makes the sections that the volume's partition has of its own."""
    if not layout.second_layouts:
        return {}
    own = filter(None, (layout.primary, layout.joliet))
    facets = [*zip(own, layout.second_layouts, strict=True)]

    def file_block(node: int) -> int:
        return layout.file_block(node) - PARTITION_BLOCKS

    directories = [
        IsoDirectories(facet, place, layout.dates, file_block) for facet, place in facets
    ]
    descriptors = [
        make(layout, place, own, PARTITION_BLOCKS)
        for make, (_, place), own in zip(
            (primary_descriptor, joliet_descriptor), facets, directories, strict=False
        )
    ]
    kind = Kind.RESERVED
    makers: dict[Part, Callable[[], Iterable[Section]]] = {
        Part.SECOND_PRIMARY_DESCRIPTOR: lambda: [
            Fixed(descriptors[0], kind, "primary descriptor of the partition")
        ],
        Part.SECOND_TERMINATOR: lambda: [Fixed(TERMINATOR, kind, "terminator of the partition")],
        Part.SECOND_PRIMARY_L_TABLE: lambda: [PathTable(*facets[0], big_endian=False)],
        Part.SECOND_PRIMARY_M_TABLE: lambda: [PathTable(*facets[0], big_endian=True)],
        Part.SECOND_PRIMARY_DIRECTORIES: lambda: _with_continuations(*facets[0], directories[0]),
    }
    if layout.joliet:
        makers |= {
            Part.SECOND_JOLIET_DESCRIPTOR: lambda: [
                Fixed(descriptors[1], kind, "Joliet's descriptor of the partition")
            ],
            Part.SECOND_JOLIET_L_TABLE: lambda: [PathTable(*facets[1], big_endian=False)],
            Part.SECOND_JOLIET_M_TABLE: lambda: [PathTable(*facets[1], big_endian=True)],
            Part.SECOND_JOLIET_DIRECTORIES: lambda: [directories[1]],
        }
    return makers


def _with_continuations(
    facet: Facet, place: FacetLayout, directories: IsoDirectories
) -> Iterator[Section]:
    """Yield the primary tree's directories, and the runs of the continuation area between them."""
    rock_ridge = facet.rock_ridge
    if not rock_ridge:
        yield directories
        return
    area = ContinuationArea(rock_ridge, place.first_directory_block)
    for own, continued in rock_ridge.continuations.runs(place.directory_starts[-1]):
        for section, blocks in ((directories, own), (area, continued)):
            yield Stretch(section, blocks.start * BLOCK_BYTES, len(blocks) * BLOCK_BYTES)
