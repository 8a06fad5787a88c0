"""Contents that say whose they are: every file and version has bytes of its own.

Bytes that were served are held against those of the scan. If they differ, it is looked up whose
they are: every version of every file of a round is known, and no 8 bytes of two are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

TOLD_BYTES = 8
"""A number of bytes that is enough to tell whose they are."""


@lru_cache(maxsize=64)
def content(file: int, version: int, length: int) -> bytes:
    """Return the first bytes of a version of a file; longer ones begin with shorter ones."""
    return hashlib.shake_128(b"%d/%d" % (file, version)).digest(length)


def first_difference(found: bytes, expected: bytes) -> int | None:
    """Return the offset of the first byte in which they differ; None if they are the same."""
    if found == expected:
        return None
    shorter = min(len(found), len(expected))
    step = 4096
    for at in range(0, shorter, step):
        one, other = found[at : at + step], expected[at : at + step]
        if one != other:
            pairs = enumerate(zip(one, other, strict=False))
            return at + next((place for place, (a, b) in pairs if a != b), len(one))
    return shorter


def wrong_bytes(found: bytes, expected: bytes) -> int:
    """Return the number of bytes that differ, are missing, or are too many."""
    differing = sum(a != b for a, b in zip(found, expected, strict=False))
    return differing + abs(len(found) - len(expected))


def whose(data: bytes, sizes: Mapping[int, int], versions: int) -> str:
    """Return a few words on the source of some bytes. `sizes` has the lengths of the files by
    number, of which versions up to `versions` may have been written.
    """
    wanted = data[:TOLD_BYTES]
    if not wanted.strip(b"\0"):
        return "zeros"
    for file, size in sizes.items():
        for version in range(versions + 1):
            at = content(file, version, 2 * size).find(wanted)
            if at >= 0:
                return f"file {file}, version {version}, byte {at}"
    return f"nobody's: {wanted.hex()}"
