"""A connection on two descriptors, such as standard input and output, that looks like a socket."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterable, Sequence

from ..export import Buffer


class StdioConnection:
    """What `serve_connection` needs of a socket, on a pair of pipes."""

    family = socket.AF_UNSPEC

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._timeout_s: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        """How long `recv` may take."""
        self._timeout_s = seconds

    def setsockopt(self, *_option: object) -> None:
        """There are no options."""

    def recv(self, count: int) -> bytes:
        """Up to `count` bytes; none at the end. Raises TimeoutError."""
        if self._timeout_s is not None:
            ready, _, _ = select.select([self._source], [], [], self._timeout_s)
            if not ready:
                raise TimeoutError("the client took too long")
        return os.read(self._source, count)

    def recv_into(self, space: memoryview, _count: int = 0, _flags: int = 0) -> int:
        """As many bytes as have come, up to what there is space for."""
        return os.readv(self._source, [space])

    def sendall(self, data: Buffer) -> None:
        """All of the bytes."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._target, view) :]

    def send(self, data: Buffer) -> int:
        """Some of the bytes, and how many."""
        return os.write(self._target, data)

    def sendmsg(self, buffers: Sequence[Buffer] | Iterable[Buffer]) -> int:
        """Some of the buffers' bytes, and how many."""
        return os.writev(self._target, list(buffers))

    def fileno(self) -> int:
        """Where bytes come from."""
        return self._source
