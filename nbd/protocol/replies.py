"""Replies as the client asked for them: simple, structured, or with extended headers.

Doc: "Simple reply message", "Structured reply chunk message", "Extended reply chunk message".
In all calls, `at` is the offset of the request, which an extended header repeats.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

from . import wire


class Descriptors(Protocol):
    """The length in bytes and the status flags of each of several extents."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[int, int]]: ...


class Replies:
    """Structured replies, with compact headers."""

    def chunk(self, flags: int, kind: int, cookie: int, at: int, payload: bytes = b"") -> bytes:  # noqa: ARG002
        """Return a whole chunk of a reply."""
        magic = wire.NBD_STRUCTURED_REPLY_MAGIC
        return wire.CHUNK.pack(magic, flags, kind, cookie, len(payload)) + payload

    def data_header(self, flags: int, cookie: int, at: int, offset: int, length: int) -> bytes:  # noqa: ARG002
        """Return the header that goes before `length` bytes of data from `offset`."""
        head = wire.NBD_STRUCTURED_REPLY_MAGIC << 32 | flags << 16 | wire.NBD_REPLY_TYPE_OFFSET_DATA
        return wire.HEADED_DATA.pack(head, cookie, length + 8, offset)

    def hole(self, flags: int, cookie: int, at: int, offset: int, length: int) -> bytes:
        """Return a chunk that stands for `length` zeros at `offset`, which are not sent."""
        payload = wire.HOLE.pack(offset, length)
        return self.chunk(flags, wire.NBD_REPLY_TYPE_OFFSET_HOLE, cookie, at, payload)

    def done(self, cookie: int, at: int) -> bytes:
        """Return the end of a reply to a request that was carried out."""
        return self.chunk(wire.NBD_REPLY_FLAG_DONE, wire.NBD_REPLY_TYPE_NONE, cookie, at)

    def error(self, cookie: int, at: int, number: int, text: str) -> bytes:
        """Return the reply to a request that failed as a whole, with an NBD error number."""
        message = wire.short_text(text)
        payload = wire.ERROR.pack(number, len(message)) + message
        return self.chunk(wire.NBD_REPLY_FLAG_DONE, wire.NBD_REPLY_TYPE_ERROR, cookie, at, payload)

    def error_at(self, cookie: int, at: int, number: int, text: str, offset: int) -> bytes:
        """Return the reply to a request that failed at `offset` of the export."""
        message = wire.short_text(text)
        payload = wire.ERROR.pack(number, len(message)) + message + offset.to_bytes(8, "big")
        kind = wire.NBD_REPLY_TYPE_ERROR_OFFSET
        return self.chunk(wire.NBD_REPLY_FLAG_DONE, kind, cookie, at, payload)

    def status(
        self, flags: int, cookie: int, at: int, context_id: int, descriptors: Descriptors
    ) -> bytes:
        """Return the chunk of one metadata context, in reply to a block status."""
        payload = _packed(wire.UINT32.pack(context_id), wire.DESCRIPTOR, descriptors)
        return self.chunk(flags, wire.NBD_REPLY_TYPE_BLOCK_STATUS, cookie, at, payload)


class ExtendedReplies(Replies):
    """Structured replies, with extended headers."""

    def chunk(self, flags: int, kind: int, cookie: int, at: int, payload: bytes = b"") -> bytes:
        """Return a whole chunk, whose header repeats the request's offset `at`."""
        magic = wire.NBD_EXTENDED_REPLY_MAGIC
        return wire.EXTENDED_CHUNK.pack(magic, flags, kind, cookie, at, len(payload)) + payload

    def data_header(self, flags: int, cookie: int, at: int, offset: int, length: int) -> bytes:
        """Return the extended header that goes before `length` bytes of data from `offset`."""
        head = wire.NBD_EXTENDED_REPLY_MAGIC << 32 | flags << 16 | wire.NBD_REPLY_TYPE_OFFSET_DATA
        return wire.EXTENDED_DATA.pack(head, cookie, at, length + 8, offset)

    def status(
        self, flags: int, cookie: int, at: int, context_id: int, descriptors: Descriptors
    ) -> bytes:
        """Return the chunk of one metadata context, with 64-bit lengths."""
        head = wire.EXTENDED_STATUS.pack(context_id, len(descriptors))
        payload = _packed(head, wire.EXTENDED_DESCRIPTOR, descriptors)
        return self.chunk(flags, wire.NBD_REPLY_TYPE_BLOCK_STATUS_EXT, cookie, at, payload)


class SimpleReplies(Replies):
    """Simple replies: an error number, and the data behind it if there is none."""

    def data_header(self, flags: int, cookie: int, at: int, offset: int, length: int) -> bytes:  # noqa: ARG002
        """Return the header that goes before the data of a simple reply, all of it."""
        return wire.SIMPLE_REPLY.pack(wire.NBD_SIMPLE_REPLY_MAGIC, 0, cookie)

    def done(self, cookie: int, at: int) -> bytes:  # noqa: ARG002
        """Return the reply, without data, to a request that was carried out."""
        return wire.SIMPLE_REPLY.pack(wire.NBD_SIMPLE_REPLY_MAGIC, 0, cookie)

    def error(self, cookie: int, at: int, number: int, text: str) -> bytes:  # noqa: ARG002
        """Return the reply to a request that failed: a number, without room for words."""
        return wire.SIMPLE_REPLY.pack(wire.NBD_SIMPLE_REPLY_MAGIC, number, cookie)

    def error_at(self, cookie: int, at: int, number: int, text: str, offset: int) -> bytes:  # noqa: ARG002
        """Return the same as `error`: a simple reply has no room for an offset."""
        return self.error(cookie, at, number, text)


def _packed(head: bytes, layout: struct.Struct, descriptors: Descriptors) -> bytes:
    """Return a head and all descriptors behind it. Peak memory is that of the result."""
    packed = bytearray(len(head) + layout.size * len(descriptors))
    packed[: len(head)] = head
    position = len(head)
    for length, flags in descriptors:
        layout.pack_into(packed, position, length, flags)
        position += layout.size
    return bytes(packed)
