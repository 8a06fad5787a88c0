"""Moving replies into a socket: lists of buffers by sendmsg, large slices by sendfile."""

from __future__ import annotations

import os
import socket

from ..pieces import HostReadError, HostSlice
from .reading import Buffer

IOV_MAX = 1024
_ZEROS = bytes(64 << 10)


def send_buffers(connection: socket.socket, buffers: list[Buffer]) -> None:
    """All of them, in order. Raises OSError when the client is gone."""
    for first in range(0, len(buffers), IOV_MAX):
        batch = buffers[first : first + IOV_MAX]
        sent = connection.sendmsg(batch)
        if sent < sum(map(len, batch)):  # a signal came between
            connection.sendall(b"".join(batch)[sent:])


def send_slice(connection: socket.socket, piece: HostSlice) -> OSError | None:
    """Exactly `piece.length` bytes; what is wrong with them, if anything is.

    The pages of the file go to the socket uncopied, so a file that changes between the check and
    the client's receiving is not noticed: the window that every sendfile server has.
    Raises OSError when the client is gone.
    """
    remaining, offset = piece.length, piece.offset
    failure: OSError | None = None
    try:
        descriptor = piece.files.descriptor(piece.index)
    except HostReadError as error:
        failure = error
    else:
        target = connection.fileno()
        while remaining:
            sent = os.sendfile(target, descriptor, offset, remaining)
            if not sent:
                break
            offset += sent
            remaining -= sent
        try:
            piece.files.verify(piece.index)
        except HostReadError as error:
            failure = error
    if remaining:
        failure = failure or HostReadError("the file ends early")
    while remaining:
        remaining -= connection.send(_ZEROS[: min(remaining, len(_ZEROS))])
    return failure
