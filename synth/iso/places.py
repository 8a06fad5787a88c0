"""The parts of an image in the order in which they stand in it, and their places by arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Part(Enum):
    """A part of an image. The order here is that of the image; a plan may leave parts empty."""

    SYSTEM_AREA = auto()
    PRIMARY_DESCRIPTOR = auto()
    BOOT_RECORD = auto()
    JOLIET_DESCRIPTOR = auto()
    TERMINATOR = auto()
    BOOT_CATALOGUE = auto()
    PRIMARY_L_TABLE = auto()
    PRIMARY_M_TABLE = auto()
    JOLIET_L_TABLE = auto()
    JOLIET_M_TABLE = auto()
    PRIMARY_DIRECTORIES = auto()
    """With the continuation area of Rock Ridge between them."""
    JOLIET_DIRECTORIES = auto()
    BOOT_FILE = auto()
    """The one into which a table is patched; any other is among the contents."""
    UEFI_IMAGE = auto()
    """One that is made; any other is among the contents."""
    CONTENTS = auto()
    PADDING = auto()
    TAIL = auto()
    """Up to a whole cylinder of a hybrid, with the copy of its GPT."""


# Those that start at a whole page, so that a file system can share their blocks with files.
_AT_PAGES = {Part.BOOT_FILE, Part.CONTENTS}
_PAGE_BLOCKS = 2


def place_parts(blocks: Mapping[Part, int]) -> dict[Part, range]:
    """Return the blocks of each part, given how many blocks those have that are not empty."""
    places: dict[Part, range] = {}
    end = 0
    for part in Part:
        first = end + (-end % _PAGE_BLOCKS if part in _AT_PAGES else 0)
        end = first + blocks.get(part, 0)
        places[part] = range(first, end)
    return places
