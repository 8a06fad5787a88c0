"""One client, from greeting to goodbye: the sans-I/O parts on a connected, blocking socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from .errors import ProtocolError
from .exports import ExportTable
from .handshake import Agreement, Talk, negotiate
from .reading import Transfer
from .sending import Sender
from .session import Session
from .wire import BASE_ALLOCATION

HANDSHAKE_TIMEOUT_S = 30.0
SPIN_S = 50e-6
SEND_BUFFER_BYTES = 1 << 20
HEAP_KEPT_BYTES = 16 << 20

_yield_processor = getattr(os, "sched_yield", lambda: None)  # macOS has none


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
    _tune(connection)
    sender = Sender(connection)
    session = Session(
        agreement.offer.export,
        structured=agreement.structured,
        allocation_id=agreement.contexts.get(BASE_ALLOCATION),
        transfer_min_bytes=sender.transfer_min_bytes,
        report=report,
    )
    _transmit(connection, session, sender)


def _tune(connection: socket.socket) -> None:
    """What was measured to help; none of it is needed."""
    connection.settimeout(None)
    if connection.family == socket.AF_UNIX:
        # Half as much again for reads of 256 KiB. TCP does better when it sizes its own.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    else:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # glibc keeps freed memory up to twice the largest block that was ever mapped and freed.
    # Otherwise each batch faults its pages in anew: a third of the time of 32 KiB reads.
    bytes(HEAP_KEPT_BYTES)


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


def _transmit(connection: socket.socket, session: Session, sender: Sender) -> None:
    space, received = session.space, session.received
    send_buffers, send_slice = sender.send_buffers, sender.send_slice
    while not session.closed:
        count = _receive(connection, space())
        if not count:
            return
        for item in received(count):
            if isinstance(item, Transfer):
                item.error = send_slice(item.slice)
            else:
                send_buffers(item)


def _receive(connection: socket.socket, space: memoryview) -> int:
    """Looks for a moment before it sleeps: waking up takes longer than most clients do.

    With one read in flight, this doubles the reads a second.
    """
    deadline = time.monotonic() + SPIN_S
    while True:
        try:
            return connection.recv_into(space, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return connection.recv_into(space)
            _yield_processor()
