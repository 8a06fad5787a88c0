"""The parts of an image in the order in which they stand in it, and their places by arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from itertools import accumulate

from .records import BLOCK_BYTES, SYSTEM_BLOCKS


class Part(Enum):
    """A part of an image. The order here is that of the image; a plan may leave parts empty."""

    SYSTEM_AREA = auto()
    PRIMARY_DESCRIPTOR = auto()
    BOOT_RECORD = auto()
    JOLIET_DESCRIPTOR = auto()
    TERMINATOR = auto()
    BOOT_CATALOGUE = auto()
    SECOND_PRIMARY_DESCRIPTOR = auto()
    """This and the other second ones count from the start of the volume's partition."""
    SECOND_JOLIET_DESCRIPTOR = auto()
    SECOND_TERMINATOR = auto()
    PRIMARY_L_TABLE = auto()
    PRIMARY_M_TABLE = auto()
    JOLIET_L_TABLE = auto()
    JOLIET_M_TABLE = auto()
    SECOND_PRIMARY_L_TABLE = auto()
    SECOND_PRIMARY_M_TABLE = auto()
    SECOND_JOLIET_L_TABLE = auto()
    SECOND_JOLIET_M_TABLE = auto()
    PRIMARY_DIRECTORIES = auto()
    """With the continuation area of Rock Ridge between them."""
    JOLIET_DIRECTORIES = auto()
    SECOND_PRIMARY_DIRECTORIES = auto()
    SECOND_JOLIET_DIRECTORIES = auto()
    BOOT_FILE = auto()
    """The one into which a table is patched; any other is among the contents."""
    UEFI_IMAGE = auto()
    """One that is made; any other is among the contents."""
    CONTENTS = auto()
    PADDING = auto()
    APPENDED = auto()
    """A partition behind the volume, which is a file of the host and of no directory here."""
    TAIL = auto()
    """Up to a whole cylinder of a hybrid, with the copy of its GPT."""


PRIMARY_PARTS = Part.PRIMARY_DIRECTORIES, Part.PRIMARY_L_TABLE, Part.PRIMARY_M_TABLE
JOLIET_PARTS = Part.JOLIET_DIRECTORIES, Part.JOLIET_L_TABLE, Part.JOLIET_M_TABLE
"""The parts of each facet."""
SECOND_PRIMARY_PARTS = (
    Part.SECOND_PRIMARY_DIRECTORIES,
    Part.SECOND_PRIMARY_L_TABLE,
    Part.SECOND_PRIMARY_M_TABLE,
)
SECOND_JOLIET_PARTS = (
    Part.SECOND_JOLIET_DIRECTORIES,
    Part.SECOND_JOLIET_L_TABLE,
    Part.SECOND_JOLIET_M_TABLE,
)
PARTITION_BLOCKS = 16
"""The start of the volume's partition: behind a GPT, and as xorriso's users have it."""
# Those that start at a whole page, so that a file system can share their blocks with files.
_AT_PAGES = {Part.BOOT_FILE, Part.CONTENTS}
_PAGE_BLOCKS = 2
_PAGE_BYTES = _PAGE_BLOCKS * BLOCK_BYTES  # what host file systems count in, and so can share
_BLOCK_SHIFT = BLOCK_BYTES.bit_length() - 1
GPT_TAIL_BLOCKS = 9  # 33 sectors of 512 bytes, in whole blocks
# A hybrid is a disk of whole cylinders, as isohybrid makes it: some BIOSes start no other.
HYBRID_HEADS, HYBRID_SECTORS_PER_TRACK = 64, 32
CYLINDER_BLOCKS = HYBRID_HEADS * HYBRID_SECTORS_PER_TRACK * 512 // 2048


def place_parts(blocks: Mapping[Part, int]) -> dict[Part, range]:
    """Return the blocks of each part, given how many blocks those have that are not empty."""
    places: dict[Part, range] = {}
    end = 0
    for part in Part:
        count = blocks.get(part, 0)
        first = end + (-end % _PAGE_BLOCKS if part in _AT_PAGES else 0)
        if count and part is Part.SECOND_PRIMARY_DESCRIPTOR:
            first = max(first, PARTITION_BLOCKS + SYSTEM_BLOCKS)
        end = first + count
        places[part] = range(first, end)
    return places


def page_starts(sizes: Sequence[int]) -> list[int]:
    """Return the blocks before each file, and of all."""
    round_up = BLOCK_BYTES - 1
    if max(sizes) < _PAGE_BYTES:
        return list(accumulate([size + round_up >> _BLOCK_SHIFT for size in sizes], initial=0))
    starts: list[int] = []
    end = 0
    for size in sizes:
        if size >= _PAGE_BYTES:
            end += end & 1
        starts.append(end)
        end += size + round_up >> _BLOCK_SHIFT
    starts.append(end)
    return starts


def blocks_of(size: int) -> int:
    """Return how many blocks so many bytes take."""
    return -(-size // BLOCK_BYTES)


def tail_blocks(end: int) -> int:
    """Return the blocks behind the first `end` of a hybrid: room for its GPT, to a whole cylinder.

    A cylinder has 512 blocks. Behind 1,000 blocks there are 9 for the GPT and 15 to 1,024; behind
    1,020 there are 9 and 507, since the GPT doesn't fit before 1,024.
    """
    return GPT_TAIL_BLOCKS + -(end + GPT_TAIL_BLOCKS) % CYLINDER_BLOCKS
