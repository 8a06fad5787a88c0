"""The transmission phase, sans I/O: requests in, batches of outgoing buffers out.

The caller receives into `space()`, tells how much came with `received(count)`, and sends what
that yields, in order: a list of buffers, or a Transfer whose bytes should go straight from the
host file to the socket. No socket is touched here; export and host files are read.
Doc: "Transmission phase", "Request types", "Structured reply types". Rules kept here:

- A read of one piece, which is nearly all of them, passes through one loop with no call of ours.
- Memory is bounded by `BATCH_BYTES`, or by one request where its reply may not be fragmented.
- DONE goes out with a data chunk only when its bytes have been read and checked.
- A refused WRITE is answered after its payload has passed by, as clients expect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import length_hint

from ..pieces import Export, HostSlice, Piece
from . import wire
from .errors import ProtocolError
from .reading import (
    BATCH_BYTES,
    TRANSFER_MIN_BYTES,
    Buffer,
    ReadFailedError,
    Reading,
    Transfer,
    read_chunks,
    read_whole,
)
from .status import allocation

RECEIVE_BYTES = 64 << 10
BATCH_BUFFERS = 1000  # below the kernel's limit for one sendmsg, IOV_MAX

_MAGIC = wire.NBD_STRUCTURED_REPLY_MAGIC
_DONE = wire.NBD_REPLY_FLAG_DONE
_DATA = wire.NBD_REPLY_TYPE_OFFSET_DATA

# Which flags a command may carry; FUA and FAST_ZERO are not advertised.
_VALID_FLAGS = {
    wire.NBD_CMD_READ: wire.NBD_CMD_FLAG_DF,
    wire.NBD_CMD_WRITE: 0,
    wire.NBD_CMD_FLUSH: 0,
    wire.NBD_CMD_TRIM: 0,
    wire.NBD_CMD_CACHE: 0,
    wire.NBD_CMD_WRITE_ZEROES: wire.NBD_CMD_FLAG_NO_HOLE,
    wire.NBD_CMD_BLOCK_STATUS: wire.NBD_CMD_FLAG_REQ_ONE,
}
_WRITES = {wire.NBD_CMD_WRITE, wire.NBD_CMD_TRIM, wire.NBD_CMD_WRITE_ZEROES}
_NO_SPACE = {wire.NBD_CMD_WRITE, wire.NBD_CMD_WRITE_ZEROES}
_BLOCK_BOUND = {wire.NBD_CMD_READ, wire.NBD_CMD_CACHE}


class _RefusedError(Exception):
    """The request can't be carried out: an NBD error number and a sentence."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


