"""The interface between what makes a disk and what passes it on: exports, and readers of them.

Anything that has a size and answers ranges is an `Export`. Images made of directories are exports,
and so is a filter around another export; a server, a file writer and a map read them, and know no
more of them than what stands here. `synth` makes exports and `nbd` serves them: neither imports
the other, both import this.

    export = ...                            # immutable; shared by connections and processes
    with export.open() as reader:           # one for each connection: open files, caches
        reader.read(0, 512)                 # bytes
        reader.pieces(0, 1 << 20)           # the same uncopied: bytes, holes, slices of files
        reader.extents(0, export.size)      # structure, without reading any content
        reader.read_batch(ranges)           # many small reads at once

All that a reader can do beyond `pieces` has a default that is made of `pieces`: a filter that
changes bytes there changes them for every way of reading.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, Self, TypeAlias

from .errors import VfloppyError

MOST_DESCRIPTORS = 250
"""Descriptors that a detached reader may keep: the kernel takes 253 with one message."""
MOST_STATE_BYTES = 16 << 10
"""Bytes that the state of a detached reader may have, so that it fits into the same message."""


class HostReadError(VfloppyError, OSError):
    """A file that no longer gives the bytes that the scan saw; the message says which and why.

    `errno` is EIO; `str()` is one sentence with the file's path, fit for a log or an error reply.
    """

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    @property
    def marked(self) -> str:
        """The sentence with its marks of options, to be part of another."""
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[HostReadError], tuple[str]]:
        return HostReadError, (str(self),)


class Hole:
    """`length` zero bytes."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    def __repr__(self) -> str:
        return f"Hole({self.length})"


