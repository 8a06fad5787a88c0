"""Moving replies into a socket: lists of buffers by sendmsg, large slices by the kernel alone.

Measured with 32 reads in flight, microseconds of the server's processor time a read:

    Unix socket     16 KiB: copied 11, sendfile 13     32 KiB: 18, 12      64 KiB: 31, 16
    TCP, loopback   64 KiB: copied 31, sendfile 46    256 KiB: 105, 145    MSG_MORE changes nothing

Hence sendfile on Unix sockets from 32 KiB up, and on TCP copies in parts that stay in the cache.
What is mapped is sent from there, which saves a copy, and a call each: with 32 reads in flight
half as many reads again of 4 KiB, and with 8 on TCP twice as many of 1 MiB.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator

from ...export import Buffer, FileSlice, HostReadError
from ...process.stdio import StdioConnection
from ..protocol.reading import LentBuffers

IOV_MAX = 1024
SENDFILE_MIN_BYTES = 32 << 10
COPY_MIN_BYTES = 512 << 10  # shorter slices go with the batch
COPY_PART_BYTES = 256 << 10
_ZEROS = bytes(64 << 10)


class Sender:
    """The sending side of a connected, blocking socket. Methods raise OSError when it is closed.

    `transfer_min_bytes` is the length of the shortest slice that should come to `send_slice`; with
    `sends_lent`, `send_lent` may be called.
    """

    def __init__(self, connection: socket.socket | StdioConnection) -> None:
        self._connection = connection
        self._move: Callable[[FileSlice], Iterator[int]]
        is_plain = type(connection) in {socket.socket, StdioConnection}
        self._send_many = connection.sendmsg if is_plain else self._send_joined
        self.sends_lent = type(connection) is socket.socket
        is_unix = type(connection) is socket.socket and connection.family == socket.AF_UNIX
        if is_unix and sys.platform == "linux":
            self.transfer_min_bytes = SENDFILE_MIN_BYTES
            self._move = self._sendfile
        else:
            self.transfer_min_bytes = COPY_MIN_BYTES
            self._move = self._copy

    def send_buffers(self, buffers: list[Buffer]) -> None:
        """Send all of them, in order."""
        for first in range(0, len(buffers), IOV_MAX):
            batch = buffers[first : first + IOV_MAX]
            sent = self._send_many(batch)
            if sent < sum(map(len, batch)):  # a signal came between
                self._connection.sendall(b"".join(batch)[sent:])

    def send_lent(self, lent: LentBuffers) -> None:
        """Send what the kernel takes at once, and note it in `lent.sent`.

        The kernel alone looks at the bytes.
        """
        assert isinstance(self._connection, socket.socket)
        try:
            first = lent.buffers[:IOV_MAX]
            lent.sent = self._connection.sendmsg(first, (), socket.MSG_DONTWAIT)
        except OSError as error:
            # EFAULT: a page of a mapped file can't be had; reading it will tell why.
            if error.errno not in {errno.EAGAIN, errno.EFAULT}:
                raise

    def _send_joined(self, buffers: list[Buffer]) -> int:
        """Send buffers as one, where several can't be sent at once, as with TLS."""
        data = b"".join(buffers)
        self._connection.sendall(data)
        return len(data)

    def send_slice(self, piece: FileSlice) -> OSError | None:
        """Send exactly `piece.length` bytes, zeros where the file gives none.

        Return the reason if they are not the right ones. The check comes after the bytes have left
        the file. With sendfile, pages that the file shares with the socket may still change until
        the client receives them, as with every server that uses it.
        """
        moved = 0
        failure: OSError | None = None
        try:
            for sent in self._move(piece):
                moved += sent
            piece.finish(moved)
        except HostReadError as error:
            failure = error
        remaining = piece.length - moved
        while remaining:
            remaining -= self._connection.send(_ZEROS[: min(remaining, len(_ZEROS))])
        return failure

    def _sendfile(self, piece: FileSlice) -> Iterator[int]:
        """Have the kernel send a slice; yield the length of each part. Raise OSError."""
        target, source = self._connection.fileno(), piece.descriptor()
        moved = 0
        while moved < piece.length:
            try:
                sent = os.sendfile(target, source, piece.offset + moved, piece.length - moved)
            except ConnectionError:
                raise
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise _unreadable(error) from error
                # The file system can't do it.
                yield from self._copy(piece.part(moved, piece.length - moved))
                return
            if not sent:
                return
            moved += sent
            yield sent

    def _copy(self, piece: FileSlice) -> Iterator[int]:
        """Send a slice in parts, from a mapping if it has one; yield the length of each part."""
        moved = 0
        while moved < piece.length:
            view = piece.lend() if self.sends_lent else None
            if view:
                count = self._send_view(view[moved:])
            else:
                data = piece.copy(moved, min(COPY_PART_BYTES, piece.length - moved))
                count = len(data)
                self._connection.sendall(data)
            if not count:
                return
            moved += count
            yield count

    def _send_view(self, view: memoryview) -> int:
        """Send some of a mapped file. Raise HostReadError for a page that can't be had."""
        try:
            return self._connection.send(view)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            raise _unreadable(OSError(errno.EIO, os.strerror(errno.EIO))) from error


def _unreadable(error: OSError) -> HostReadError:
    return HostReadError(f"a host file cannot be read: {error.strerror}")
