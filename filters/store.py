"""The file of an overlay: what was written over a disk, and which of its sectors were.

    0          header: magic, version, places, the size of the disk and a digest of the document
    4 KiB      document: the identity of the disk below and its description, as JSON
    map        a byte for each sector of 512 bytes: untouched, data, or zeros
    data       each sector at its own offset from here

All of it is sparse. A sector is one byte of the map, so two processes that write to neighbours
never meet; its data is written before its byte. The map is read and written by system calls, as
the data is: a page of a mapped file that can't be had, on a file system that is full or has
failed, would end the process. A summary in memory, shared by forks, tells where looking at the map
is worth it, so that what nobody has written costs no call.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, Self

from ..errors import VfloppyError
from ..export import Buffer, HostReadError, Range, Reader, piece_bytes
from .header import (
    SECTOR,
    OverlayError,
    OverlayWriteError,
    data_at,
    map_at,
    punch,
    read_header,
    refused,
    sync_folder,
    take,
    unnamed,
    write_all,
    write_header,
)

UNTOUCHED, DATA, ZERO = 0, 1, 2

_LEAST_CHUNK_SHIFT = 16  # a byte of the summary is for so many bytes of the disk, or more, ...
_MOST_CHUNKS = 1 << 22  # ... so that there are no more bytes than this
_FLAGS = 2  # behind the summary's chunks: _ANY and _LOST
_MAP_PART = 1 << 16  # sectors whose bytes of the map are looked at, or written, at a time
_STATES = {state: bytes((state,)) * _MAP_PART for state in (DATA, ZERO)}
_PLAIN_BYTES = 1 << _LEAST_CHUNK_SHIFT  # in no more than two chunks
_PLAIN_STATES = _STATES[DATA][: _PLAIN_BYTES // SECTOR]
_RUN = re.compile(rb"(.)\1*", re.DOTALL)
_TOUCHED = re.compile(rb"[^\0]+")


class OverlayFile:
    """The writes to a disk of `size` bytes, in a file that forks share.

    Ranges are within the disk. Reading raises HostReadError, writing OverlayWriteError.
    """

    def __init__(
        self, descriptor: int, name: str, size: int, places: Range, document: Mapping[str, Any]
    ) -> None:
        """`places` are where map and data start; `name` is empty for a file without one."""
        self.name = name
        self._descriptor = descriptor
        self._lock = threading.Lock()  # threads share what keeps processes apart
        self._begin(size, places, document)

    def _begin(self, size: int, places: Range, document: Mapping[str, Any]) -> None:
        """Begin with nothing written."""
        self.size = size
        self._document = document
        self._map_at, self._data_at = places
        self._sectors = -(-size // SECTOR)
        self.chunk_shift = max(_LEAST_CHUNK_SHIFT, (size // _MOST_CHUNKS).bit_length())
        chunks = (size >> self.chunk_shift) + 1
        # Shared by processes that are forked later; the kernel gives it back with the last of them.
        self.summary = mmap.mmap(-1, chunks + _FLAGS)
        """A byte for each `1 << chunk_shift` bytes of the disk: 1 where the map must be asked."""
        self._any, self._lost = chunks, chunks + 1

    @classmethod
    def temporary(cls, size: int) -> Self:
        """Make an overlay without a name, which is gone when it is closed. Raise OverlayError."""
        folder = os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108  made without a name there
        try:
            descriptor = unnamed(folder, data_at(size, 0) + size)
        except OSError as error:
            text = f"no overlay can be made in {folder} (TMPDIR is another): {error.strerror}"
            raise OverlayError(text) from error
        return cls(descriptor, "", size, (map_at(0), data_at(size, 0)), {})

    @classmethod
    def create(
        cls,
        path: str,
        size: int,
        identity: bytes = b"",
        description: Mapping[str, Any] | None = None,
    ) -> Self:
        """Make an overlay at a path where nothing is, or an empty file. Raise OverlayError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise refused(path, error.strerror) from error
        try:
            take(descriptor, path)
            if os.fstat(descriptor).st_size:
                raise refused(path, "something else has come there")
            made = cls(descriptor, path, size, (0, 0), {})
            made.renew(size, identity, description or {})
            sync_folder(path)
        except OSError as error:
            os.close(descriptor)
            raise refused(path, error.strerror) from error
        except OverlayError:
            os.close(descriptor)
            raise
        return made

    @classmethod
    def open(cls, path: str, *, writable: bool = False, live: bool = False) -> Self:
        """Open an overlay that is there. Raise OverlayError.

        It is for one writer, or several readers, at a time. With `live`, read it although a server
        may be writing to it.
        """
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            raise refused(path, error.strerror) from error
        try:
            if not live:
                take(descriptor, path, shared=not writable)
            size, places, document = read_header(descriptor, path)
            if os.fstat(descriptor).st_size < places[1] + size:
                raise refused(path, "it has been cut short: its data is not all there")
            opened = cls(descriptor, path, size, places, document)
            for offset, length in opened.touched():
                opened._note(offset, length)
        except OSError as error:
            os.close(descriptor)
            raise refused(path, error.strerror or str(error)) from error
        except VfloppyError:
            os.close(descriptor)
            raise
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    @property
    def title(self) -> str:
        """The overlay in words, for messages."""
        return f"the overlay {self.name}" if self.name else "the temporary overlay"

    @property
    def identity(self) -> bytes:
        """The identity of the disk below; empty where it has none."""
        return bytes.fromhex(self._document.get("identity", ""))

    @property
    def description(self) -> Mapping[str, Any]:
        """The facts of the disk below that whoever made the overlay left in it."""
        found = self._document.get("description", {})
        return found if isinstance(found, dict) else {}

    @property
    def is_touched(self) -> bool:
        """True once anything was written."""
        return bool(self.summary[self._any])

    @property
    def written_bytes(self) -> int:
        """The length of all that was written, in sectors, each counted once."""
        return sum(length for _, length in self.touched())

    def renew(self, size: int, identity: bytes, description: Mapping[str, Any]) -> None:
        """Take another disk for the one below, while nothing is written. Raise OSError."""
        assert not self.is_touched
        if self.name:
            document = {"identity": identity.hex(), "description": dict(description)}
            places = write_header(self._descriptor, size, document)
        else:
            document, places = {}, (map_at(0), data_at(size, 0))
            os.ftruncate(self._descriptor, places[1] + size)
        self._begin(size, places, document)

    # --- which sectors ---

    def touches(self, offset: int, length: int) -> bool:
        """Return whether anything within a range may have been written."""
        first, last = offset >> self.chunk_shift, (offset + length - 1) >> self.chunk_shift
        if first == last:
            return bool(self.summary[first])
        return self.summary.find(b"\1", first, last + 1) >= 0

    def runs(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield offset, length and state of runs that tile a range; neighbours may be alike."""
        end, shift, summary = offset + length, self.chunk_shift, self.summary
        chunks = (end - 1 >> shift) + 1
        while offset < end:
            chunk = offset >> shift
            if summary[chunk]:
                other = summary.find(b"\0", chunk, chunks)
                stop = min(end, offset - offset % SECTOR + _MAP_PART * SECTOR)
                if other >= 0:
                    stop = min(stop, other << shift)
                yield from self._runs_of_map(offset, stop)
            else:
                other = summary.find(b"\1", chunk, chunks)
                stop = end if other < 0 else min(end, other << shift)
                yield offset, stop - offset, UNTOUCHED
            offset = stop

    def _runs_of_map(self, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
        first = offset // SECTOR
        states = self.states(first, -(-end // SECTOR) - first)
        for run in _RUN.finditer(states):
            start = max((first + run.start()) * SECTOR, offset)
            yield start, min((first + run.end()) * SECTOR, end) - start, states[run.start()]

    def states(self, first: int, count: int) -> bytes:
        """Return the state of each of some sectors."""
        found = self._pread(count, self._map_at + first)
        if len(found) < count or found.translate(None, b"\0\1\2"):
            raise HostReadError(f"{self.title} is damaged: its map makes no sense")
        return found

    def touched(self) -> Iterator[Range]:
        """Yield the ranges of the disk that were written, ascending, merged; sectors are whole.

        That takes as long as there is of them, however large the disk is.
        """
        start = end = 0
        for kept, stop in self._kept_of_map():
            for first in range(kept, stop, _MAP_PART):
                states = self.states(first, min(_MAP_PART, stop - first))
                for run in _TOUCHED.finditer(states):
                    if first + run.start() > end:
                        if start < end:
                            yield self._bytes(start, end)
                        start = first + run.start()
                    end = first + run.end()
        if start < end:
            yield self._bytes(start, end)

    def _bytes(self, first: int, end: int) -> Range:
        return first * SECTOR, min(end * SECTOR, self.size) - first * SECTOR

    def _kept_of_map(self) -> Iterator[Range]:
        """Yield the stretches of sectors, first and end, whose bytes of the map are in the file."""
        position, end = self._map_at, self._map_at + self._sectors
        while position < end:
            try:
                start = os.lseek(self._descriptor, position, os.SEEK_DATA)
                stop = min(os.lseek(self._descriptor, start, os.SEEK_HOLE), end)
            except OSError as error:
                if error.errno == errno.ENXIO:  # all that follows is a hole
                    return
                start, stop = position, end  # the file system doesn't tell
            if start >= end:
                return
            yield start - self._map_at, stop - self._map_at
            position = stop

    # --- data ---

    def read(self, base: Reader, offset: int, length: int) -> bytes:
        """Return bytes of the disk as it is now, `base` being what it was written over."""
        found = []
        for start, count, state in self.runs(offset, length):
            if state == UNTOUCHED:
                found += [piece_bytes(each) for each in base.pieces(start, count)]
            else:
                found.append(self.pread(start, count) if state == DATA else bytes(count))
        return b"".join(found)

    def pread(self, offset: int, length: int) -> bytes:
        """Return bytes that were written. Raise HostReadError."""
        data = self._pread(length, self._data_at + offset)
        if len(data) < length:
            raise HostReadError(f"{self.title} has been cut short")
        return data

    def place(self, offset: int) -> Range:
        """Return the descriptor of the file, and the byte in it that is at `offset` of the disk."""
        return self._descriptor, self._data_at + offset

    def put(self, offset: int, data: Buffer) -> None:
        """Write whole sectors, of which the last may be the disk's shorter one."""
        length = len(data)
        if length > _PLAIN_BYTES:
            self.write(offset, data)
            self.mark(offset, length, DATA)
            return
        # The same for what nearly all writes are, with less on the way.
        descriptor, summary = self._descriptor, self.summary
        count = (length + SECTOR - 1) // SECTOR
        try:
            if os.pwrite(descriptor, data, self._data_at + offset) < length:
                write_all(descriptor, data, self._data_at + offset)
            place = self._map_at + offset // SECTOR
            if os.pwrite(descriptor, _PLAIN_STATES[:count], place) < count:
                write_all(descriptor, _PLAIN_STATES[:count], place)
        except OSError as error:
            self._fail(error)
        summary[offset >> self.chunk_shift] = 1
        summary[offset + length - 1 >> self.chunk_shift] = 1
        summary[self._any] = 1

    def write(self, offset: int, data: Buffer) -> None:
        """Write bytes of sectors that are data, or will be marked so."""
        try:
            write_all(self._descriptor, data, self._data_at + offset)
        except OSError as error:
            self._fail(error)

    def mark(self, offset: int, length: int, state: int) -> None:
        """Give sectors a state; those of data must have been written."""
        first, count = offset // SECTOR, -(-length // SECTOR)
        try:
            for done in range(0, count, _MAP_PART):
                states = _STATES[state][: count - done]
                write_all(self._descriptor, states, self._map_at + first + done)
        except OSError as error:
            self._fail(error)
        finally:  # of what can't be marked as a whole, a part may be
            self._note(offset, length)

    def _note(self, offset: int, length: int) -> None:
        """Have the map asked for a range from now on."""
        summary, first = self.summary, offset >> self.chunk_shift
        last = (offset + length - 1) >> self.chunk_shift
        if first == last:
            summary[first] = 1
        else:
            summary[first : last + 1] = b"\1" * (last + 1 - first)
        summary[self._any] = 1

    def free(self, offset: int, length: int) -> None:
        """Give back the room of sectors that are no data any more, where the system can."""
        punch(self._descriptor, self._data_at + offset, length)

    @contextmanager
    def alone(self, offset: int) -> Iterator[int]:
        """Keep others from a sector that is to be read, changed and written; provide its state.

        Only those who ask for it here are kept from it.
        """
        with self._lock:
            place = self._map_at + offset // SECTOR
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, place)
            except OSError as error:
                self._fail(error)
            try:
                yield self.states(offset // SECTOR, 1)[0] if self.touches(offset, 1) else UNTOUCHED
            finally:
                with suppress(OSError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)

    def sync(self) -> None:
        """Return when all that any process has written is durable; at once for a temporary one."""
        if not self.name:
            return
        try:
            # The kernel tells of a failure once, and may have forgotten the pages by then.
            if self.summary[self._lost]:
                raise OSError(errno.EIO, "an earlier flush has failed")
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
        except OSError as error:
            self.summary[self._lost] = 1
            self._fail(error)

    def close(self) -> None:
        """Close the file; a temporary one is gone then. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _pread(self, count: int, place: int) -> bytes:
        try:
            return os.pread(self._descriptor, count, place)
        except OSError as error:
            raise HostReadError(f"{self.title} can't be read: {error.strerror}") from error

    def _fail(self, error: OSError) -> NoReturn:
        text = f"{self.title} can't be written: {error.strerror}"
        raise OverlayWriteError(error.errno or errno.EIO, text) from error
