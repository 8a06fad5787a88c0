"""One client, from greeting to goodbye: the sans-I/O parts on a connected, blocking socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from .errors import ProtocolError
from .exports import ExportTable
from .handshake import Agreement, Talk, negotiate
from .reading import Transfer
from .sending import send_buffers, send_slice
from .session import Session
from .wire import BASE_ALLOCATION

HANDSHAKE_TIMEOUT_S = 30.0


def serve_connection(
    connection: socket.socket,
    exports: ExportTable,
    report: Callable[[str], None],
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> None:
    """Returns when the client is done. Raises ProtocolError, and OSError when it is just gone."""
    agreement = _shake_hands(connection, negotiate(exports), handshake_timeout_s)
    if agreement is None:
        return
    connection.settimeout(None)
    session = Session(
        agreement.offer.export,
        structured=agreement.structured,
        allocation_id=agreement.contexts.get(BASE_ALLOCATION),
        report=report,
    )
    _transmit(connection, session)


def _shake_hands(connection: socket.socket, talk: Talk, timeout_s: float) -> Agreement | None:
    """Drives the handshake; the time is for all of it, so that a slow drip doesn't last."""
    deadline = time.monotonic() + timeout_s
    answer: bytes | None = None
    while True:
        try:
            wish = next(talk) if answer is None else talk.send(answer)
        except StopIteration as end:
            agreement: Agreement | None = end.value
            return agreement
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        if isinstance(wish, bytes):
            connection.sendall(wish)
            answer = None
        else:
            answer = _receive_exactly(connection, wish, deadline)


def _receive_exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    """Never a byte more: what follows may belong to another phase."""
    received = bytearray()
    while len(received) < count:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        part = connection.recv(count - len(received))
        if not part:
            raise ProtocolError("the client left during the handshake")
        received += part
    return bytes(received)


def _transmit(connection: socket.socket, session: Session) -> None:
    receive, space, received = connection.recv_into, session.space, session.received
    import os
    SPIN=float(os.environ.get("SPIN","0"))*1e-6
    Y=os.environ.get("YIELD")
    mono=time.monotonic
    nowait=socket.MSG_DONTWAIT
    while not session.closed:
        if SPIN:
            end=mono()+SPIN
            while True:
                try:
                    count=receive(space(),0,nowait)
                    break
                except BlockingIOError:
                    if Y: os.sched_yield()
                    if mono()>end:
                        count = receive(space())
                        break
        else:
            count = receive(space())
        if not count:
            return
        for item in received(count):
            if isinstance(item, Transfer):
                item.error = send_slice(connection, item.slice)
            else:
                send_buffers(connection, item)
