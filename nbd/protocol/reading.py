"""Replies to reads of any shape, composed from pieces; reads of one piece never come here.

Doc: `NBD_CMD_READ`, `NBD_REPLY_TYPE_OFFSET_DATA`, `NBD_REPLY_TYPE_OFFSET_HOLE`. A fragmented reply:

    small pieces, gathered  one data chunk, at most about BATCH_BYTES long
    a long hole             a hole chunk, and no zeros but those of a sector that has data
    a large slice           a data chunk that isn't the last, whose bytes the caller transfers,
                            but for those of a sector that others share; then comes what the check
                            of the file said: an end, or an error
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeAlias

from ...export import SECTOR_BYTES, Buffer, FileSlice, Hole, Piece, Reader, exactly, piece_bytes
from . import wire
from .replies import Replies

BATCH_BYTES = 1 << 20
HOLE_MIN_BYTES = 4 << 10  # a shorter hole costs more in chunk headers than in zeros

_DONE = wire.NBD_REPLY_FLAG_DONE
_ZEROS = memoryview(bytes(64 << 10))

Item: TypeAlias = "list[Buffer] | LentBuffers | Transfer"
"""Buffers to be sent, all of them; or one of the two kinds that are sent in another way."""
Reading: TypeAlias = Generator[Item, None, int]


class LentBuffers:
    """Buffers of which some are views of mapped files, to be sent as far as goes without waiting.

    Only the kernel may look at them: a page that can't be had ends a process that looks. Whoever
    sends them leaves the number of bytes that went in `sent`.
    """

    __slots__ = ("buffers", "sent")

    def __init__(self, buffers: list[Buffer]) -> None:
        self.buffers = buffers
        self.sent = 0


class Transfer:
    """A slice of a file to be sent straight from there; exactly `slice.length` bytes must go out.

    Whoever sends it pads with zeros if need be, and leaves in `error` the reason if the bytes are
    not good.
    """

    __slots__ = ("error", "slice")

    def __init__(self, file_slice: FileSlice) -> None:
        self.slice = file_slice
        self.error: OSError | None = None


class ReadFailedError(Exception):
    """A read that failed on the host at `offset`, in bytes from the start of the export."""

    def __init__(self, offset: int, error: OSError) -> None:
        super().__init__(str(error))
        self.offset = offset
        self.error = error


def read_pinned(reader: Reader, offset: int, length: int) -> bytes:
    """Return the bytes of a range of a committed batch, unchecked, or fewer if the file ends.

    Raise OSError.
    """
    return b"".join(
        piece.copy(0, piece.length) if isinstance(piece, FileSlice) else piece_bytes(piece)
        for piece in reader.pieces(offset, length)
    )


def read_whole(
    out: list[Buffer],
    cookie: int,
    offset: int,
    length: int,
    pieces: Iterable[Piece],
    replies: Replies,
) -> int:
    """Add one reply with all the data to `out`, all of it read before any is sent.

    Return the number of bytes added. Raise ReadFailedError, and then add nothing.
    """
    parts: list[Buffer] = []
    position = offset
    try:
        for piece in exactly(pieces, offset, length):
            position += _append(parts, piece)
    except OSError as error:
        raise ReadFailedError(position, error) from error
    out += (replies.data_header(_DONE, cookie, offset, offset, length), *parts)
    return length


def read_chunks(
    out: list[Buffer],
    cookie: int,
    offset: int,
    length: int,
    pieces: Iterable[Piece],
    replies: Replies,
    *,
    transfer_min_bytes: int,
) -> Reading:
    """Add a structured reply to `out`, fragmented where that saves work; yield `out` when full.

    Return the number of bytes left there. Raise ReadFailedError when an error chunk with DONE must
    follow what was added.
    """
    chunks = _Chunks(out, cookie, offset, offset + length, replies)
    try:
        for piece in exactly(pieces, offset, length):
            if isinstance(piece, Hole) and piece.length >= HOLE_MIN_BYTES:
                chunks.add_hole(piece.length)
            elif isinstance(piece, FileSlice) and piece.length >= transfer_min_bytes:
                beyond = chunks.beyond_sectors(piece.length)
                whole = piece.length - beyond
                transfer = chunks.begin_transfer(piece.part(0, whole) if beyond else piece)
                yield out
                out.clear()
                yield transfer
                chunks.end_transfer(transfer)
                if beyond:
                    chunks.gather(piece.part(whole, beyond))
            else:
                chunks.gather(piece)
            if chunks.pending >= BATCH_BYTES:
                yield out
                out.clear()
                chunks.pending = 0
        chunks.close()
    except OSError as error:
        raise ReadFailedError(chunks.position, error) from error
    return chunks.pending


class _Chunks:
    """The chunks of one reply, as far as it has come."""

    def __init__(
        self, out: list[Buffer], cookie: int, offset: int, end: int, replies: Replies
    ) -> None:
        self.position = offset
        self._at = offset
        self._replies = replies
        self.pending = 0  # bytes of data added to `out`
        self._out = out
        self._cookie = cookie
        self._end = end
        self._parts: list[Buffer] = []  # gathered and not yet in a chunk,
        self._start = offset  # from here to `position`

    def gather(self, piece: Piece) -> int:
        """Read a piece for the next data chunk, and return its length.

        Raise OSError, with `position` at its start.
        """
        length = _append(self._parts, piece)
        self.position += length
        if self.position - self._start >= BATCH_BYTES:
            self._close_sectors()
        return length

    def _close_sectors(self) -> None:
        """Make a data chunk of what was gathered, but for what begins a sector."""
        last = memoryview(self._parts.pop())
        beyond = min(self.beyond_sectors(0), len(last))
        whole = len(last) - beyond
        self._parts += [last[:whole]] if whole else []
        self.position -= beyond
        self.close()
        self._parts += [last[whole:]] if beyond else []
        self.position += beyond

    def close(self) -> None:
        """Make a data chunk of what was gathered, if anything was."""
        length = self.position - self._start
        if self._parts:
            done = _DONE if self.position == self._end else 0
            header = self._replies.data_header(done, self._cookie, self._at, self._start, length)
            self._out += (header, *self._parts)
            self._parts = []
            self.pending += length
        self._start = self.position

    def add_hole(self, length: int) -> None:
        """Add a chunk that stands for zeros; those of a sector with data go with that."""
        if self._parts:
            shared = -self.position % SECTOR_BYTES
            length -= self.gather(Hole(shared)) if shared else 0
        self.close()
        done = _DONE if self.position + length == self._end else 0
        hole = self._replies.hole(done, self._cookie, self._at, self.position, length)
        self._out.append(hole)
        self._advance(length)

    def beyond_sectors(self, length: int) -> int:
        """Return how many of the next bytes are in a sector of which they are the beginning only.

        At the end of the reply there is no such sector.
        """
        end = self.position + length
        return 0 if end == self._end else end % SECTOR_BYTES

    def begin_transfer(self, piece: FileSlice) -> Transfer:
        """Add the header of a data chunk, and return the transfer that must go out behind it."""
        self.close()
        header = self._replies.data_header(0, self._cookie, self._at, self.position, piece.length)
        self._out.append(header)
        return Transfer(piece)

    def end_transfer(self, transfer: Transfer) -> None:
        """Go on behind a transfer. Raise OSError when the bytes that went out are not good."""
        self.pending = 0
        if transfer.error is not None:
            raise transfer.error
        self._advance(transfer.slice.length)
        if self.position == self._end:
            self._out.append(self._replies.done(self._cookie, self._at))

    def _advance(self, length: int) -> None:
        self.position += length
        self._start = self.position


def _append(parts: list[Buffer], piece: Piece) -> int:
    """Add the bytes of a piece, and return their number. Raise OSError."""
    if isinstance(piece, bytes):
        parts.append(piece)
        return len(piece)
    if isinstance(piece, FileSlice):
        parts.append(piece.read())
        return piece.length
    whole, rest = divmod(piece.length, len(_ZEROS))
    parts += [_ZEROS] * whole
    if rest:
        parts.append(_ZEROS[:rest])
    return piece.length


def behind(buffers: list[Buffer], sent: int) -> list[Buffer]:
    """Return buffers without their first `sent` bytes."""
    rest: list[Buffer] = []
    for buffer in buffers:
        if sent < len(buffer):
            rest.append(buffer[sent:])
        sent = max(sent - len(buffer), 0)
    return rest
