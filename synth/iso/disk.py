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
        | boot file, image for UEFI   |  those that are no plain files of the tree
        +-----------------------------+
        | file contents               |  each from the start of a block, large ones of a page
        +-----------------------------+
        | padding (zero)              |
        | (backup GPT)                |
        +-----------------------------+
"""

from __future__ import annotations

from collections.abc import Iterator

from ...export import Kind
from ..image.contents import Contents
from ..image.files import FileSource
from ..image.image import Image
from ..image.section import Fixed, Section, Stretch, Zeros
from ..tree.columns import Tree
from .directories import IsoDirectories, PathTable
from .eltorito import BootFile, boot_catalogue, boot_record
from .hybrid import system_area, tail
from .layout import IsoLayout
from .records import BLOCK_BYTES, FLOPPY_MEDIA, PADDING_BLOCKS, TERMINATOR
from .rockridge import ContinuationArea
from .volume import joliet_descriptor, primary_descriptor


def disk(
    layout: IsoLayout, tree: Tree, files: FileSource, uefi_image: Image | None = None
) -> Image:
    """Return the image of a layout, with `uefi_image` in no directory if the layout was told its
    length.

    Raise PlanError when a text can't be written or a given boot code can't be put on it.
    """
    return Image(_sections(layout, tree, files, uefi_image), numbered=files)


def _sections(
    layout: IsoLayout, tree: Tree, files: FileSource, uefi_image: Image | None
) -> Iterator[Section | Image]:
    options = layout.options
    facets = [(layout.primary, layout.primary_layout)]
    if layout.joliet and layout.joliet_layout:
        facets.append((layout.joliet, layout.joliet_layout))
    directories = [
        IsoDirectories(facet, place, layout.dates, layout.file_block) for facet, place in facets
    ]
    yield from system_area(layout)
    yield Fixed(primary_descriptor(layout, directories[0]), Kind.RESERVED, "primary descriptor")
    if layout.catalogue_block:
        yield Fixed(boot_record(layout.catalogue_block), Kind.RESERVED, "boot record")
    if layout.joliet_layout:
        descriptor = joliet_descriptor(layout, layout.joliet_layout, directories[1])
        yield Fixed(descriptor, Kind.RESERVED, "Joliet's descriptor")
    yield Fixed(TERMINATOR, Kind.RESERVED, "terminator")
    if layout.catalogue_block:
        media = FLOPPY_MEDIA[layout.bios.size] if options.boot_floppy and layout.bios else 0
        catalogue = boot_catalogue(layout.bios, layout.uefi, options.boot_load_size, media)
        yield Fixed(catalogue, Kind.TABLE, "boot catalogue")
    for facet, place in facets:
        yield PathTable(facet, place, big_endian=False)
        yield PathTable(facet, place, big_endian=True)
    yield from _with_continuations(layout, directories[0])
    end = layout.primary_layout.first_directory_block + layout.primary_layout.directory_blocks
    if layout.joliet_layout:
        yield directories[1]
        end += layout.joliet_layout.directory_blocks
    if layout.boot_file is not None and layout.bios:
        yield _gap(layout.bios.block - end)
        yield BootFile(
            files,
            layout.boot_file,
            layout.bios,
            info=options.boot_info_table,
            grub_block_list=options.goes_on_with_grub,
        )
        end = layout.bios.block - (-layout.bios.size // BLOCK_BYTES)
    if uefi_image:
        yield _gap(layout.first_image_block - end)
        yield uefi_image
        yield Zeros(-uefi_image.size % BLOCK_BYTES, Kind.RESERVED, "behind the image for UEFI")
        end = layout.first_image_block - (-uefi_image.size // BLOCK_BYTES)
    yield _gap(layout.first_file_block - end)
    yield Contents(tree, files, layout.file_starts, BLOCK_BYTES, layout.file_sizes)
    end = layout.first_file_block + layout.file_starts[-1]
    if options.padding:
        yield Zeros(PADDING_BLOCKS * BLOCK_BYTES, Kind.RESERVED, "padding")
        end += PADDING_BLOCKS
    if options.hybrid:
        yield from tail(layout)
        end += layout.tail_blocks
    assert end == layout.blocks


def _with_continuations(layout: IsoLayout, directories: IsoDirectories) -> Iterator[Section]:
    """Yield the primary tree's directories, and the runs of the continuation area between them."""
    place, rock_ridge = layout.primary_layout, layout.primary.rock_ridge
    if not rock_ridge:
        yield directories
        return
    area = ContinuationArea(rock_ridge, place.first_directory_block)
    for own, continued in rock_ridge.continuations.runs(place.directory_starts[-1]):
        for section, blocks in ((directories, own), (area, continued)):
            yield Stretch(section, blocks.start * BLOCK_BYTES, len(blocks) * BLOCK_BYTES)


def _gap(blocks: int) -> Zeros:
    assert blocks in {0, 1}
    return Zeros(blocks * BLOCK_BYTES, Kind.RESERVED, "up to a whole page")
