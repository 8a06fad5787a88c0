"""Replies to requests that are not reads: block status, cache, flush, and every refusal.

Doc: "Request types", `NBD_CMD_BLOCK_STATUS`, `NBD_CMD_CACHE`, "Error values". A reply here is made
whole, as bytes; the session sends it with its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...export import Reader
from . import wire
from .block_status import MAXIMUM_EXTENTS, statuses
from .replies import Replies
from .validation import MOST_STATUS_PAYLOAD_BYTES, RefusedError, Request, check

_DONE = wire.NBD_REPLY_FLAG_DONE


class Answers:
    """Makes replies to the requests of one connection, and reports failures of the host."""

    def __init__(
        self,
        reader: Reader,
        replies: Replies,
        *,
        structured: bool,
        extended: bool,
        contexts: Mapping[str, int],
        writable: bool,
        report: Callable[[str], None],
    ) -> None:
        """`contexts` maps the metadata contexts that the client selected to their ids."""
        self._reader = reader
        self._replies = replies
        self._structured = structured
        self._extended = extended
        self._writable = writable
        self._contexts = {context_id: name for name, context_id in contexts.items()}
        self._report = report
        self._reported: set[str] = set()

    def check(self, request: Request) -> None:
        """Raise RefusedError unless the export can carry `request` out as this client speaks."""
        size = self._reader.size
        check(
            request,
            size,
            structured=self._structured,
            extended=self._extended,
            writable=self._writable,
        )

    def answer(self, request: Request, payload: bytes = b"") -> bytes:
        """Carry out a request that neither reads nor changes bytes, and return the reply.

        `payload` is what followed the request; block status with extended headers alone has one.
        """
        magic, flags, command, cookie, offset, length = request
        try:
            wanted: tuple[int, ...] | None = None
            if command == wire.NBD_CMD_BLOCK_STATUS and flags & wire.NBD_CMD_FLAG_PAYLOAD_LEN:
                if length > MOST_STATUS_PAYLOAD_BYTES:
                    text = f"a payload of {length} bytes, and {MOST_STATUS_PAYLOAD_BYTES} is most"
                    raise RefusedError(wire.NBD_EINVAL, text)
                length, wanted = wire.unpack_status_payload(payload)
            self.check((magic, flags, command, cookie, offset, length))
            if command == wire.NBD_CMD_BLOCK_STATUS:
                return self._block_status(flags, cookie, offset, length, wanted)
            if command == wire.NBD_CMD_CACHE and length:
                self._reader.prefetch(offset, length)
            return self._replies.done(cookie, offset)
        except RefusedError as error:
            return self.refused(cookie, offset, error)
        except wire.MalformedError as error:
            return self._replies.error(cookie, offset, wire.NBD_EINVAL, str(error))
        except OSError as error:
            return self.failed(cookie, offset, error)

    def refused(self, cookie: int, at: int, error: RefusedError) -> bytes:
        """Return the reply to a request, at offset `at`, that can't be carried out."""
        return self._replies.error(cookie, at, error.number, str(error))

    def failed(self, cookie: int, at: int, error: OSError, offset: int | None = None) -> bytes:
        """Return the reply to a request at `at` that the host let down at `offset`, or at once.

        Report the failure, unless one of the same words was reported on this connection.
        """
        text = str(error)
        if text not in self._reported:
            self._reported.add(text)
            self._report(text)
        failed_at = at if offset is None else offset
        return self._replies.error_at(cookie, at, wire.error_number(error), text, failed_at)

    def _block_status(
        self, flags: int, cookie: int, offset: int, length: int, wanted: tuple[int, ...] | None
    ) -> bytes:
        """Return a chunk for each context whose id is in `wanted`; None: for all selected ones.

        Raise RefusedError and OSError.
        """
        if not self._contexts:
            raise RefusedError(wire.NBD_EINVAL, "no metadata context was negotiated")
        if not length:
            raise RefusedError(wire.NBD_EINVAL, "block status of no bytes was asked for")
        ids = tuple(self._contexts) if wanted is None else wanted
        if not ids or not self._contexts.keys() >= set(ids):
            raise RefusedError(wire.NBD_EINVAL, "a metadata context that was not negotiated")
        if len(set(ids)) < len(ids):
            raise RefusedError(wire.NBD_EINVAL, "a metadata context was asked for twice")
        most = 1 if flags & wire.NBD_CMD_FLAG_REQ_ONE else MAXIMUM_EXTENTS // len(ids)
        chunks = []
        for context_id in ids:
            found = statuses(self._contexts[context_id], self._reader, offset, length, most=most)
            done = _DONE if context_id == ids[-1] else 0
            chunks.append(self._replies.status(done, cookie, offset, context_id, found))
        return b"".join(chunks)
