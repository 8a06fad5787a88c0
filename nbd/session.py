"""The transmission phase, sans I/O: requests in, batches of outgoing buffers out.

The caller receives into `space()`, tells how much came with `received(count)`, and sends what
that yields, in order: a list of buffers, or a Transfer whose bytes should go straight from the
host file to the socket. No socket is touched here; export and host files are read.
Doc: "Transmission phase", "Request types", "Structured reply types". Rules kept here:

- A small read of one file, which is nearly all of them, passes through one loop without a call.
- Memory is bounded by `BATCH_BYTES`, or by one request where its reply may not be fragmented.
- DONE goes out with a data chunk only when its bytes have been read and checked.
- A refused WRITE is answered after its payload has passed by, as clients expect.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import length_hint
from types import MappingProxyType
from typing import TypeAlias

from ..pieces import Export, HostReadError, HostRuns, HostSlice, Piece
from . import wire
from .errors import ProtocolError
from .reading import (
    BATCH_BYTES,
    Buffer,
    ReadFailedError,
    Reading,
    Transfer,
    read_chunks,
    read_whole,
)
from .rules import RefusedError, Request, check
from .status import allocation

RECEIVE_BYTES = 64 << 10
BATCH_BUFFERS = 1000  # below the kernel's limit for one sendmsg, IOV_MAX

Replies: TypeAlias = Iterator["list[Buffer] | Transfer"]


class _NoFiles:
    """Stands where an export tells nothing of host files."""

    steady: Mapping[int, int] = MappingProxyType({})
    alarms = 0

    def read(self, index: int, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def descriptor(self, index: int) -> int:
        raise NotImplementedError

    def verify(self, index: int) -> None:
        raise NotImplementedError


_NO_RUNS = HostRuns(_NoFiles(), 0, 0, 0, (), ())
_MAGIC = wire.NBD_STRUCTURED_REPLY_MAGIC
_DONE = wire.NBD_REPLY_FLAG_DONE
_DATA = wire.NBD_REPLY_TYPE_OFFSET_DATA


class Session:
    """One connection after its handshake."""

    def __init__(
        self,
        export: Export,
        *,
        structured: bool,
        allocation_id: int | None = None,
        transfer_min_bytes: int = wire.MAXIMUM_BLOCK_BYTES,
        report: Callable[[str], None] = lambda _message: None,
    ) -> None:
        """`allocation_id` is the id of base:allocation, None unless the client selected it.

        Slices from `transfer_min_bytes` up come out as a Transfer, where the protocol allows it.
        `report` is told of each failure of the host once.
        """
        self.closed = False
        self._export = export
        self._structured = structured
        self._allocation_id = allocation_id
        self._transfer_min_bytes = transfer_min_bytes
        self._report = report
        self._reported: set[str] = set()
        self._view = memoryview(bytearray(RECEIVE_BYTES))
        self._filled = 0  # bytes of an incomplete request at the start of the view
        self._payload = 0  # bytes of a refused WRITE still to pass by
        self._after_payload = b""  # the reply that waits for them
        self._out: list[Buffer] = []  # replies that may go out
        self._plain: list[Buffer] = []  # replies to plain reads, whose files must be checked first
        self._plain_requests: list[wire.Headed] = []
        self._plain_files: set[int] = set()
        self._runs: HostRuns = getattr(export, "host_runs", None) or _NO_RUNS
        self._alarms = self._runs.files.alarms

    def space(self) -> memoryview:
        """Where the next bytes from the client belong; never empty."""
        return self._view[self._filled :]

    def received(self, count: int) -> Replies:
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
            requests = wire.HEADED_REQUEST.iter_unpack(self._view[start : start + usable])
            yield from self._carry_out(requests)
            # After a WRITE, what follows is not a request: step back to it.
            start += usable - length_hint(requests) * wire.REQUEST.size
        yield from self._flush()
        self._filled = end - start
        self._view[: self._filled] = self._view[start:end]

    def _carry_out(self, requests: Iterator[wire.Headed]) -> Reading:
        """Every request until a WRITE with payload or a disconnection: the hot loop.

        It asks the columns of the export itself, where there are any: a call is a tenth of what a
        small read costs.
        """
        runs, plain = self._runs, self._plain
        files, shift, starts, sizes = runs.files, runs.block_shift, runs.starts, runs.sizes
        runs_start, runs_bytes = runs.start, runs.end - runs.start
        steady_descriptor, depend_on = files.steady.get, self._plain_files.add
        append, remember, structured = plain.append, self._plain_requests.append, self._structured
        pack_data, pack_simple = wire.HEADED_DATA.pack, wire.SIMPLE_REPLY.pack
        pread, read_head, data_head = os.pread, wire.READ_HEAD, wire.DATA_HEAD
        limit, pending = self._transfer_min_bytes, 0
        for request in requests:
            head, cookie, offset, length = request
            inside = offset - runs_start
            data = b""
            if head == read_head and 0 <= inside < runs_bytes and 0 < length < limit:
                file = bisect_right(starts, inside >> shift) - 1
                position = inside - (starts[file] << shift)
                if position + length <= sizes[file]:
                    descriptor = steady_descriptor(file)
                    try:
                        if descriptor is None:
                            descriptor = files.descriptor(file)
                            depend_on(file)
                        data = pread(descriptor, length, position)
                    except OSError:
                        data = b""
            if data and len(data) == length:
                if structured:
                    append(pack_data(data_head, cookie, length + 8, offset))
                else:
                    append(pack_simple(wire.NBD_SIMPLE_REPLY_MAGIC, 0, cookie))
                append(data)
                remember(request)
                pending += length
            else:
                pending += yield from self._other(request)
                if self.closed or self._payload:
                    break
            if pending >= BATCH_BYTES or len(plain) + len(self._out) >= BATCH_BUFFERS:
                yield from self._flush()
                pending = 0
        return pending

    def _other(self, request: wire.Headed) -> Reading:
        """What the hot loop leaves. Returns how many bytes that added to the batch."""
        head, cookie, offset, length = request
        magic, flags, command = head >> 32, head >> 16 & 0xFFFF, head & 0xFFFF
        if magic != wire.NBD_REQUEST_MAGIC:
            yield from self._drop(magic)
        beyond = offset + length > self._export.size
        if head != wire.READ_HEAD or not 0 < length <= wire.MAXIMUM_BLOCK_BYTES or beyond:
            return (yield from self._unusual((magic, flags, command, cookie, offset, length)))
        try:
            pieces = list(self._export.pieces(offset, length))
        except OSError as error:
            self._out.append(self._failed(cookie, offset, error))
            return 0
        piece = pieces[0]
        is_large = length >= self._transfer_min_bytes
        if self._structured and is_large and isinstance(piece, HostSlice) and len(pieces) == 1:
            yield from self._transfer(cookie, offset, piece)
            return 0
        return (yield from self._read(0, cookie, offset, length, pieces))

    def _flush(self) -> Replies:
        """Lets go of the batch."""
        self._settle()
        if self._out:
            yield self._out
            self._out.clear()

    def _settle(self) -> None:
        """Adds the replies to plain reads, once the files that they come from were checked.

        One check a file and batch, instead of one a read: a third of a small read's cost.
        """
        files = self._runs.files
        try:
            if files.alarms != self._alarms:
                raise HostReadError("a file that was under lease is being written to")
            for index in self._plain_files:
                files.verify(index)
            self._out += self._plain
        except OSError:
            self._alarms = files.alarms
            for _, cookie, offset, length in self._plain_requests:
                self._read_checked(cookie, offset, length)
        self._plain.clear()
        self._plain_requests.clear()
        self._plain_files.clear()

    def _read_checked(self, cookie: int, offset: int, length: int) -> None:
        """Reads again, with a check of its own, to tell the good reads of a batch from the bad."""
        try:
            pieces = self._export.pieces(offset, length)
            read_whole(self._out, cookie, offset, length, pieces, structured=self._structured)
        except ReadFailedError as failure:
            self._out.append(self._failed(cookie, failure.offset, failure.error))
        except OSError as error:
            self._out.append(self._failed(cookie, offset, error))

    def _transfer(self, cookie: int, offset: int, piece: HostSlice) -> Replies:
        """The reply to a read of one large slice; what follows it tells whether it was good."""
        header = wire.OFFSET_DATA.pack(_MAGIC, 0, _DATA, cookie, piece.length + 8, offset)
        self._settle()
        self._out.append(header)  # nothing may come between it and the bytes
        yield self._out
        self._out.clear()
        transfer = Transfer(piece)
        yield transfer
        if transfer.error is None:
            self._out.append(self._done(cookie))
        else:
            self._out.append(self._failed(cookie, offset, transfer.error))

    def _drop(self, magic: int) -> Replies:
        """The stream is out of step, and nothing after this point can be trusted."""
        yield from self._flush()
        raise ProtocolError(f"request magic {magic:#x} found, {wire.NBD_REQUEST_MAGIC:#x} expected")

    def _pass_payload(self, available: int) -> int:
        """Lets the payload of a refused WRITE go by; the count of its bytes that were here."""
        passed = min(self._payload, available)
        self._payload -= passed
        if not self._payload:
            self._out.append(self._after_payload)
        return passed

    def _unusual(self, request: Request) -> Reading:
        """Everything that isn't a plain read within bounds. Returns the bytes it added."""
        _, flags, command, cookie, offset, length = request
        if command == wire.NBD_CMD_DISC:
            self.closed = True
            return 0
        try:
            check(request, self._export.size, structured=self._structured)
            if command == wire.NBD_CMD_READ and length:
                pieces = self._export.pieces(offset, length)
                return (yield from self._read(flags, cookie, offset, length, pieces))
            if command == wire.NBD_CMD_BLOCK_STATUS:
                reply = self._block_status(flags, cookie, offset, length)
            else:
                reply = self._done(cookie)
        except RefusedError as error:
            reply = self._error(cookie, error.number, str(error))
        except OSError as error:
            reply = self._failed(cookie, offset, error)
        if command == wire.NBD_CMD_WRITE and length:
            self._payload = length
            self._after_payload = reply
            return 0
        self._out.append(reply)
        return len(reply)

    def _read(
        self, flags: int, cookie: int, offset: int, length: int, pieces: Iterable[Piece]
    ) -> Reading:
        """A read of any shape. Returns the bytes it left in the batch."""
        out = self._out
        try:
            if self._structured and not flags & wire.NBD_CMD_FLAG_DF:
                return (
                    yield from read_chunks(
                        out,
                        cookie,
                        offset,
                        length,
                        pieces,
                        transfer_min_bytes=self._transfer_min_bytes,
                    )
                )
            return read_whole(out, cookie, offset, length, pieces, structured=self._structured)
        except ReadFailedError as failure:
            out.append(self._failed(cookie, failure.offset, failure.error))
            return 0

    def _block_status(self, flags: int, cookie: int, offset: int, length: int) -> bytes:
        """Raises RefusedError and OSError."""
        if self._allocation_id is None:
            raise RefusedError(wire.NBD_EINVAL, "no metadata context was negotiated")
        if not length:
            raise RefusedError(wire.NBD_EINVAL, "block status of no bytes was asked for")
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
