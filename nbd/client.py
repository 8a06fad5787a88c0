"""A plain client: reads from an export, several requests in flight, with simple replies.

For reading disks back and for measuring; not a part of the server. Any server's disks: nothing is
asked for but the fixed newstyle handshake and NBD_OPT_GO ("Newstyle negotiation").
"""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterable
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from .errors import ClientError
from .protocol import wire

_TIMEOUT_S = 60.0
_MOST_REPLY_BYTES = 1 << 16  # of the handshake
_READ_BYTES = 1 << 20


class Client:
    """A connection to the export that a URI names; `size` is in bytes.

    Raise ClientError when nobody is there, when there is no such export, or for a bad URI.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        try:
            self._socket, name = _connected(uri)
        except OSError as error:
            raise ClientError(f"{uri}: {error.strerror or error}") from error
        self._replies = self._socket.makefile("rb", buffering=1 << 18)
        try:
            self.size = self._negotiate(name)
        except (OSError, EOFError, ClientError) as error:
            self._replies.close()
            self._socket.close()
            if isinstance(error, ClientError):
                raise
            raise ClientError(f"{uri}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    def close(self) -> None:
        """Tell the server, and close the connection."""
        try:
            self._socket.sendall(
                wire.REQUEST.pack(wire.NBD_REQUEST_MAGIC, 0, wire.NBD_CMD_DISC, 0, 0, 0)
            )
        except OSError:
            pass  # it has left before us
        finally:
            self._replies.close()
            self._socket.close()

    def ask(self, reads: Iterable[tuple[int, int, int]]) -> None:
        """Send reads, each with its cookie, offset and length; `answer` returns the replies.

        Raise ClientError.
        """
        pack, head = wire.HEADED_REQUEST.pack, wire.READ_HEAD
        try:
            self._socket.sendall(b"".join([pack(head, *each) for each in reads]))
        except OSError as error:
            raise ClientError(f"{self._uri}: {error}") from error

    def answer(self, lengths: dict[int, int]) -> tuple[int, bytes]:
        """Return cookie and data of the next reply; `lengths` maps cookies to lengths of data.

        Raise ClientError, also when the server could not read.
        """
        try:
            magic, error, cookie = wire.SIMPLE_REPLY.unpack(self._take(wire.SIMPLE_REPLY.size))
            if magic != wire.NBD_SIMPLE_REPLY_MAGIC or cookie not in lengths:
                raise ClientError(f"{self._uri}: the server's reply makes no sense")
            if error:
                raise ClientError(f"{self._uri}: a read failed: {os.strerror(error)}")
            return cookie, self._take(lengths[cookie])
        except (OSError, EOFError) as failure:
            raise ClientError(f"{self._uri}: {failure}") from failure

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range, once they have come. Raise ClientError."""
        self.ask([(0, offset, length)])
        return self.answer({0: length})[1]

    def _take(self, count: int) -> bytes:
        """Return the next `count` bytes of the server's. Raise OSError, EOFError at the end."""
        data: bytes = self._replies.read(count)
        if len(data) != count:
            raise EOFError("the server closed the connection")
        return data

    def _negotiate(self, name: str) -> int:
        """Shake hands for an export, and return its size. Raise OSError, EOFError, ClientError."""
        magic, version, _flags = wire.GREETING.unpack(self._take(wire.GREETING.size))
        if (magic, version) != (wire.NBDMAGIC, wire.IHAVEOPT):
            raise ClientError(f"{self._uri}: no NBD server that speaks newstyle")
        raw = name.encode()
        wish = wire.UINT32.pack(len(raw)) + raw + wire.UINT16.pack(0)
        flags = wire.NBD_FLAG_C_FIXED_NEWSTYLE | wire.NBD_FLAG_C_NO_ZEROES
        head = wire.OPTION.pack(wire.IHAVEOPT, wire.NBD_OPT_GO, len(wish))
        self._socket.sendall(wire.CLIENT_FLAGS.pack(flags) + head + wish)
        size = None
        while True:
            magic, _option, kind, length = wire.OPTION_REPLY.unpack(
                self._take(wire.OPTION_REPLY.size)
            )
            if magic != wire.NBD_REP_MAGIC or length > _MOST_REPLY_BYTES:
                raise ClientError(f"{self._uri}: the server's reply makes no sense")
            data = self._take(length)
            if kind == wire.NBD_REP_INFO and data[:2] == wire.UINT16.pack(wire.NBD_INFO_EXPORT):
                _, size, _ = wire.INFO_EXPORT.unpack(data)
            elif kind == wire.NBD_REP_ACK and size is not None:
                return int(size)
            elif kind >> 31:
                text = data.decode(errors="replace") or f"error {kind & 0xFFFF}"
                raise ClientError(f"{self._uri}: the server refused the export {name!r}: {text}")


class ExportFile(io.RawIOBase):
    """An export as a binary file that can be read and searched. Reading raises ClientError."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte counted from the start, the present place or the end; return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._client.size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to 1 MiB into a buffer, and return the number of bytes. Raise ClientError."""
        length = min(len(buffer), _READ_BYTES, max(0, self._client.size - self._position))
        if length:
            buffer[:length] = self._client.read(self._position, length)
            self._position += length
        return length

    def close(self) -> None:
        """Close the file, and the connection with it."""
        if not self.closed:
            self._client.close()
        super().close()


def is_uri(text: str) -> bool:
    """Return True for a text that is meant as the URI of an export, and not as a path."""
    return text.startswith(("nbd:", "nbd+unix:", "nbds:", "nbds+unix:"))


def _connected(uri: str) -> tuple[socket.socket, str]:
    """Return a socket, and the name of the export. Raise ClientError and OSError. Doc: uri.md."""
    try:
        parts = urlsplit(uri)
        address = (parts.hostname or "localhost", parts.port or wire.NBD_DEFAULT_PORT)
    except ValueError as error:
        raise ClientError(f"{uri}: {error}") from None
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme not in {"nbd", "nbd+unix"}:
        raise ClientError(f"{uri}: TLS is not spoken here; nbdcopy can make a file of it first")
    if parts.scheme == "nbd":
        connection = socket.create_connection(address, _TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, name
    paths = parse_qs(parts.query).get("socket")
    if not paths:
        raise ClientError(f"{uri}: ?socket=PATH is missing")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_TIMEOUT_S)
    try:
        connection.connect(paths[0])
    except OSError:
        connection.close()
        raise
    return connection, name
