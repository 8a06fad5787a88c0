"""The parts that sources share: their base, and slices of a file that has to stay as it is."""

from __future__ import annotations

import errno
import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator

from ..errors import VfloppyError
from ..export import Export, Extent, FileSlice, Hole, HostReadError, Kind, Piece, Range

# Of the last page that a file can have, Linux says that nothing is in it, whatever is.
_UNTOLD_FROM = (1 << 63) - 4096
# Behind data that reaches up to there, it says that a hole is at -2^63, and Python goes astray. No
# more than this can be in memory, nor in a file that any file system holds.
_UNASKED_FROM = (1 << 63) - (1 << 40)


class SourceError(VfloppyError):
    """A source that can't be opened."""


class Source(Export):
    """An export that is no directory."""

    note = ""
    """A sentence about what people may not expect of it; empty: there is none."""

    @property
    @abstractmethod
    def description(self) -> str:
        """The source in words."""

    def close(self) -> None:
        """Give up what it was made with. May be called twice."""


class OpenFileSlice(FileSlice):
    """Bytes of a file that is open; `check` raises HostReadError if they are not the right ones."""

    __slots__ = ("_check", "_descriptor")

    def __init__(
        self, descriptor: int, offset: int, length: int, check: Callable[[], None]
    ) -> None:
        super().__init__(offset, length)
        self._descriptor = descriptor
        self._check = check

    def read(self) -> bytes:
        """See `FileSlice.read`."""
        return read_checked(self._descriptor, self.offset, self.length, self._check)

    def part(self, start: int, length: int) -> FileSlice:
        """See `FileSlice.part`."""
        return OpenFileSlice(self._descriptor, self.offset + start, length, self._check)

    def descriptor(self) -> int:
        """See `FileSlice.descriptor`."""
        return self._descriptor

    def copy(self, start: int, length: int) -> bytes:
        """See `FileSlice.copy`."""
        return _pread(self._descriptor, self.offset + start, length)

    def finish(self, moved: int) -> None:
        """See `FileSlice.finish`."""
        self._check()
        if moved < self.length:
            raise HostReadError("a file ended before its end")


def read_checked(descriptor: int, offset: int, length: int, check: Callable[[], None]) -> bytes:
    """Return bytes of a file. Raise HostReadError if they are not the right ones."""
    data = _pread(descriptor, offset, length)
    check()
    if len(data) < length:
        raise HostReadError("a file ended before its end")
    return data


def _pread(descriptor: int, offset: int, length: int) -> bytes:
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        raise HostReadError(f"a file can't be read: {error.strerror}") from error


def data_runs(descriptor: int, offset: int, end: int) -> Iterator[Range]:
    """Yield start and end of what a file holds in a range; the rest are holes."""
    told = min(end, _UNTOLD_FROM)
    yield from _data_runs(descriptor, offset, told)
    if max(offset, told) < end:
        yield max(offset, told), end


def _data_runs(descriptor: int, offset: int, end: int) -> Iterator[Range]:
    while offset < end:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
            stop = end
            if start < _UNASKED_FROM:
                stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # all that follows is a hole
                return
            start, stop = offset, end  # devices, and some file systems, don't tell
        start, stop = max(start, offset), min(stop, end)
        if start >= end:
            return
        yield start, stop
        offset = stop


def pieces_of(
    descriptor: int, offset: int, length: int, check: Callable[[], None]
) -> Iterator[Piece]:
    """Yield a range of a file as slices and holes."""
    end = offset + length
    for start, stop in data_runs(descriptor, offset, end):
        if offset < start:
            yield Hole(start - offset)
        yield OpenFileSlice(descriptor, start, stop - start, check)
        offset = stop
    if offset < end:
        yield Hole(end - offset)


def extents_of(descriptor: int, offset: int, length: int) -> Iterator[Extent]:
    """Yield the structure of a range of a file."""
    end = offset + length
    for start, stop in data_runs(descriptor, offset, end):
        if offset < start:
            yield Extent(start - offset, True, Kind.FREE)
        yield Extent(stop - start, False, Kind.FILE)
        offset = stop
    if offset < end:
        yield Extent(end - offset, True, Kind.FREE)


def digest(*facts: object) -> bytes:
    """Return an identity made of facts."""
    return hashlib.blake2b(repr(facts).encode(), digest_size=32).digest()


def in_words(size: int) -> str:
    """Return a size as people have it, exactly: `64 MiB`, `1000 bytes`."""
    for shift, unit in (
        (60, "EiB"),
        (50, "PiB"),
        (40, "TiB"),
        (30, "GiB"),
        (20, "MiB"),
        (10, "KiB"),
    ):
        if size and not size % (1 << shift):
            return f"{size >> shift} {unit}"
    return f"{size} bytes"
