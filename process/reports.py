"""What the processes of connections tell their parent: short texts, one datagram each.

A process that talks to a client may be the client's by now. So each has a channel of its own, on
which it can neither silence nor overhear the others; what it says is bounded in length and number,
and is escaped before it is logged.
"""

from __future__ import annotations

import logging
import socket
from collections import OrderedDict

REPORT_MAX_BYTES = 8 << 10
MOST_REPORTS = 10_000
"""Of one connection, which may fail on as many files."""
REPORTS_A_TURN = 64
"""More of them wait until the others had their turn."""
MOST_REMEMBERED = 4096

_LEVELS = frozenset({logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR})

log = logging.getLogger("vfloppy.nbd")


def escaped(text: str) -> str:
    """The text without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class Reports:
    """What was told. Only the parent logs, so that each failure is told once for all connections;
    one that is told again after `MOST_REMEMBERED` others is logged again.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[int, None] = OrderedDict()  # by their hashes, the latest last

    def tell(self, level: int, text: str) -> None:
        """Logs a text, from the level of a warning up only if it is new."""
        text = escaped(text)
        if level >= logging.WARNING:
            key = hash(text)
            is_known = key in self._told
            self._told[key] = None
            self._told.move_to_end(key)
            if is_known:
                return
            if len(self._told) > MOST_REMEMBERED:
                self._told.popitem(last=False)
        log.log(level, "%s", text)


class _Sending(logging.Handler):
    """Hands records over instead of writing them."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.send(record.levelno, record.getMessage())


class Reporter:
    """The channel of one connection: opened before each fork for it, and closed when that process
    has ended.
    """

    def __init__(self, reports: Reports, label: str) -> None:
        self._reports = reports
        self._label = label
        self._left = MOST_REPORTS
        self.receiver: socket.socket | None = None
        self.sender: socket.socket | None = None

    def open(self) -> None:
        """Raises OSError."""
        self.receiver, self.sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.setblocking(False)
        self.sender.setblocking(False)

    def close(self) -> None:
        """Closes this process's ends. May be called twice."""
        self.close_sender()
        if self.receiver:
            self.receiver.close()
            self.receiver = None

    def close_sender(self) -> None:
        """In the parent, behind the fork."""
        if self.sender:
            self.sender.close()
            self.sender = None

    def take_over(self) -> None:
        """In the child: what is logged here, the parent logs."""
        if self.receiver:
            self.receiver.close()
            self.receiver = None
        log.handlers = [_Sending(self)]
        log.propagate = False

    def send(self, level: int, text: str) -> None:
        """From the child. A parent that is too busy to listen loses it: serving goes first."""
        data = text.encode(errors="backslashreplace")[:REPORT_MAX_BYTES]
        try:
            if self.sender:
                self.sender.send(bytes([level]) + data)
        except OSError:
            return

    def drain(self, most: int = REPORTS_A_TURN) -> bool:
        """In the parent: logs what has come, up to so many; whether there may be more.

        Who has told too much is not listened to any more.
        """
        for _ in range(most):
            if not self.receiver or self._left < 0:
                return False
            try:
                datagram = self.receiver.recv(REPORT_MAX_BYTES + 1)
            except OSError:
                return False
            self._left -= 1
            if self._left < 0:
                text = f"{self._label} has told {MOST_REPORTS} things; no more of it is logged"
                self._reports.tell(logging.ERROR, text)
                return False
            if datagram[:1] and datagram[0] in _LEVELS:
                self._reports.tell(datagram[0], datagram[1:].decode(errors="replace"))
            else:
                text = f"{self._label} told what is no report: {datagram[:40]!r}"
                self._reports.tell(logging.ERROR, text)
        return True

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing that still comes is logged."""
        return self._left < 0
