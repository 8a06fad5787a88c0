"""Births of files, which statx(2) tells and Python's `os.stat` does not (on Linux)."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

_AT_EMPTY_PATH = 0x1000  # the descriptor itself is asked about
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_MASK = struct.Struct("=I")  # which of the fields there are
_BIRTH = struct.Struct("=qI")  # seconds and nanoseconds, the same on every architecture
_BIRTH_OFFSET = 80


def birth_ns(descriptor: int) -> int | None:
    """Return when an open file was born, in nanoseconds since 1970.

    None where the file system notes no births (ext2 to ext4 with inodes of 128 bytes, XFS before
    its version 5, most of FUSE and NFS), or the C library has no statx (musl before 1.2.3).
    """
    import ctypes  # noqa: PLC0415  seldom wanted, and slow to import

    statx = _statx()
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if statx is None or statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, found):
        return None
    if not _MASK.unpack_from(found)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BIRTH.unpack_from(found, _BIRTH_OFFSET)
    return int(seconds * 1_000_000_000 + nanoseconds)


@cache
def _statx() -> Any:
    import ctypes  # noqa: PLC0415

    return getattr(ctypes.CDLL(None), "statx", None)
