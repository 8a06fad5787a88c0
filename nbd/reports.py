"""What the processes of connections tell their parent: short texts, one datagram each."""

from __future__ import annotations

import logging
import socket
from typing import Self

REPORT_MAX_BYTES = 8 << 10

log = logging.getLogger("vfloppy.nbd")


class _Sending(logging.Handler):
    """Hands records over instead of writing them."""

    def __init__(self, reports: Reports) -> None:
        super().__init__()
        self._reports = reports

    def emit(self, record: logging.LogRecord) -> None:
        self._reports.send(record.levelno, record.getMessage())


class Reports:
    """A channel made before forking. Only the parent logs, so that each failure is told once."""

    def __enter__(self) -> Self:
        self.receiver, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.setblocking(False)
        self._sender.setblocking(False)
        self._once: set[str] = set()
        return self

    def __exit__(self, *_details: object) -> None:
        self.drain()
        self.receiver.close()
        self._sender.close()

    def send(self, level: int, text: str) -> None:
        """From a child. A parent that is too busy to listen loses it: serving goes first."""
        try:
            self._sender.send(bytes([level]) + text.encode()[:REPORT_MAX_BYTES])
        except OSError:
            return

    def take_log(self) -> None:
        """In a child: what is logged here, the parent logs."""
        log.handlers = [_Sending(self)]
        log.propagate = False

    def drain(self) -> None:
        """In the parent: logs what has come."""
        while True:
            try:
                datagram = self.receiver.recv(REPORT_MAX_BYTES + 1)
            except BlockingIOError:
                return
            level, text = datagram[0], datagram[1:].decode(errors="replace")
            if level < logging.WARNING or text not in self._once:
                self._once.add(text)
                log.log(level, "%s", text)