class Session:
    """One connection after its handshake."""

    def __init__(
        self,
        export: Export,
        *,
        structured: bool,
        allocation_id: int | None = None,
        report: Callable[[str], None] = lambda _message: None,
    ) -> None:
        """`allocation_id` is the id of base:allocation, None unless the client selected it.

        `report` is told of each failure of the host once.
        """
        self.closed = False
        self._export = export
        self._structured = structured
        self._allocation_id = allocation_id
        self._report = report
        self._reported: set[str] = set()
        self._view = memoryview(bytearray(RECEIVE_BYTES))
        self._filled = 0  # bytes of an incomplete request at the start of the view
        self._payload = 0  # bytes of a refused WRITE still to pass by
        self._after_payload = b""  # the reply that waits for them
        self._out: list[Buffer] = []

    def space(self) -> memoryview:
        """Where the next bytes from the client belong; never empty."""
        return self._view[self._filled :]

    def received(self, count: int) -> Iterator[list[Buffer] | Transfer]:
        """Carries out what `count` more bytes complete; each list is valid until the next item.

        Raises ProtocolError, after everything that came before it, for a bad request magic.
        """
        end = self._filled + count
        start = 0
        while not self.closed:
            if self._payload:
                start += self._pass_payload(end - start)
            usable = (end - start) // wire.REQUEST.size * wire.REQUEST.size
            if self._payload or not usable:
                break
            requests = wire.REQUEST.iter_unpack(self._view[start : start + usable])
            yield from self._carry_out(requests)
            # After a WRITE, what follows is not a request: step back to it.
            start += usable - length_hint(requests) * wire.REQUEST.size
        if self._out:
            yield self._out
            self._out.clear()
        self._filled = end - start
        self._view[: self._filled] = self._view[start:end]

    def _carry_out(self, requests: Iterator[tuple[int, int, int, int, int, int]]) -> Reading:
        """Every request until a WRITE with payload or a disconnection: the hot loop."""
        size, pieces = self._export.size, self._export.pieces
        structured, out, pending = self._structured, self._out, 0
        pack_data, pack_simple = wire.OFFSET_DATA.pack, wire.SIMPLE_REPLY.pack
        request_magic, longest = wire.NBD_REQUEST_MAGIC, wire.MAXIMUM_BLOCK_BYTES
        for magic, flags, command, cookie, offset, length in requests:
            if magic != request_magic:
                yield from self._drop(magic)
            if flags or command or not 0 < length <= longest or offset + length > size:
                pending += yield from self._unusual(flags, command, cookie, offset, length)
                if self.closed or self._payload:
                    break
            else:
                try:
                    answer = iter(pieces(offset, length))
                    piece = next(answer)
                    if (
                        type(piece) is HostSlice
                        and piece.length == length
                        and length < TRANSFER_MIN_BYTES
                    ):
                        data = piece.read()
                    elif type(piece) is bytes and len(piece) == length:
                        data = piece
                    else:
                        data = None
                except OSError as error:
                    out.append(self._failed(cookie, offset, error))
                    continue
                if data is None:
                    pending += yield from self._read(
                        0, cookie, offset, length, chain((piece,), answer)
                    )
                else:
                    if structured:
                        out.append(pack_data(_MAGIC, _DONE, _DATA, cookie, length + 8, offset))
                    else:
                        out.append(pack_simple(wire.NBD_SIMPLE_REPLY_MAGIC, 0, cookie))
                    out.append(data)
                    pending += length
            if pending >= BATCH_BYTES or len(out) >= BATCH_BUFFERS:
                yield out
                out.clear()
                pending = 0
        return pending

    def _drop(self, magic: int) -> Reading:
        """The stream is out of step, and nothing after this point can be trusted."""
        if self._out:
            yield self._out
            self._out.clear()
        raise ProtocolError(f"request magic {magic:#x} found, {wire.NBD_REQUEST_MAGIC:#x} expected")

    def _pass_payload(self, available: int) -> int:
        """Lets the payload of a refused WRITE go by; the count of its bytes that were here."""
        passed = min(self._payload, available)
        self._payload -= passed
        if not self._payload:
            self._out.append(self._after_payload)
        return passed

    def _unusual(self, flags: int, command: int, cookie: int, offset: int, length: int) -> Reading:
        """Everything that isn't a plain read within bounds. Returns the bytes it added."""
        if command == wire.NBD_CMD_DISC:
            self.closed = True
            return 0
        try:
            self._check(flags, command, offset, length)
            if command == wire.NBD_CMD_READ and length:
                pieces = self._export.pieces(offset, length)
                return (yield from self._read(flags, cookie, offset, length, pieces))
            if command == wire.NBD_CMD_BLOCK_STATUS:
                reply = self._block_status(flags, cookie, offset, length)
            else:
                reply = self._done(cookie)
        except _RefusedError as error:
            reply = self._error(cookie, error.number, str(error))
        except OSError as error:
            reply = self._failed(cookie, offset, error)
        if command == wire.NBD_CMD_WRITE and length:
            self._payload = length
            self._after_payload = reply
            return 0
        self._out.append(reply)
        return len(reply)

    def _check(self, flags: int, command: int, offset: int, length: int) -> None:
        """Raises _RefusedError. Doc: "Error values" and "Block size constraints"."""
        if command not in _VALID_FLAGS:
            raise _RefusedError(wire.NBD_EINVAL, f"command {command} is unknown")
        valid = _VALID_FLAGS[command] if self._structured else 0
        if flags & ~valid:
            raise _RefusedError(
                wire.NBD_EINVAL, f"command {command} does not take the flags {flags & ~valid:#x}"
            )
        size = self._export.size
        if offset + length > size:
            number = wire.NBD_ENOSPC if command in _NO_SPACE else wire.NBD_EINVAL
            text = f"{length} bytes at offset {offset} go past the end, which is at {size}"
            raise _RefusedError(number, text)
        if command in _WRITES:
            raise _RefusedError(wire.NBD_EPERM, "the export is read-only")
        if command in _BLOCK_BOUND and length > wire.MAXIMUM_BLOCK_BYTES:
            text = f"{length} bytes in one request, and {wire.MAXIMUM_BLOCK_BYTES} is most"
            raise _RefusedError(wire.NBD_EINVAL, text)
        if command == wire.NBD_CMD_FLUSH and (offset or length):
            raise _RefusedError(wire.NBD_EINVAL, "a flush takes no offset and no length")

    def _read(
        self, flags: int, cookie: int, offset: int, length: int, pieces: Iterable[Piece]
    ) -> Reading:
        """A read of any shape. Returns the bytes it left in the batch."""
        out = self._out
        try:
            if self._structured and not flags & wire.NBD_CMD_FLAG_DF:
                return (yield from read_chunks(out, cookie, offset, length, pieces))
            return read_whole(out, self._structured, cookie, offset, length, pieces)
        except ReadFailedError as failure:
            out.append(self._failed(cookie, failure.offset, failure.error))
            return 0

    def _block_status(self, flags: int, cookie: int, offset: int, length: int) -> bytes:
        """Raises _RefusedError and OSError."""
        if self._allocation_id is None:
            raise _RefusedError(wire.NBD_EINVAL, "no metadata context was negotiated")
        if not length:
            raise _RefusedError(wire.NBD_EINVAL, "block status of no bytes was asked for")
        one = bool(flags & wire.NBD_CMD_FLAG_REQ_ONE)
        descriptors = allocation(self._export.extents(offset, length), one=one)
        kind, payload_bytes = wire.NBD_REPLY_TYPE_BLOCK_STATUS, 4 + len(descriptors)
        return (
            wire.BLOCK_STATUS.pack(_MAGIC, _DONE, kind, cookie, payload_bytes, self._allocation_id)
            + descriptors
        )

    def _done(self, cookie: int) -> bytes:
        if self._structured:
            return wire.CHUNK.pack(_MAGIC, _DONE, wire.NBD_REPLY_TYPE_NONE, cookie, 0)
        return wire.SIMPLE_REPLY.pack(wire.NBD_SIMPLE_REPLY_MAGIC, 0, cookie)

    def _error(self, cookie: int, number: int, text: str) -> bytes:
        if self._structured:
            return wire.pack_error_chunk(cookie, number, text)
        return wire.SIMPLE_REPLY.pack(wire.NBD_SIMPLE_REPLY_MAGIC, number, cookie)

    def _failed(self, cookie: int, offset: int, error: OSError) -> bytes:
        """The reply to a request that the host let down at `offset`; reported once per message."""
        text = str(error)
        if text not in self._reported:
            self._reported.add(text)
            self._report(text)
        number = wire.error_number(error)
        if self._structured:
            return wire.pack_error_offset_chunk(cookie, number, text, offset)
        return self._error(cookie, number, text)
