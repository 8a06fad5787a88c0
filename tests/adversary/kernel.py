"""System calls that Python has no function for: renameat2, fallocate with a mode, clones."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from pathlib import Path

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 0x01, 0x02, 0x08, 0x10, 0x20
"""Modes of fallocate(2)."""

_FICLONE, _FICLONERANGE = 0x40049409, 0x4020940D
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64
]  # fmt: skip
_libc.mmap.restype = ctypes.c_void_p
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.renameat2.argtypes = [
    ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
]  # fmt: skip


class Mapping:
    """A file that is mapped to be written to, and not held open by that: Python's mmap keeps a
    descriptor of its own. Raises OSError.
    """

    def __init__(self, descriptor: int, length: int) -> None:
        kinds = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED
        address = _libc.mmap(None, length, *kinds, descriptor, 0)
        _check(address == ctypes.c_void_p(-1).value)
        self._address: int = address
        self._length = length

    def write(self, offset: int, data: bytes) -> None:
        """Write to it. One who writes where the file has ended is killed."""
        assert offset + len(data) <= self._length
        ctypes.memmove(self._address + offset, data, len(data))

    def close(self) -> None:
        """Unmap it."""
        _libc.munmap(self._address, self._length)


def exchange(first: Path, second: Path) -> None:
    """Let two names change places at once. Raise OSError."""
    names = os.fsencode(first), os.fsencode(second)
    _check(_libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE))


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """Raises OSError."""
    _check(_libc.fallocate(descriptor, mode, offset, length))


def clone(source: int, target: int) -> None:
    """Make all blocks of a file another's too. Raise OSError."""
    fcntl.ioctl(target, _FICLONE, source)


def clone_range(source: int, position: int, length: int, target: int, offset: int) -> None:
    """Make whole blocks of a file another's too. Raise OSError."""
    fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, position, length, offset))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
