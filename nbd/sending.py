"""Moving replies into a socket: lists of buffers by sendmsg, large slices by the kernel alone.

Measured with 32 reads in flight, microseconds of the server's processor time a read:

    Unix socket     16 KiB: copied 11, sendfile 13     32 KiB: 18, 12      64 KiB: 31, 16
    TCP, loopback   64 KiB: copied 31, sendfile 46    256 KiB: 105, 145    MSG_MORE changes nothing

Hence sendfile on Unix sockets from 32 KiB up, and on TCP copies in parts that stay in the cache.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator

from ..pieces import HostReadError, HostSlice
from .reading import Buffer
from .stdio import StdioConnection

IOV_MAX = 1024
SENDFILE_MIN_BYTES = 32 << 10
COPY_MIN_BYTES = COPY_PART_BYTES = 256 << 10  # shorter slices are read into the batch
_ZEROS = bytes(64 << 10)


class Sender:
    """The sending side of a connected, blocking socket. Its methods raise OSError when the client
    is gone.

    `transfer_min_bytes` is the shortest slice that should come to `send_slice`.
    """

    def __init__(self, connection: socket.socket | StdioConnection) -> None:
        self._connection = connection
        self._move: Callable[[HostSlice, int, int], Iterator[int]]
        is_plain = type(connection) in {socket.socket, StdioConnection}
        self._send_many = connection.sendmsg if is_plain else self._send_joined
        is_unix = type(connection) is socket.socket and connection.family == socket.AF_UNIX
        if is_unix and sys.platform == "linux":
            self.transfer_min_bytes = SENDFILE_MIN_BYTES
            self._move = self._sendfile
        else:
            self.transfer_min_bytes = COPY_MIN_BYTES
            self._move = self._copy

    def send_buffers(self, buffers: list[Buffer]) -> None:
        """All of them, in order."""
        for first in range(0, len(buffers), IOV_MAX):
            batch = buffers[first : first + IOV_MAX]
            sent = self._send_many(batch)
            if sent < sum(map(len, batch)):  # a signal came between
                self._connection.sendall(b"".join(batch)[sent:])

    def _send_joined(self, buffers: list[Buffer]) -> int:
        """Where several buffers can't be sent at once, as with TLS."""
        data = b"".join(buffers)
        self._connection.sendall(data)
        return len(data)

    def send_slice(self, piece: HostSlice) -> OSError | None:
        """Exactly `piece.length` bytes, zeros where the host gives none; what is wrong with them.

        The check comes after the bytes have left the file. With sendfile, pages that the file
        shares with the socket may still change until the client receives them: the window that
        every sendfile server has.
        """
        remaining = piece.length
        failure: OSError | None = None
        try:
            descriptor = piece.files.descriptor(piece.index)
            for sent in self._move(piece, descriptor, piece.offset):
                remaining -= sent
            piece.files.verify(piece.index)
            if remaining and not piece.files.pads:
                failure = HostReadError("a host file is shorter than at the scan")
        except HostReadError as error:
            failure = error
        while remaining:
            remaining -= self._connection.send(_ZEROS[: min(remaining, len(_ZEROS))])
        return failure

    def _sendfile(self, piece: HostSlice, descriptor: int, offset: int) -> Iterator[int]:
        target, end = self._connection.fileno(), piece.offset + piece.length
        while offset < end:
            try:
                sent = os.sendfile(target, descriptor, offset, end - offset)
            except ConnectionError:
                raise
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise _unreadable(error) from error
                # The file system can't do it.
                yield from self._copy(piece, descriptor, offset)
                return
            if not sent:
                return
            offset += sent
            yield sent

    def _copy(self, piece: HostSlice, descriptor: int, offset: int) -> Iterator[int]:
        end = piece.offset + piece.length
        while offset < end:
            try:
                data = os.pread(descriptor, min(COPY_PART_BYTES, end - offset), offset)
            except OSError as error:
                raise _unreadable(error) from error
            count = len(data)
            if not count:
                return
            self._connection.sendall(data)
            offset += count
            yield count


def _unreadable(error: OSError) -> HostReadError:
    return HostReadError(f"a host file cannot be read: {error.strerror}")
