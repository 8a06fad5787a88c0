"""The transmission phase, sans I/O: requests in, batches of outgoing buffers out.

The caller receives into `space()`, tells how much came with `received(count)`, and sends what
that yields, in order: a list of buffers, Lent ones that only the kernel may look at, or a Transfer
whose bytes should go straight from the host file to the socket. No socket is touched here; export
and host files are read.
Doc: "Transmission phase", "Request types", "Structured reply types". Rules kept here:

- A read of one file, which is nearly all of them, passes through one loop (see `plain`).
- Memory is bounded by `BATCH_BYTES`, or by one request where its reply may not be fragmented.
- DONE goes out with a data chunk only when its bytes have been read and checked.
- A refused WRITE is answered after its payload has passed by, as clients expect.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import length_hint
from types import MappingProxyType
from typing import TypeAlias

from ..pieces import Export, HostRuns, HostSlice, Piece
from . import wire
from .errors import ProtocolError
from .plain import NO_RUNS, PlainReads
from .reading import (
    BATCH_BYTES,
    Buffer,
    Item,
    Lent,
    ReadFailedError,
    Reading,
    Transfer,
    read_chunks,
    read_pinned,
    read_whole,
)
from .replies import ExtendedReplies, Replies, SimpleReplies
from .rules import MOST_STATUS_PAYLOAD_BYTES, RefusedError, Request, check, payload_bytes
from .status import MAXIMUM_EXTENTS, statuses

RECEIVE_BYTES = 64 << 10
BATCH_BUFFERS = 1000  # below the kernel's limit for one sendmsg, IOV_MAX

Batches: TypeAlias = Iterator[Item]

_DONE = wire.NBD_REPLY_FLAG_DONE
_MOST_LISTED = 2048  # numbers of a column that each connection may have as objects
_MOST_PAYLOAD_BYTES = 1 << 32  # to let pass by; whoever sends more is dropped
_read_ahead = getattr(os, "posix_fadvise", None)  # macOS has none


class Session:
    """One connection after its handshake."""

    def __init__(
        self,
        export: Export,
        *,
        structured: bool,
        extended: bool = False,
        contexts: Mapping[str, int] = MappingProxyType({}),
        transfer_min_bytes: int = wire.MAXIMUM_BLOCK_BYTES,
        lends: bool = False,
        report: Callable[[str], None] = lambda _message: None,
    ) -> None:
        """`contexts` has the ids of those metadata contexts that the client selected.

        Slices from `transfer_min_bytes` up come out as a Transfer, where the protocol allows it.
        With `lends`, batches may come out as Lent.
        `report` is told of each failure of the host once.
        """
        self.closed = False
        self._export = export
        self._structured = structured
        self._extended = extended
        self._replies = (
            ExtendedReplies() if extended else Replies() if structured else SimpleReplies()
        )
        # Head, cookie, offset and length of a request, whichever its layout.
        self._request = wire.EXTENDED_REQUEST if extended else wire.HEADED_REQUEST
        self._magic = wire.NBD_EXTENDED_REQUEST_MAGIC if extended else wire.NBD_REQUEST_MAGIC
        self._read_head = wire.EXTENDED_READ_HEAD if extended else wire.READ_HEAD
        self._contexts = contexts
        self._transfer_min_bytes = transfer_min_bytes
        self._report = report
        self._reported: set[str] = set()
        self._view = memoryview(bytearray(RECEIVE_BYTES))
        self._filled = 0  # bytes of an incomplete request at the start of the view
        self._payload = 0  # bytes behind a request that are still to come
        self._kept_payload: bytearray | None = None  # them, unless nobody wants them
        self._after_payload: Callable[[bytes], bytes] = lambda _payload: b""  # makes the reply
        self._out: list[Buffer] = []  # replies that may go out
        self._runs: HostRuns = getattr(export, "host_runs", None) or NO_RUNS
        # Comparing the numbers of an array makes an object of each.
        is_small = len(self._runs.starts) <= _MOST_LISTED
        self._starts = list(self._runs.starts) if is_small else self._runs.starts
        self._sizes = list(self._runs.sizes) if is_small else self._runs.sizes
        pinned = partial(read_pinned, export)
        self._plain = PlainReads(self._runs.files, self._read_checked, pinned, lends=lends)
        self._carry_out = self._hot_loop()

    @property
    def at_rest(self) -> bool:
        """Whether every request that has begun to come has been answered."""
        return not self._filled and not self._payload

    def space(self) -> memoryview:
        """Where the next bytes from the client belong; never empty."""
        return self._view[self._filled :]

    def received(self, count: int) -> Batches:
        """Carries out what `count` more bytes complete; each list is valid until the next item.

        Raises ProtocolError, after everything that came before it, for a bad request magic.
        """
        end = self._filled + count
        start = 0
        request_bytes = self._request.size
        while not self.closed:
            if self._payload:
                start += self._pass_payload(start, end)
            usable = (end - start) // request_bytes * request_bytes
            if self._payload or not usable:
                break
            requests = self._request.iter_unpack(self._view[start : start + usable])
            yield from self._carry_out(requests)
            # After one with payload, what follows is not a request: step back to it.
            start += usable - length_hint(requests) * request_bytes
        yield from self._flush()
        self._filled = end - start
        self._view[: self._filled] = self._view[start:end]

    def _hot_loop(self) -> Callable[[Iterator[wire.Headed]], Reading]:
        """What carries out every request until a WRITE with payload or a disconnection.

        It asks the columns of the export itself, where there are any: a call is a tenth of what a
        small read costs. All that it needs is looked up here, once.
        """
        runs, plain, out = self._runs, self._plain, self._out
        shift = runs.block_shift
        starts, sizes = self._starts, self._sizes
        runs_start, runs_bytes = runs.start, runs.end - runs.start
        view_of, read, read_end = plain.mapped.get, plain.read, plain.read_end
        is_steady = runs.files.steady.__contains__
        buffers, append, remember = plain.buffers, plain.buffers.append, plain.requests.append
        structured, compact = self._structured, self._structured and not self._extended
        pack_data, data_header = wire.HEADED_DATA.pack, self._replies.data_header
        read_head, data_head, most = self._read_head, wire.DATA_HEAD, wire.MAXIMUM_BLOCK_BYTES
        limit = self._transfer_min_bytes

        def carry_out(requests: Iterator[wire.Headed]) -> Reading:
            pending = 0
            for request in requests:
                head, cookie, offset, length = request
                inside = offset - runs_start
                data: Buffer = b""
                if head == read_head and 0 <= inside < runs_bytes and 0 < length <= most:
                    file = bisect_right(starts, inside >> shift) - 1
                    position = inside - (starts[file] << shift)
                    end, size = position + length, sizes[file]
                    if length < limit:
                        view = view_of(file)
                        if end <= size:
                            data = view[position:end] if view else read(file, length, position)
                        elif position < size and inside + length <= starts[file + 1] << shift:
                            data = read_end(file, length, position, size)
                    elif end <= size and structured and is_steady(file):
                        piece = HostSlice(runs.files, file, position, length)
                        yield from self._transfer(cookie, offset, piece)
                        pending = 0
                        continue
                if data and len(data) == length:
                    if compact:
                        append(pack_data(data_head, cookie, length + 8, offset))
                    else:
                        append(data_header(_DONE, cookie, offset, offset, length))
                    append(data)
                    remember(request)
                    pending += length
                else:
                    pending += yield from self._other(request)
                    if self.closed or self._payload:
                        break
                if pending >= BATCH_BYTES or len(buffers) + len(out) >= BATCH_BUFFERS:
                    yield from self._flush()
                    pending = 0
            return pending

        return carry_out

    def _other(self, request: wire.Headed) -> Reading:
        """What the hot loop leaves. Returns how many bytes that added to the batch."""
        head, cookie, offset, length = request
        magic, flags, command = head >> 32, head >> 16 & 0xFFFF, head & 0xFFFF
        if magic != self._magic:
            yield from self._drop(f"request magic {magic:#x} found, {self._magic:#x} expected")
        beyond = offset + length > self._export.size
        if head != self._read_head or not 0 < length <= wire.MAXIMUM_BLOCK_BYTES or beyond:
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

    def _flush(self, *behind: Buffer) -> Batches:
        """Lets go of the batch, with some more behind it."""
        out, plain = self._out, self._plain
        first = len(out)
        is_lent = plain.settle(out)
        out += behind
        if is_lent:
            lent = Lent(out)
            try:
                yield lent
                is_cut = lent.sent < sum(map(len, out))
                if is_cut:
                    plain.keep_begun(out, first, lent.sent)
            finally:
                plain.unpin()
            out[:] = plain.unsent(out, first, lent.sent) if is_cut else ()
            plain.forget()
        if out:
            yield out
            out.clear()

    def _read_checked(self, out: list[Buffer], cookie: int, offset: int, length: int) -> None:
        """Adds the reply to a plain read, checked by itself."""
        try:
            pieces = self._export.pieces(offset, length)
            read_whole(out, cookie, offset, length, pieces, self._replies)
        except ReadFailedError as failure:
            out.append(self._failed(cookie, offset, failure.error, failure.offset))
        except OSError as error:
            out.append(self._failed(cookie, offset, error))

    def _transfer(self, cookie: int, offset: int, piece: HostSlice) -> Batches:
        """The reply to a read of one large slice; what follows it tells whether it was good."""
        # Nothing may come between the header and the bytes.
        yield from self._flush(self._replies.data_header(0, cookie, offset, offset, piece.length))
        transfer = Transfer(piece)
        yield transfer
        if transfer.error is None:
            self._out.append(self._replies.done(cookie, offset))
        else:
            self._out.append(self._failed(cookie, offset, transfer.error))

    def _drop(self, reason: str) -> Batches:
        """The stream is out of step, and nothing after this point can be trusted."""
        yield from self._flush()
        raise ProtocolError(reason)

    def _pass_payload(self, start: int, end: int) -> int:
        """Lets what follows a request go by; the count of its bytes that were here."""
        passed = min(self._payload, end - start)
        self._payload -= passed
        if self._kept_payload is not None:
            self._kept_payload += self._view[start : start + passed]
        if not self._payload:
            self._out.append(self._after_payload(bytes(self._kept_payload or b"")))
            self._kept_payload = None
        return passed

    def _unusual(self, request: Request) -> Reading:
        """Everything that isn't a plain read within bounds. Returns the bytes it added."""
        _, flags, command, cookie, offset, length = request
        if command == wire.NBD_CMD_DISC:
            self.closed = True
            return 0
        if payload := payload_bytes(request, extended=self._extended):
            if payload > _MOST_PAYLOAD_BYTES:
                yield from self._drop(f"a request with {payload} bytes behind it")
            self._payload = payload
            self._after_payload = partial(self._answer, request)
            if command == wire.NBD_CMD_BLOCK_STATUS and payload <= MOST_STATUS_PAYLOAD_BYTES:
                self._kept_payload = bytearray()
            return 0
        if command == wire.NBD_CMD_READ and length:
            try:
                check(
                    request,
                    self._export.size,
                    structured=self._structured,
                    extended=self._extended,
                )
                pieces = self._export.pieces(offset, length)
                return (yield from self._read(flags, cookie, offset, length, pieces))
            except RefusedError as error:
                reply = self._replies.error(cookie, offset, error.number, str(error))
            except OSError as error:
                reply = self._failed(cookie, offset, error)
        else:
            reply = self._answer(request)
        self._out.append(reply)
        return len(reply)

    def _answer(self, request: Request, payload: bytes = b"") -> bytes:
        """The reply to anything but a read of some bytes."""
        magic, flags, command, cookie, offset, length = request
        try:
            wanted: tuple[int, ...] | None = None
            if command == wire.NBD_CMD_BLOCK_STATUS and flags & wire.NBD_CMD_FLAG_PAYLOAD_LEN:
                if length > MOST_STATUS_PAYLOAD_BYTES:
                    text = f"a payload of {length} bytes, and {MOST_STATUS_PAYLOAD_BYTES} is most"
                    raise RefusedError(wire.NBD_EINVAL, text)
                length, wanted = wire.unpack_status_payload(payload)
            checked = (magic, flags, command, cookie, offset, length)
            size = self._export.size
            check(checked, size, structured=self._structured, extended=self._extended)
            if command == wire.NBD_CMD_BLOCK_STATUS:
                return self._block_status(flags, cookie, offset, length, wanted)
            if command == wire.NBD_CMD_CACHE and length:
                self._cache(offset, length)
            return self._replies.done(cookie, offset)
        except RefusedError as error:
            return self._replies.error(cookie, offset, error.number, str(error))
        except wire.MalformedError as error:
            return self._replies.error(cookie, offset, wire.NBD_EINVAL, str(error))
        except OSError as error:
            return self._failed(cookie, offset, error)

    def _read(
        self, flags: int, cookie: int, offset: int, length: int, pieces: Iterable[Piece]
    ) -> Reading:
        """A read of any shape. Returns the bytes it left in the batch."""
        out, replies = self._out, self._replies
        try:
            if self._structured and not flags & wire.NBD_CMD_FLAG_DF:
                least = self._transfer_min_bytes
                return (
                    yield from read_chunks(
                        out, cookie, offset, length, pieces, replies, transfer_min_bytes=least
                    )
                )
            return read_whole(out, cookie, offset, length, pieces, replies)
        except ReadFailedError as failure:
            out.append(self._failed(cookie, offset, failure.error, failure.offset))
            return 0

    def _block_status(
        self, flags: int, cookie: int, offset: int, length: int, wanted: tuple[int, ...] | None
    ) -> bytes:
        """One chunk a context, those `wanted` or all. Raises RefusedError and OSError."""
        contexts = {context_id: name for name, context_id in self._contexts.items()}
        if not contexts:
            raise RefusedError(wire.NBD_EINVAL, "no metadata context was negotiated")
        if not length:
            raise RefusedError(wire.NBD_EINVAL, "block status of no bytes was asked for")
        ids = tuple(contexts) if wanted is None else wanted
        if not ids or not contexts.keys() >= set(ids):
            raise RefusedError(wire.NBD_EINVAL, "a metadata context that was not negotiated")
        if len(set(ids)) < len(ids):
            raise RefusedError(wire.NBD_EINVAL, "a metadata context was asked for twice")
        most = 1 if flags & wire.NBD_CMD_FLAG_REQ_ONE else MAXIMUM_EXTENTS // len(ids)
        chunks = []
        for context_id in ids:
            found = statuses(contexts[context_id], self._export, offset, length, most=most)
            done = _DONE if context_id == ids[-1] else 0
            chunks.append(self._replies.status(done, cookie, offset, context_id, found))
        return b"".join(chunks)

    def _cache(self, offset: int, length: int) -> None:
        """Has the host read ahead what will be asked for soon. Raises OSError."""
        for piece in self._export.pieces(offset, length):
            if isinstance(piece, HostSlice):
                descriptor = piece.files.descriptor(piece.index)
                if _read_ahead is not None:
                    _read_ahead(descriptor, piece.offset, piece.length, os.POSIX_FADV_WILLNEED)

    def _failed(self, cookie: int, at: int, error: OSError, offset: int | None = None) -> bytes:
        """The reply to a request that the host let down at `offset`; reported once per message."""
        text = str(error)
        if text not in self._reported:
            self._reported.add(text)
            self._report(text)
        failed_at = at if offset is None else offset
        return self._replies.error_at(cookie, at, wire.error_number(error), text, failed_at)
