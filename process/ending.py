"""The end of a connection: what was begun is finished, in bounded time, and the client hears of it.

Closing a TCP socket while there is something in it that nobody has read resets the connection, and
what was still on its way to the client is thrown away. So the sending side is closed first, and
what a client still says is read and forgotten for a moment.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from .children import GRACE_S
from .stdio import StdioConnection

LINGER_S = 1.0
_FORGOTTEN_BYTES = 64 << 10


class Ending:
    """Whether this process was asked to end."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def finishing() -> Iterator[Ending]:
    """Within, SIGTERM asks, and the process ends by itself when the replies that have begun are
    out; or by SIGALRM after `GRACE_S`, whatever it is about: a client may never read. Behind it,
    the handler that was there before hears of the signal. Outside of the main thread nobody is
    asked.
    """
    ending = Ending()

    def note(_number: int, _frame: object) -> None:
        if not ending.asked:
            ending.asked = True
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    try:
        before = signal.signal(signal.SIGTERM, note)
    except ValueError:
        yield ending
        return
    try:
        yield ending
    finally:
        signal.signal(signal.SIGTERM, before)
    if ending.asked:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if callable(before):
            before(signal.SIGTERM, None)


def part_from(connection: socket.socket | StdioConnection) -> None:
    """Sees to it that the client gets all that was sent; returns within `LINGER_S`. The end of the
    process closes the connection, and of a client that waits for that nothing is left here then.
    """
    if not isinstance(connection, socket.socket):
        return
    unwrap = getattr(connection, "unwrap", None)
    with suppress(OSError, ValueError):
        connection.settimeout(0)
        if unwrap:
            unwrap()  # close_notify goes out, and nobody waits for the client's
    receive = partial(socket.socket.recv, connection, _FORGOTTEN_BYTES)  # below TLS
    with suppress(OSError):
        if not receive():
            return
        connection.shutdown(socket.SHUT_WR)
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        deadline = time.monotonic() + LINGER_S
        while (left_s := deadline - time.monotonic()) > 0 and poll.poll(left_s * 1000):
            if not receive():
                return
