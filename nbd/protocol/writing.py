"""The transmission phase of an export that can be written, sans I/O.

Doc: `NBD_CMD_WRITE`, `NBD_CMD_WRITE_ZEROES`, `NBD_CMD_TRIM`, `NBD_CMD_FLUSH`, "Command flags".
Rules kept here:

- A request is carried out before the next one is looked at, so a flush is of all that a client was
  told is written, and of more.
- The payload of a write is written as it comes, and never held whole.
- A payload is consumed to its end whatever becomes of it, and then a failure is told.
"""

from __future__ import annotations

import errno
from typing import Any

from ...export import Writer
from . import wire
from .reading import Reading
from .session import Session
from .validation import RefusedError, Request

_UNIT = 4096
"""Parts of a payload end at multiples of this on the disk: no sector is written in two parts."""


class _Write:
    """A write whose payload is on its way.

    A failure is kept as the reply to it, and not as the exception: that would make a cycle with the
    frames that it came through, of which one holds an `iter_unpack` of a view, and Python before
    3.13 crashes when it collects one of those in a cycle.
    """

    __slots__ = ("at", "cookie", "failure", "flags", "position")

    def __init__(self, flags: int, cookie: int, at: int) -> None:
        self.flags = flags
        self.cookie = cookie
        self.at = at
        self.position = at
        self.failure: bytes | None = None


class WritingSession(Session):
    """A `Session` whose reader is a `Writer`."""

    # Small, so that a client with many writes in flight goes on while some are carried out, and so
    # that what was received is still in the cache when it is written: with 512 KiB, writes of 4 KiB
    # at depth 32 were a quarter as fast, and those of 1 MiB half.
    receive_bytes = 32 << 10
    writes = True

    def __init__(self, reader: Writer, *, extended: bool = False, **options: Any) -> None:
        """`options` are those of `Session`."""
        super().__init__(reader, extended=extended, **options)
        self._writer = reader
        self._write_head = wire.EXTENDED_WRITE_HEAD if extended else wire.WRITE_HEAD
        self._write: _Write | None = None

    def _unusual(self, request: Request) -> Reading:
        """See `Session`; begin a write, and carry out what else changes bytes."""
        _, flags, command, cookie, offset, length = request
        if command == wire.NBD_CMD_WRITE and length:
            try:
                self._answers.check(request)
            except RefusedError:  # told behind the payload
                return (yield from super()._unusual(request))
            self._write = _Write(flags, cookie, offset)
            self._payload = length
            return 0
        if command in _CHANGES:
            reply = self._change(request)
            self._out.append(reply)
            return len(reply)
        return (yield from super()._unusual(request))

    def _pass_payload(self, start: int, end: int) -> int:
        """See `Session`; and go on with all writes that have come whole."""
        if self._write is None:
            return super()._pass_payload(start, end)
        passed = self._write_part(self._write, start, end)
        if self._payload:
            return passed
        self._write = None
        return self._write_whole(start + passed, end) - start

    def _write_part(self, write: _Write, start: int, end: int) -> int:
        """Write what has come of a payload, up to a good place to stop at; return its length."""
        length = min(self._payload, end - start)
        if length < self._payload:
            length = max(length - (write.position + length) % _UNIT, 0)
        if length and write.failure is None:
            try:
                self._writer.write(write.position, self._view[start : start + length])
            except OSError as error:
                write.failure = self._answers.failed(write.cookie, write.at, error)
        write.position += length
        self._payload -= length
        if not self._payload:
            self._out.append(self._end_of(write))
        return length

    def _end_of(self, write: _Write) -> bytes:
        """Return the reply to a write."""
        if write.failure is not None:
            return write.failure
        if write.flags & wire.NBD_CMD_FLAG_FUA:
            try:
                self._writer.flush()
            except OSError as error:
                return self._answers.failed(write.cookie, write.at, error)
        return self._replies.done(write.cookie, write.at)

    def _write_whole(self, start: int, end: int) -> int:
        """Carry out the plain writes that have come with all of their bytes; return their end."""
        # This loop runs once a write where a client has many in flight.
        unpack_from, head_bytes = self._request.unpack_from, self._request.size
        view, size, plain = self._view, self._reader.size, self._write_head
        write, done, out = self._writer.write, self._replies.done, self._out
        while end - start > head_bytes:
            head, cookie, offset, length = unpack_from(view, start)
            data_at = start + head_bytes
            if head != plain or not 0 < length <= end - data_at or offset + length > size:
                break
            try:
                write(offset, view[data_at : data_at + length])
            except OSError as error:
                out.append(self._answers.failed(cookie, offset, error))
            else:
                out.append(done(cookie, offset))
            start = data_at + length
        return start

    def _change(self, request: Request) -> bytes:
        """Carry out a request that changes bytes, or makes changes durable; return the reply."""
        _, flags, command, cookie, offset, length = request
        try:
            self._answers.check(request)
            if command == wire.NBD_CMD_TRIM:
                self._writer.trim(offset, length)
            elif command == wire.NBD_CMD_WRITE_ZEROES:
                self._zero(flags, offset, length)
            if command == wire.NBD_CMD_FLUSH or flags & wire.NBD_CMD_FLAG_FUA:
                self._writer.flush()
        except RefusedError as error:
            return self._answers.refused(cookie, offset, error)
        except OSError as error:
            return self._answers.failed(cookie, offset, error)
        return self._replies.done(cookie, offset)

    def _zero(self, flags: int, offset: int, length: int) -> None:
        """Write zeros. Raise RefusedError where that is not fast and should be; OSError."""
        may_trim = not flags & wire.NBD_CMD_FLAG_NO_HOLE
        fast = bool(flags & wire.NBD_CMD_FLAG_FAST_ZERO)
        try:
            self._writer.zero(offset, length, may_trim=may_trim, fast=fast)
        except OSError as error:
            if fast and error.errno == errno.ENOTSUP:
                raise RefusedError(wire.NBD_ENOTSUP, error.strerror or "not fast") from None
            raise


_CHANGES = {wire.NBD_CMD_TRIM, wire.NBD_CMD_WRITE_ZEROES, wire.NBD_CMD_FLUSH}
