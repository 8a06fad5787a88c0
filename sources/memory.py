"""A disk in memory: sparse, written to by all who like, and gone at the end."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from ..errors import OptionError
from ..export import Alerts, Buffer, Extent, Features, Piece, Writer, check_range
from ..options import byte_count
from .source import Source, SourceError, digest, extents_of, in_words, pieces_of

MOST_BYTES = (1 << 63) - 1
"""The most that a file, and the protocol, can have."""

_KEEP_SIZE_AND_PUNCH = 1 | 2  # linux/falloc.h
_ZEROS = memoryview(bytes(1 << 20))

_fallocate: Any = None
if sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)
    _fallocate = getattr(ctypes.CDLL(None), "fallocate64", None) and _libc.fallocate64


class Memory(Source):
    """Zeros, until somebody writes."""

    def __init__(self, word: str) -> None:
        """`word` is a size, such as 64M."""
        try:
            self._size = byte_count(word)
        except ValueError as error:
            raise OptionError(f"memory:{word}: {error}") from None
        if self._size > MOST_BYTES:
            raise OptionError(f"memory:{word}: a disk has at most 2^63 - 1 bytes")
        try:
            self.descriptor = _unnamed()
            os.ftruncate(self.descriptor, self._size)
        except OSError as error:
            raise SourceError(f"memory:{word}: {error.strerror}") from error

    @property
    def size(self) -> int:
        """See `Export.size`."""
        return self._size

    @property
    def identity(self) -> bytes:
        """See `Export.identity`: that of the zeros it begins with."""
        return digest("memory", self._size)

    @property
    def features(self) -> Features:
        """See `Export.features`."""
        return Features(writable=True)

    @property
    def description(self) -> str:
        """See `Source.description`."""
        return f"{in_words(self._size)} of memory"

    def open(self, alerts: Alerts | None = None) -> MemoryWriter:  # noqa: ARG002
        """See `Export.open`."""
        return MemoryWriter(self)

    def close(self) -> None:
        """See `Source.close`."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _unnamed() -> int:
    """Return a new file in memory; elsewhere than on Linux, one that has no name."""
    if create := getattr(os, "memfd_create", None):
        descriptor: int = create("vfloppy", 1)  # MFD_CLOEXEC
        return descriptor
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _right() -> None:
    """Check nothing: whatever is in memory is right."""


class MemoryWriter(Writer):
    """Memory, as one connection has it."""

    def __init__(self, memory: Memory) -> None:
        self.size = memory.size
        self._descriptor = memory.descriptor

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Reader.pieces`."""
        check_range(offset, length, self.size)
        return list(pieces_of(self._descriptor, offset, length, _right))

    def read_simple(self, offset: int, length: int) -> bytes | None:
        """See `Reader.read_simple`."""
        return os.pread(self._descriptor, length, offset)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Reader.extents`."""
        check_range(offset, length, self.size)
        return extents_of(self._descriptor, offset, length)

    def write(self, offset: int, data: Buffer) -> None:
        """See `Writer.write`."""
        check_range(offset, len(data), self.size)
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], offset + written)

    def zero(self, offset: int, length: int, *, may_trim: bool = True, fast: bool = False) -> None:
        """See `Writer.zero`."""
        check_range(offset, length, self.size)
        if may_trim and self._punch(offset, length):
            return
        if fast:
            raise OSError(errno.ENOTSUP, "zeros that keep their room are written as data are")
        for start in range(offset, offset + length, len(_ZEROS)):
            self.write(start, _ZEROS[: offset + length - start])

    def trim(self, offset: int, length: int) -> None:
        """See `Writer.trim`."""
        check_range(offset, length, self.size)
        self._punch(offset, length)

    def _punch(self, offset: int, length: int) -> bool:
        """Give back the memory of a range, which reads as zeros then; return whether that went."""
        if not length:
            return True
        if not _fallocate:
            return False
        place = ctypes.c_int64(offset), ctypes.c_int64(length)
        return not _fallocate(self._descriptor, _KEEP_SIZE_AND_PUNCH, *place)

    def flush(self) -> None:
        """See `Writer.flush`. Nothing in memory is more durable than it is."""
