"""What an export is made of: the words that images speak and that outlets understand.

A range of an export is answered with pieces, in order and without gaps:

    bytes                   computed: boot sectors, tables, directory records
    Hole(length)            zeros that nobody builds and, where the protocol allows, nobody sends
    HostSlice(...)          bytes that stay in a host file until an outlet moves them

`synth` makes exports and `nbd` serves them; neither imports the other, both import this.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeAlias


class HostReadError(OSError):
    """A host file no longer gives the bytes that the scan saw; the message says which and why.

    `errno` is EIO; `str()` is one sentence with the file's path, fit for a log or an error reply.
    """

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[HostReadError], tuple[str]]:
        return HostReadError, (str(self),)


class HostFiles(Protocol):
    """Reads scanned host files by number; every answer is checked against the scan."""

    @property
    def steady(self) -> Mapping[int, int]:
        """Open descriptors by file, of files that were checked and that nobody can change before
        `alarms` grows: what is read from them while it stays the same needs no `verify`.
        """
        ...

    @property
    def mapped(self) -> Mapping[int, memoryview]:
        """The contents of some files of `steady`, to be handed to system calls and not to be looked
        at: a page that can't be had fails a system call, and ends a process that looks itself.
        """
        ...

    @property
    def alarms(self) -> int:
        """How often a file has left `steady` because somebody was about to change it."""
        ...

    def count(self, index: int, length: int) -> None:
        """Notes that so much of a file was read, which makes it worth a place in `mapped`."""
        ...

    def pin(self) -> None:
        """From now on nobody can change a file of `steady`, even if `alarms` grows; whoever wants
        to is kept waiting, so be quick.
        """
        ...

    def unpin(self) -> None:
        """Ends what `pin` began."""
        ...

    @property
    def open_count(self) -> int:
        """How many files are open."""
        ...

    def release(self) -> Mapping[int, int]:
        """The descriptors of open files, by file, for another process to `adopt`; `steady` is empty
        from now on, and nobody who wants to change a file is kept waiting.
        """
        ...

    def adopt(self, descriptors: Mapping[int, int]) -> None:
        """Takes over what another process has released; nothing may be open yet."""
        ...

    @property
    def pads(self) -> bool:
        """Whether changed files are read as they are, with zeros where they end too early."""
        ...

    def read(self, index: int, offset: int, length: int) -> bytes:
        """Exactly `length` bytes of file `index` from byte `offset`.

        Raises HostReadError when the file is not what the scan saw.
        """
        ...

    def descriptor(self, index: int) -> int:
        """An open descriptor of file `index`, valid until the next call of any method here.

        For sendfile and copy_file_range; call `verify` after the bytes have moved.
        Raises HostReadError as `read` does.
        """
        ...

    def verify(self, index: int) -> None:
        """Raises HostReadError unless file `index` is still what the scan saw.

        A file whose descriptor was closed in between is opened again, and checked in doing so.
        """
        ...


class Hole:
    """`length` zero bytes."""

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    def __repr__(self) -> str:
        return f"Hole({self.length})"


class HostSlice:
    """`length` bytes of host file `index` of `files`, from byte `offset` of that file."""

    __slots__ = ("files", "index", "length", "offset")

    def __init__(self, files: HostFiles, index: int, offset: int, length: int) -> None:
        self.files = files
        self.index = index
        self.offset = offset
        self.length = length

    def __repr__(self) -> str:
        return f"HostSlice(index={self.index}, offset={self.offset}, length={self.length})"

    def read(self) -> bytes:
        """The bytes, checked. Raises HostReadError."""
        return self.files.read(self.index, self.offset, self.length)


Piece: TypeAlias = bytes | Hole | HostSlice


class Kind(StrEnum):
    """What a run of an export is for."""

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


class HostRuns(NamedTuple):
    """Where host files lie in an export, as columns, for an outlet that can't spare a call a read.

    File n starts at byte `start + (starts[n] << block_shift)` and is `sizes[n]` bytes long; behind
    it are zeros until the next. Of files that start in one place only the last has bytes there.
    `starts` has one item more, which is where all ends: at byte `end`.
    """

    files: HostFiles
    start: int
    end: int
    block_shift: int
    starts: Sequence[int]
    sizes: Sequence[int]


class Export(Protocol):
    """Anything that can be served, written or mapped. Offsets and lengths are in bytes.

    One that holds host files may also have `host_runs`, a HostRuns or None: a short cut to what
    `pieces` says of them; `file_runs`, the same for the files whose numbers mean something to the
    user, where disks inside have files, too; and `host_files`, a sequence of the HostFiles that its
    slices are of.
    """

    @property
    def size(self) -> int:
        """The length of the whole."""
        ...

    def pieces(self, offset: int, length: int) -> Iterable[Piece]:
        """The range as pieces whose lengths add up to `length`; none is empty.

        Raises ValueError unless 0 <= offset and offset + length <= size.
        """
        ...

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """The structure of the range, lazily, without reading content; lengths add up to `length`.

        Raises ValueError as `pieces` does.
        """
        ...
