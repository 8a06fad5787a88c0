"""The transmission phase, sans I/O: requests in, batches of outgoing buffers out.

The caller receives into `space()`, tells how much came with `received(count)`, and sends what
that yields, in order: a list of buffers; LentBuffers, which only the kernel may look at; or a
Transfer, whose bytes should go straight from a file to the socket. No socket is touched here; the
export is read. Requests other than reads are answered by `answers`.
Doc: "Transmission phase", "Request types", "Structured reply types". Rules kept here:

- Small reads, which are nearly all requests, are read and answered many at once.
- Memory is bounded by `BATCH_BYTES`, or by one request where its reply may not be fragmented.
- DONE goes out with a data chunk only when its bytes have been read and checked.
- A refused WRITE is answered after its payload has passed by, as clients expect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import length_hint
from types import MappingProxyType, NoneType
from typing import TypeAlias, cast

from ...export import Buffer, FileSlice, HostReadError, Piece, Range, Reader
from ..errors import ProtocolError
from . import wire
from .answers import Answers
from .reading import (
    BATCH_BYTES,
    Item,
    LentBuffers,
    ReadFailedError,
    Reading,
    Transfer,
    behind,
    read_chunks,
    read_pinned,
    read_whole,
)
from .replies import ExtendedReplies, Replies, SimpleReplies
from .validation import MOST_STATUS_PAYLOAD_BYTES, RefusedError, Request, payload_bytes

_MANY_REQUESTS = 12  # that are looked at together in less time than one by one
BATCH_BUFFERS = 1000  # below the kernel's limit for one sendmsg, IOV_MAX

Batches: TypeAlias = Iterator[Item]

_DONE = wire.NBD_REPLY_FLAG_DONE
_MOST_PAYLOAD_BYTES = 1 << 32  # to let pass by; whoever sends more is dropped


class Session:
    """One connection after its handshake: carries out requests, and makes the replies."""

    receive_bytes = 64 << 10
    writes = False

    def __init__(
        self,
        reader: Reader,
        *,
        structured: bool,
        extended: bool = False,
        contexts: Mapping[str, int] = MappingProxyType({}),
        transfer_min_bytes: int = wire.MAXIMUM_BLOCK_BYTES,
        lends: bool = False,
        report: Callable[[str], None] = lambda _message: None,
    ) -> None:
        """`contexts` maps the metadata contexts that the client selected to their ids.

        Slices of files from `transfer_min_bytes` up come out as a Transfer, where the protocol
        allows it. With `lends`, batches may come out as LentBuffers. `report` is called with the
        message of each failure of the host, once a message.
        """
        self.closed = False
        self._reader = reader
        self._lends = lends
        self._structured = structured
        self._extended = extended
        self._replies = (
            ExtendedReplies() if extended else Replies() if structured else SimpleReplies()
        )
        self._answers = Answers(
            reader,
            self._replies,
            structured=structured,
            extended=extended,
            contexts=contexts,
            writable=self.writes,
            report=report,
        )
        # Head, cookie, offset and length of a request, whichever its layout.
        self._request = wire.EXTENDED_REQUEST if extended else wire.HEADED_REQUEST
        self._magic = wire.NBD_EXTENDED_REQUEST_MAGIC if extended else wire.NBD_REQUEST_MAGIC
        self._read_head = wire.EXTENDED_READ_HEAD if extended else wire.READ_HEAD
        self._transfer_min_bytes = transfer_min_bytes
        self._view = memoryview(bytearray(self.receive_bytes))
        self._filled = 0  # bytes of an incomplete request at the start of the view
        self._payload = 0  # bytes behind a request that are still to come
        self._kept_payload: bytearray | None = None  # them, unless nobody wants them
        self._after_payload: Callable[[bytes], bytes] = lambda _payload: b""  # makes the reply
        self._out: list[Buffer] = []  # replies that may go out

    @property
    def is_idle(self) -> bool:
        """True when every request that has begun to come has been answered."""
        return not self._filled and not self._payload

    def space(self) -> memoryview:
        """Return the memory that the client's next bytes are to be received into; never empty."""
        return self._view[self._filled :] if self._filled else self._view

    def received(self, count: int) -> Batches:
        """Carry out the requests that `count` more bytes in `space()` complete; yield what to send.

        Each list is valid until the next item. Raise ProtocolError for a bad request magic, after
        all that came before it was yielded.
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
            if usable >= _MANY_REQUESTS * request_bytes:
                arrived = list(requests)
                if ranges := self._ranges_of_one_batch(arrived):
                    yield from self._read_batch(arrived, ranges)
                    start += usable
                    break
                requests = iter(arrived)
            yield from self._carry_out(requests)
            # After one with payload, what follows is not a request: step back to it.
            start += usable - length_hint(requests) * request_bytes
        if self._out:
            yield self._out
            self._out.clear()
        self._filled = end - start
        if self._filled:
            self._view[: self._filled] = self._view[start:end]

    def _ranges_of_one_batch(self, requests: list[wire.Headed]) -> list[Range] | None:
        """Return what requests read, if all are small plain reads that go out together, as most do.

        They are looked at in calls, not in a loop, at half the price of `_carry_out`, which goes by
        the same rules. Four that arrived at once: heads (READ, READ, READ, READ), cookies (7, 8, 9,
        10), offsets (4096, 0, 8192, 512), lengths (512, 512, 512, 512).
        """
        heads, _, offsets, lengths = zip(*requests, strict=True)
        if (
            heads.count(self._read_head) == len(heads)
            and min(lengths) > 0
            and (longest := max(lengths)) < self._transfer_min_bytes
            and max(offsets) + longest <= self._reader.size
            and longest * len(heads) <= BATCH_BYTES
            and 2 * len(heads) + len(self._out) <= BATCH_BUFFERS
        ):
            return list(zip(offsets, lengths, strict=True))
        return None

    def _carry_out(self, requests: Iterator[wire.Headed]) -> Batches:
        """Carry out requests up to one with a payload behind it, or a disconnection."""
        # This loop runs once a request, so it tells small reads from the rest by one comparison:
        # a head is magic, flags and command as one number, and a plain read has a single value.
        #     heads      READ     READ     BLOCK_STATUS   READ      (all four arrived at once)
        #     replies   [0: one batch  ]  [1: by _other] [2: the next batch]
        # A batch is read before what follows it, so replies keep the order of requests. That order
        # is not demanded by the protocol; memory is bounded by it, since a batch ends at
        # BATCH_BYTES of data or BATCH_BUFFERS of headers and data (two for each read).
        read_head, size, limit = self._read_head, self._reader.size, self._transfer_min_bytes
        reads: list[wire.Headed] = []  # small ones, whose replies go out together
        ranges: list[Range] = []
        pending = 0
        for request in requests:
            head, _, offset, length = request
            if head == read_head and 0 < length < limit and offset + length <= size:
                reads.append(request)
                ranges.append((offset, length))
                pending += length
            else:
                if reads:
                    yield from self._read_batch(reads, ranges)
                    reads, ranges = [], []
                pending += yield from self._other(request)
                if self.closed or self._payload:
                    return
            if pending >= BATCH_BYTES or 2 * len(reads) + len(self._out) >= BATCH_BUFFERS:
                if reads:
                    yield from self._read_batch(reads, ranges)
                    reads, ranges = [], []
                yield from self._flush()
                pending = 0
        if reads:
            yield from self._read_batch(reads, ranges)

    def _read_batch(self, reads: list[wire.Headed], ranges: list[Range]) -> Batches:
        """Read many small ranges at once, and reply to all of them."""
        out, first = self._out, len(self._out)
        if len(reads) == 1:  # a client that waits for each: a batch costs more than it saves
            [(_, cookie, offset, length)] = reads
            found = self._reader.read_simple(offset, length)
            if found is None:
                yield from self._other(reads[0])
            else:
                out += (self._replies.data_header(_DONE, cookie, offset, offset, length), found)
            return
        batch = self._reader.read_batch(ranges, lends=self._lends)
        left = reads
        if batch.commit():
            replied, left = reads, []
            buffers = cast("list[Buffer]", batch.buffers)
            # By type, since to compare a view with None costs an exception inside.
            if batch.may_have_gaps and NoneType in set(
                map(type, buffers)
            ):  # a hole, or what fails: read by pieces, behind the others
                left = [each for each, data in zip(reads, buffers, strict=True) if data is None]
                replied = [
                    each for each, data in zip(reads, buffers, strict=True) if data is not None
                ]
                buffers = [data for data in buffers if data is not None]
            # Headers and data in turn, as sendmsg takes them. For three reads, with one buffer
            # waiting (first = 1):  out = [reply, header, data, header, data, header, data]
            # Slices with a step put them there at half the price of a loop.
            out += [b""] * (2 * len(replied))
            out[first::2] = self._data_headers(replied)
            out[first + 1 :: 2] = buffers
            if batch.is_lent:  # send what the kernel takes at once of the views, copy the others
                lent = LentBuffers(out)
                try:
                    yield lent
                    if lent.sent == sum(map(len, out)):
                        out.clear()
                    else:
                        self._copy_unsent(replied, first, lent.sent)
                        out[:] = behind(out, lent.sent)
                finally:
                    batch.release()
            else:
                batch.release()
        else:
            batch.release()
        for request in left:
            yield from self._other(request)

    def _copy_unsent(self, reads: list[wire.Headed], first: int, sent: int) -> None:
        """Replace views that were not sent to their ends by copies, while they are still good.

        Raise OSError when a reply that is half sent can't be completed: then the connection can't
        go on.
        """
        # A view is good until `release`, and a slow client would keep a writer of the file waiting
        # until then. So what the kernel has not taken is read again. Three replies of 100 bytes of
        # data behind a header of 28 each, of which it has taken 150 bytes:
        #
        #     bytes    0 ... 127    128 ... 255                 256 ... 383
        #              all sent     half sent, up to 150        not begun
        #     do       nothing      read the same bytes again,  read with a check: bytes, or an
        #                           unchecked (read_pinned)     error reply in place of both
        #
        # The second can't become an error any more, since its header has told of 100 good bytes;
        # the file is pinned until `release`, so its bytes can't have changed either.
        out = self._out
        end = sum(map(len, out[:first]))
        for position, request in zip(range(first, len(out), 2), reads, strict=True):
            start, end = end, end + len(out[position]) + len(out[position + 1])
            if end <= sent:
                continue
            _, cookie, offset, length = request
            if start < sent:
                data = read_pinned(self._reader, offset, length)
                if len(data) < length:
                    raise HostReadError("a file failed when half of a reply had been sent")
                out[position + 1] = data
                continue
            try:
                out[position + 1] = self._reader.read(offset, length)
            except OSError as error:
                failed = self._answers.failed(cookie, offset, error)
                out[position : position + 2] = b"", failed

    def _data_headers(self, reads: list[wire.Headed]) -> list[bytes]:
        """Return the headers before the data of reads that are answered by one chunk each."""
        if self._structured and not self._extended:  # nearly all, so a call each is saved
            pack, head = wire.HEADED_DATA.pack, wire.DATA_HEAD
            return [pack(head, cookie, length + 8, offset) for _, cookie, offset, length in reads]
        header = self._replies.data_header
        return [
            header(_DONE, cookie, offset, offset, length) for _, cookie, offset, length in reads
        ]

    def _other(self, request: wire.Headed) -> Reading:
        """Reply to a request that is not one of many small reads. Return the bytes it added."""
        head, cookie, offset, length = request
        magic, flags, command = head >> 32, head >> 16 & 0xFFFF, head & 0xFFFF
        if magic != self._magic:
            yield from self._drop(f"request magic {magic:#x} found, {self._magic:#x} expected")
        beyond = offset + length > self._reader.size
        if head != self._read_head or not 0 < length <= wire.MAXIMUM_BLOCK_BYTES or beyond:
            return (yield from self._unusual((magic, flags, command, cookie, offset, length)))
        try:
            pieces = list(self._reader.pieces(offset, length))
        except OSError as error:
            self._out.append(self._answers.failed(cookie, offset, error))
            return 0
        piece = pieces[0]
        is_large = length >= self._transfer_min_bytes
        if self._structured and is_large and isinstance(piece, FileSlice) and len(pieces) == 1:
            yield from self._transfer(cookie, offset, piece)
            return 0
        return (yield from self._read(0, cookie, offset, length, pieces))

    def _flush(self, *behind: Buffer) -> Batches:
        """Yield the buffers that wait to go out, with more of them behind."""
        self._out += behind
        if self._out:
            yield self._out
            self._out.clear()

    def _transfer(self, cookie: int, offset: int, piece: FileSlice) -> Batches:
        """Reply to a read of one large slice, and then tell if its bytes were good."""
        # Nothing may come between the header and the bytes.
        yield from self._flush(self._replies.data_header(0, cookie, offset, offset, piece.length))
        transfer = Transfer(piece)
        yield transfer
        if transfer.error is None:
            self._out.append(self._replies.done(cookie, offset))
        else:
            self._out.append(self._answers.failed(cookie, offset, transfer.error))

    def _drop(self, reason: str) -> Batches:
        """Send what is ready, and raise ProtocolError: nothing behind this can be made sense of."""
        yield from self._flush()
        raise ProtocolError(reason)

    def _pass_payload(self, start: int, end: int) -> int:
        """Consume a request's payload from bytes `start` to `end` of the view; return the count."""
        passed = min(self._payload, end - start)
        self._payload -= passed
        if self._kept_payload is not None:
            self._kept_payload += self._view[start : start + passed]
        if not self._payload:
            self._out.append(self._after_payload(bytes(self._kept_payload or b"")))
            self._kept_payload = None
        return passed

    def _unusual(self, request: Request) -> Reading:
        """Reply to anything but a plain read within bounds. Return the bytes it added."""
        _, flags, command, cookie, offset, length = request
        if command == wire.NBD_CMD_DISC:
            self.closed = True
            return 0
        if payload := payload_bytes(request, extended=self._extended):
            if payload > _MOST_PAYLOAD_BYTES:
                yield from self._drop(f"a request with {payload} bytes behind it")
            self._payload = payload
            self._after_payload = partial(self._answers.answer, request)
            if command == wire.NBD_CMD_BLOCK_STATUS and payload <= MOST_STATUS_PAYLOAD_BYTES:
                self._kept_payload = bytearray()
            return 0
        if command == wire.NBD_CMD_READ and length:
            try:
                self._answers.check(request)
                pieces = self._reader.pieces(offset, length)
                return (yield from self._read(flags, cookie, offset, length, pieces))
            except RefusedError as error:
                reply = self._answers.refused(cookie, offset, error)
            except OSError as error:
                reply = self._answers.failed(cookie, offset, error)
        else:
            reply = self._answers.answer(request)
        self._out.append(reply)
        return len(reply)

    def _read(
        self, flags: int, cookie: int, offset: int, length: int, pieces: Iterable[Piece]
    ) -> Reading:
        """Reply to a read of any shape. Return the bytes it left in the batch."""
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
            out.append(self._answers.failed(cookie, offset, failure.error, failure.offset))
            return 0
