"""A connection on two descriptors, such as standard input and output, that looks like a socket."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterable, Sequence

from ..export import Buffer


class StdioConnection:
    """A connection on a pair of pipes, with those methods of a socket that servers use."""

    family = socket.AF_UNSPEC

    def __init__(self, source: int, target: int, timeout_s: float | None = None) -> None:
        self._source = source
        self._target = target
        self._timeout_s = timeout_s

    def settimeout(self, seconds: float | None) -> None:
        """Bound the time that `recv` may take; None: no bound."""
        self._timeout_s = seconds

    def setsockopt(self, *_option: object) -> None:
        """Do nothing: there are no options."""

    def recv(self, count: int) -> bytes:
        """Return up to `count` bytes; none at the end. Raise TimeoutError."""
        if self._timeout_s is not None:
            waiting = select.poll()  # select itself takes no descriptor above 1,023
            waiting.register(self._source, select.POLLIN)
            if not waiting.poll(self._timeout_s * 1000):
                raise TimeoutError("the client took too long")
        return os.read(self._source, count)

    def recv_into(self, space: memoryview, _count: int = 0, _flags: int = 0) -> int:
        """Wait for bytes, receive as many as there is space for, and return their number."""
        return os.readv(self._source, [space])

    def sendall(self, data: Buffer) -> None:
        """Send all of the bytes."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._target, view) :]

    def send(self, data: Buffer) -> int:
        """Send some of the bytes, and return their number."""
        return os.write(self._target, data)

    def sendmsg(self, buffers: Sequence[Buffer] | Iterable[Buffer]) -> int:
        """Send some of the bytes of the buffers, and return their number."""
        return os.writev(self._target, list(buffers))

    def fileno(self) -> int:
        """Return the descriptor that bytes come from."""
        return self._source