class FileSlice:
    """`length` bytes that stay in a file, from byte `offset` of it, until an outlet moves them.

    `read` is the simple way. An outlet that has the kernel move the bytes takes `descriptor`, and
    calls `finish` when they have moved; one that has them copied in parts takes `copy`, likewise.
    Methods raise HostReadError. It has no metaclass, as that of abstract classes would slow down
    `isinstance`, which is asked for each piece, to a fifth.
    """

    __slots__ = ("length", "offset")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length

    def __repr__(self) -> str:
        return f"{type(self).__name__}(offset={self.offset}, length={self.length})"

    def read(self) -> bytes:
        """Return all bytes, checked."""
        raise NotImplementedError

    def part(self, start: int, length: int) -> FileSlice:
        """Return `length` bytes from byte `start` of the slice on, as a slice."""
        raise NotImplementedError

    def descriptor(self) -> int:
        """Return an open descriptor of the file, valid until the next call to the same reader."""
        raise NotImplementedError

    def copy(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from byte `start` of the slice on, not yet checked."""
        raise NotImplementedError

    def finish(self, moved: int) -> None:
        """Raise HostReadError unless the first `moved` bytes, just moved, were the right ones.

        Fewer than `length` are an error, too, unless the reader pads files that became shorter.
        """
        raise NotImplementedError

    def prefetch(self) -> None:
        """Have the bytes fetched into memory, where that is possible."""

    def lend(self) -> memoryview | None:
        """Return the bytes as a view, or None. For system calls only: a page may be missing."""
        return None


SECTOR_BYTES = 512
"""Some clients read whole sectors only: runs end at multiples of it, where they can."""
Piece: TypeAlias = bytes | Hole | FileSlice
Buffer: TypeAlias = bytes | memoryview
Range: TypeAlias = tuple[int, int]
"""An offset and a length, in bytes."""


class Kind(StrEnum):
    """The purpose of a run of an export."""

    PARTITION_TABLE = "partition table"
    RESERVED = "reserved"
    TABLE = "table"
    DIRECTORY = "directory"
    FILE = "file"
    FREE = "free"


class Extent(NamedTuple):
    """A run of an export that is of one kind; `hole` promises that it reads as zeros."""

    length: int
    hole: bool
    kind: Kind


class FileRun(NamedTuple):
    """A run of an export that belongs to one file, by its number; 0: to none."""

    length: int
    number: int


class Features(NamedTuple):
    """Abilities of an export, and its needs of the process that reads it."""

    writable: bool = False
    """`Export.open` returns a `Writer`."""
    multi_conn: bool = True
    """Several readers at a time see the same bytes."""
    directories: tuple[int, ...] = ()
    """Open descriptors of the host's directories beneath which it reads."""
    network: bool = False
    """It opens network connections while it is read."""
    programs: bool = False
    """It starts programs while it is read."""
    wants_arrivals: bool = False
    """Whoever reads it for clients should call `Reader.arrived`."""


class Alerts(Protocol):
    """Tells readers of signals, by which the kernel announces writers of a leased file."""

    def listen(self, callback: Callable[[int], None], numbers: Iterable[int]) -> bool:
        """Have the bound method `callback` called in the main thread with the number of a signal.

        It is held weakly. Return False where signals can't be heard, as in other threads.
        """
        ...


class Detached(NamedTuple):
    """The rest of a reader whose connection is parked, for a reader of another process to adopt."""

    state: bytes = b""
    """Known to the reader alone."""
    descriptors: tuple[int, ...] = ()
    """Open descriptors, in the reader's order; the holder of this closes them."""


class Batch:
    """The data of some ranges, read at once.

    `buffers` has an item for each range: its bytes, or None where it must be read by `pieces`
    (holes, and ranges that fail). They are good when `commit` has returned True. Some may be lent:
    views of mapped files, good until `release`. Send them in between, without waiting for a client;
    a range that does not go at once can be read again by `Reader.read` before `release`.

        batch = reader.read_batch(ranges, lends=True)
        if batch.commit():                          # all buffers are right
            connection.sendmsg(batch.buffers, (), MSG_DONTWAIT)
        batch.release()                             # a writer may go on
    """

    is_lent = False
    """Some buffers are views that only system calls may look at."""
    may_have_gaps = True
    """Buffers may be None; False if surely none is, which spares a look at each."""

    def __init__(self, buffers: list[Buffer | None]) -> None:
        self.buffers = buffers

    def commit(self) -> bool:
        """Return whether all buffers are right, and keep those that are lent so until `release`.

        After False none may be used: read each range again, to tell the good from the bad.
        """
        return True

    def release(self) -> None:
        """End what `commit` began. May be called without it."""


class Reader(ABC):
    """An export as one connection or one program reads it; for one thread at a time."""

    size: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    @abstractmethod
    def pieces(self, offset: int, length: int) -> Iterable[Piece]:
        """Return the range as pieces whose lengths add up to `length`; none is empty.

        Raise ValueError unless 0 <= offset and offset + length <= size; OSError if it can't be
        read.
        """

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield the structure of the range, without reading content; lengths add up to `length`.

        Raise as `pieces` does.
        """
        check_range(offset, length, self.size)
        if length:
            yield Extent(length, False, Kind.FILE)

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        """Yield the files that the parts of the range belong to; lengths add up to `length`.

        Raise ValueError as `pieces` does.
        """
        check_range(offset, length, self.size)
        if length:
            yield FileRun(length, 0)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of the range. Raise as `pieces` does."""
        return joined(exactly(self.pieces(offset, length), offset, length))

    def read_batch(self, ranges: Sequence[Range], *, lends: bool = False) -> Batch:  # noqa: ARG002
        """Return the data of many small ranges within bounds, none of them empty.

        The batch is valid until the next call. With `lends`, its buffers may be views that only
        system calls may look at.
        """
        return Batch([self.read_simple(offset, length) for offset, length in ranges])

    def read_simple(self, offset: int, length: int) -> bytes | None:
        """Return the bytes of one small range, checked; None for a hole, or if the read fails.

        `pieces` then tells which, and why.
        """
        try:
            pieces = list(exactly(self.pieces(offset, length), offset, length))
            return None if all(isinstance(each, Hole) for each in pieces) else joined(pieces)
        except OSError:  # raised again, with its reason, by `pieces`
            return None

    def prefetch(self, offset: int, length: int) -> None:  # noqa: B027  most have nothing to do
        """Have a range that will soon be read fetched into memory, where that is possible.

        Raise as `pieces` does.
        """

    def arrived(self) -> None:  # noqa: B027  most have nothing to do
        """Take note that requests have come, and will be carried out now."""

    def detach(self) -> Detached | None:
        """Return all that another process needs to go on reading; None if that can't be done.

        After anything but None, this reader may only be closed, and not before its descriptors were
        sent.
        """
        return Detached()

    def adopt(self, detached: Detached) -> None:  # noqa: B027  most have nothing to do
        """Go on from what another reader of this export left, before anything is read here."""

    def close(self) -> None:  # noqa: B027  most have nothing to do
        """Give up open files. May be called twice."""


class Writer(Reader):
    """A reader of an export that can be written over, as `Features.writable` says.

    Each write is seen by all readers of the export as soon as it has returned. Writes that overlap
    while both are under way have no order. Methods raise ValueError as `pieces` does, and OSError
    with the number of the reason: ENOSPC, EIO.
    """

    @abstractmethod
    def write(self, offset: int, data: Buffer) -> None:
        """Replace the bytes from `offset` on."""

    @abstractmethod
    def zero(self, offset: int, length: int, *, may_trim: bool = True, fast: bool = False) -> None:
        """Have a range read as zeros.

        Without `may_trim` it keeps its room, so that writing to it later needs none. With `fast`,
        raise OSError of ENOTSUP where that would take as long as writing zeros.
        """

    @abstractmethod
    def trim(self, offset: int, length: int) -> None:
        """Take note that a range is not needed: whole sectors of it read as zeros."""

    @abstractmethod
    def flush(self) -> None:
        """Return when all that any writer of the export has written is durable."""


class Export(ABC):
    """A disk that can be served, written, mapped, or wrapped by a filter.

    Immutable, but for what writers do to one that is writable.
    """

    @property
    @abstractmethod
    def size(self) -> int:
        """The length in bytes."""

    @property
    def identity(self) -> bytes:
        """A digest that tells exports apart: two with one identity hold the same bytes.

        It is derived from names, sizes, times in nanoseconds and options; empty where none of them
        is known.
        """
        return b""

    @property
    def features(self) -> Features:
        """Its abilities and needs."""
        return Features()

    def file_name(self, number: int) -> str:  # noqa: ARG002
        """Return the path of a file of `Reader.files`, as it is shown; empty if it has none."""
        return ""

    @abstractmethod
    def open(self, alerts: Alerts | None = None) -> Reader:
        """Return a reader. With `alerts`, files may be read at less cost while nobody writes."""


def whole_sectors(used: int) -> int:
    """Return the bytes of the sectors that `used` bytes begin to fill."""
    return -(-used // SECTOR_BYTES) * SECTOR_BYTES


def check_range(offset: int, length: int, size: int) -> None:
    """Raise ValueError unless a range lies within an export of `size` bytes."""
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"bytes {offset} to {offset + length} are not within an export of {size}")


def exactly(pieces: Iterable[Piece], offset: int, length: int) -> Iterator[Piece]:
    """Yield the pieces that answer a range. Raise OSError when their lengths don't add up to it:
    a reply of another length would put a connection out of step.
    """
    left = length
    for piece in pieces:
        left -= len(piece) if isinstance(piece, bytes) else piece.length
        if left < 0:
            break
        yield piece
    if left:
        text = f"an export answered a read of {length} bytes at {offset} with {length - left} bytes"
        raise OSError(errno.EIO, text)


def joined(pieces: Iterable[Piece]) -> bytes:
    """Return the bytes of pieces, checked. Raise OSError."""
    return b"".join(map(piece_bytes, pieces))


def piece_bytes(piece: Piece) -> bytes:
    """Return the bytes of one piece, checked. Raise OSError."""
    if isinstance(piece, bytes):
        return piece
    return piece.read() if isinstance(piece, FileSlice) else bytes(piece.length)
