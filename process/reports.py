"""Reports of the processes of connections to their parent: short texts, one datagram each.

A client may have taken over the process that talks to it. So each has a channel of its own, on
which it can neither silence nor overhear the others; reports are bounded in length and number, and
escaped before they are logged.
"""

from __future__ import annotations

import logging
import socket
from collections import OrderedDict

REPORT_MAX_BYTES = 8 << 10
MOST_REPORTS = 10_000
"""Reports of one connection that are logged at most; each may be of another file."""
REPORTS_A_TURN = 64
"""Reports of one connection that are logged before the others have their turn."""
MOST_REMEMBERED = 4096

_LEVELS = frozenset({logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR})

log = logging.getLogger("vfloppy.nbd")


def escaped(text: str) -> str:
    """Return the text with escapes for all that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class Reports:
    """The log of the parent, which has each failure once for all connections.

    The latest `MOST_REMEMBERED` are remembered: an older one is logged again.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[int, None] = OrderedDict()  # by their hashes, the latest last

    def tell(self, level: int, text: str) -> None:
        """Log a text, escaped; from the level of a warning up, only if it is new."""
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
    """A handler that sends the records of a child's log to the parent."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.send(record.levelno, record.getMessage())


class Reporter:
    """The channel of reports of one connection.

    It is opened before each fork for the connection, and closed when that process has ended.
    """

    def __init__(self, reports: Reports, label: str) -> None:
        self._reports = reports
        self._label = label
        self._left = MOST_REPORTS
        self.receiver: socket.socket | None = None
        self.sender: socket.socket | None = None

    def open(self) -> None:
        """Make the pair of sockets. Raise OSError."""
        self.receiver, self.sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.setblocking(False)
        self.sender.setblocking(False)

    def close(self) -> None:
        """Close this process's ends. May be called twice."""
        self.close_sender()
        if self.receiver:
            self.receiver.close()
            self.receiver = None

    def close_sender(self) -> None:
        """Close the child's end, in the parent, after the fork."""
        if self.sender:
            self.sender.close()
            self.sender = None

    def send_log(self) -> None:
        """Send to the parent, from now on, all that is logged in this process, the child."""
        if self.receiver:
            self.receiver.close()
            self.receiver = None
        log.handlers = [_Sending(self)]
        log.propagate = False

    def send(self, level: int, text: str) -> None:
        """Send a report from the child; drop it if the parent is too busy: serving goes first."""
        data = text.encode(errors="backslashreplace")[:REPORT_MAX_BYTES]
        try:
            if self.sender:
                self.sender.send(bytes([level]) + data)
        except OSError:
            return

    def drain(self, most: int = REPORTS_A_TURN) -> bool:
        """Log up to `most` reports that have come, in the parent; return True if more may wait.

        None is logged of a connection that has sent more than `MOST_REPORTS`.
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
        """True when nothing more of this connection is logged."""
        return self._left < 0
