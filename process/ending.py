"""The end of a connection: replies that have begun are finished, in bounded time; then it closes.

Closing a TCP socket that holds unread bytes resets the connection, and bytes that are still on
their way to the client are thrown away. So the sending side is closed first, and for a moment all
that a client still says is read and forgotten.
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
    """A note that this process was `asked` to end."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def finishing() -> Iterator[Ending]:
    """Have SIGTERM noted within the block, which should finish the replies that have begun.

    A block that has not ended `GRACE_S` after it is killed by SIGALRM, with the process: a client
    may never read. The handler that was there before is called behind the block. Outside of the
    main thread, nothing is changed, and nothing noted.
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


def close_gracefully(connection: socket.socket | StdioConnection) -> None:
    """Close the sending side, and wait until the client has closed its own, for `LINGER_S` at most.

    Then the socket holds nothing unread, and the client gets all that was sent when it is closed,
    by the end of the process for one. Pipes lose nothing.
    """
    unwrap = getattr(connection, "unwrap", None)
    with suppress(OSError, ValueError):
        connection.settimeout(0)
        if unwrap:
            unwrap()  # close_notify goes out, and nobody waits for the client's
    if not isinstance(connection, socket.socket):
        return
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
