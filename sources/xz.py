"""A disk that is an .xz file: a block is decoded when something in it is first read.

What was decoded is kept for all connections, in a sparse file without a name; so a block is decoded
once, by one of those who want it while the others wait, and memory is bounded however large blocks
are. Small blocks are better: `xz --block-size=16MiB`.
"""

from __future__ import annotations

import fcntl
import lzma
import mmap
import os
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterator

from ..export import Alerts, Extent, HostReadError, Kind, Piece, Reader, check_range
from .image import OpenedFile
from .source import Source, SourceError, extents_of, in_words, pieces_of
from .xz_index import Index

_LARGE_BYTES = 64 << 20
_UNIT = 64 << 10
_ZEROS = bytes(_UNIT)


class XzFile(Source):
    """The inside of an .xz file."""

    def __init__(self, path: str) -> None:
        self.file = OpenedFile(path)
        try:
            self.index = Index(self.file.descriptor, path)
            if not self.index.size:
                raise SourceError(f"{path} has nothing inside, and an image is expected")
            self._kept = _unnamed(self.index.size)
        except BaseException:
            self.file.close()
            raise
        self._is_decoded = mmap.mmap(-1, self.index.count)  # shared by processes forked later
        self._lock = threading.Lock()  # threads share what keeps processes apart

    @property
    def size(self) -> int:
        """See `Export.size`."""
        return self.index.size

    @property
    def identity(self) -> bytes:
        """See `Export.identity`."""
        return self.file.identity()

    @property
    def description(self) -> str:
        """See `Source.description`."""
        count = self.index.count
        blocks = f"{count} blocks" if count > 1 else "one block"
        name = os.path.basename(self.file.path)
        return f"{name}, an image of {in_words(self.size)} in {blocks}"

    @property
    def note(self) -> str:  # type: ignore[override]
        """See `Source.note`."""
        if self.index.largest <= _LARGE_BYTES:
            return ""
        return (
            f"{self.file.path} has blocks of {in_words(self.index.largest)}: the first read in one "
            "waits until all of it is decoded; xz --block-size=16MiB makes smaller ones"
        )

    def open(self, alerts: Alerts | None = None) -> XzReader:  # noqa: ARG002
        """See `Export.open`."""
        return XzReader(self)

    def descriptor(self, offset: int, length: int) -> int:
        """Return the file that holds a range, decoded. Raise HostReadError."""
        starts, is_decoded = self.index.starts, self._is_decoded
        number = bisect_right(starts, offset) - 1
        while starts[number] < offset + length:
            if not is_decoded[number]:
                self._decode(number)
            number += 1
            if number >= self.index.count:
                break
        return self._kept

    def is_decoded(self, number: int) -> bool:
        """Return whether a block was decoded."""
        return bool(self._is_decoded[number])

    @property
    def kept(self) -> int:
        """The file with what was decoded."""
        return self._kept

    def _decode(self, number: int) -> None:
        """Decode a block, unless somebody else has, or is at it."""
        start = self.index.starts[number]

        def write(at: int, data: bytes) -> None:
            for first in range(0, len(data), _UNIT):
                part = data[first : first + _UNIT]
                if part != _ZEROS[: len(part)]:
                    _write(self._kept, part, start + at + first)

        with self._lock:
            try:
                fcntl.lockf(self._kept, fcntl.LOCK_EX, 1, number)
                if not self._is_decoded[number]:
                    self.index.decode(number, write)
                    self.file.check()
                    self._is_decoded[number] = 1
            except (lzma.LZMAError, EOFError, OSError) as error:
                self.file.check()
                reason = error.strerror if isinstance(error, OSError) else error
                text = f"{self.file.path}: block {number} can't be decoded: {reason}"
                raise HostReadError(text) from error
            finally:
                fcntl.lockf(self._kept, fcntl.LOCK_UN, 1, number)

    def close(self) -> None:
        """See `Source.close`."""
        self.file.close()
        descriptor, self._kept = self._kept, -1
        if descriptor >= 0:
            os.close(descriptor)


def _write(descriptor: int, data: bytes, place: int) -> None:
    written = os.pwrite(descriptor, data, place)
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], place + written)


def _unnamed(size: int) -> int:
    folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108  made without a name there
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(size)
            return os.dup(file.fileno())
    except OSError as error:
        text = f"no file can be made in {folder} (TMPDIR is another): {error.strerror}"
        raise SourceError(text) from error


def _right() -> None:
    """Check nothing: a block was checked when it was decoded."""


class XzReader(Reader):
    """The inside of an .xz file, as one connection has it."""

    def __init__(self, file: XzFile) -> None:
        self.size = file.size
        self._file = file

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Reader.pieces`."""
        check_range(offset, length, self.size)
        if not length:
            return []
        return list(pieces_of(self._file.descriptor(offset, length), offset, length, _right))

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Reader.extents`. Of a block that was not decoded, all is data."""
        check_range(offset, length, self.size)
        starts, end = self._file.index.starts, offset + length
        while offset < end:
            number = bisect_right(starts, offset) - 1
            stop = min(starts[number + 1], end)
            if self._file.is_decoded(number):
                yield from extents_of(self._file.kept, offset, stop - offset)
            else:
                yield Extent(stop - offset, False, Kind.FILE)
            offset = stop

    def prefetch(self, offset: int, length: int) -> None:
        """See `Reader.prefetch`."""
        check_range(offset, length, self.size)
        if length:
            self._file.descriptor(offset, length)
