"""Contents that say whose they are: every file and version has bytes of its own.

Bytes that were served are held against those of the scan. If they differ, it is looked up whose they
are: every version of every file of a round is known, and no 16 bytes of two of them are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

BLOCK_BYTES = 16
_TOLD_BYTES = 8


@lru_cache(maxsize=64)
def content(file: int, version: int, length: int) -> bytes:
    """The first `length` bytes of a version of a file; a longer one begins with a shorter one."""
    return hashlib.shake_128(b"%d/%d" % (file, version)).digest(length)


def differs_at(found: bytes, expected: bytes) -> int | None:
    """The first block in which they differ, as an offset in bytes; None where they are the same."""
    if found == expected:
        return None
    for at in range(0, max(len(found), len(expected)), BLOCK_BYTES):
        if found[at : at + BLOCK_BYTES] != expected[at : at + BLOCK_BYTES]:
            return at
    raise AssertionError("they are the same after all")


def wrong_bytes(found: bytes, expected: bytes) -> int:
    """How many bytes differ, or are missing or too many."""
    differing = sum(a != b for a, b in zip(found, expected, strict=False))
    return differing + abs(len(found) - len(expected))


def whose(block: bytes, sizes: Mapping[int, int], versions: int) -> str:
    """A few words on where a block comes from. `sizes` has the lengths of the files by number, of
    which versions up to `versions` may have been written.
    """
    if not block.strip(b"\0"):
        return "zeros"
    half = block[:_TOLD_BYTES]  # a write may end within the block
    for file, size in sizes.items():
        for version in range(versions + 1):
            at = content(file, version, 2 * size).find(half)
            if at >= 0:
                return f"file {file}, version {version}, byte {at}"
    return f"nobody's: {block.hex()}"
