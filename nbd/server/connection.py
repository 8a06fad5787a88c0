"""One client, from greeting to goodbye: the sans-I/O parts on a connected, blocking socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ...export import Detached
from ...process.ending import Ending, finishing, part_from
from ...process.stdio import StdioConnection
from ...process.wakeup import RequestTimeoutError, SignalAlerts, Waiting, woken_by_signals
from ..errors import ProtocolError
from ..protocol.exports import ExportTable
from ..protocol.handshake import Agreement, Talk, Tls, Upgrade, negotiate
from ..protocol.reading import LentBuffers
from ..protocol.session import Session
from .parking import Parked
from .sending import Sender

if TYPE_CHECKING:  # slow to import, and most servers need none
    import ssl

HANDSHAKE_TIMEOUT_S = 30.0
"""For each thing that a client says before it has chosen an export: for somebody who types."""
HANDSHAKE_TIMEOUTS = 20
"""For all of them together, in such times: ten minutes, so that a slow drip doesn't last."""
REQUEST_S = 60.0
"""From the first byte of a request to its last: whoever takes longer has lost its network."""
SPIN_S = 50e-6
SEND_BUFFER_BYTES = 1 << 20
HEAP_KEPT_BYTES = 16 << 20

Connection: TypeAlias = socket.socket | StdioConnection

_yield_processor = getattr(os, "sched_yield", lambda: None)  # macOS has none


class Security(NamedTuple):
    """Whether clients may or must speak TLS, and with what."""

    mode: Tls = "off"
    context: ssl.SSLContext | None = None


def serve_connection(
    connection: Connection,
    exports: ExportTable,
    report: Callable[[int, str], None],
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    security: Security = Security(),  # noqa: B008  it is frozen
    *,
    resumed: Parked | None = None,
    park_after_s: float | None = None,
    has_company: bool = True,
    leave: Callable[[Parked], None] | None = None,
    request_timeout_s: float = REQUEST_S,
    lifeline: int | None = None,
) -> bool:
    """Returns False when the client is done, or this process was asked to end by SIGTERM or by a
    hangup of `lifeline`. Raises ProtocolError, and OSError when the client is just gone.

    `report` gets a level of `logging` and a text. With `park_after_s`, a client that says nothing
    for so long between two requests may be left: `leave` is called with what another call takes as
    `resumed` to go on, and True is returned. With `has_company`, the client may connect again
    beside itself.
    """
    agreement = resumed.agreement if resumed else None
    if agreement is None:
        talk = negotiate(exports, security.mode, has_company=has_company)
        connection, agreement = _shake_hands(connection, talk, handshake_timeout_s, security)
        if agreement is None:
            part_from(connection)
            return False
        report(logging.INFO, f"opened: {_describe(agreement, connection)}")
    _tune(connection)
    sender = Sender(connection)
    with (
        agreement.offer.export.open(SignalAlerts()) as reader,
        woken_by_signals() as wakeup,
        finishing() as ending,
    ):
        if resumed:
            reader.adopt(resumed.detached)
        session = Session(
            reader,
            structured=agreement.structured,
            extended=agreement.extended,
            contexts=agreement.contexts,
            transfer_min_bytes=sender.transfer_min_bytes,
            lends=sender.borrows,
            report=partial(report, logging.WARNING),
        )
        wait = Waiting(
            connection.fileno(),
            wakeup,
            park_after_s if leave and _is_plain(connection) else None,
            ending,
            request_timeout_s=request_timeout_s,
            lifeline=lifeline,
        )
        try:
            detached = _transmit(connection, session, sender, wait, reader.detach, ending)
        except RequestTimeoutError as error:
            part_from(connection)
            raise ProtocolError(str(error)) from error
        except BaseException:
            part_from(connection)
            raise
        if leave and detached is not None:
            leave(Parked(agreement, detached))
            return True
        part_from(connection)
    return False


def _describe(agreement: Agreement, connection: Connection) -> str:
    """What was agreed on, for a log."""
    words = {
        "export": repr(agreement.offer.name),
        "size": agreement.offer.export.size,
        "structured": int(agreement.structured),
        "extended": int(agreement.extended),
        "contexts": ",".join(agreement.contexts) or "none",
        "tls": getattr(connection, "version", lambda: "none")(),
    }
    return " ".join(f"{name}={value}" for name, value in words.items())


def _tune(connection: Connection) -> None:
    """What was measured to help; none of it is needed."""
    connection.settimeout(None)
    if connection.family == socket.AF_UNIX:
        # Half as much again for reads of 256 KiB. TCP does better when it sizes its own.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    elif connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # glibc keeps freed memory up to twice the largest block that was ever mapped and freed.
    # Otherwise each batch faults its pages in anew: a third of the time of 32 KiB reads.
    bytes(HEAP_KEPT_BYTES)


def _shake_hands(
    connection: Connection, talk: Talk, timeout_s: float, security: Security
) -> tuple[Connection, Agreement | None]:
    """Drives the handshake. Raises ProtocolError, and OSError; then the client was told."""
    last = time.monotonic() + HANDSHAKE_TIMEOUTS * timeout_s
    deadline = time.monotonic() + timeout_s
    answer: bytes | None = None
    try:
        while True:
            try:
                wish = next(talk) if answer is None else talk.send(answer)
            except StopIteration as end:
                agreement: Agreement | None = end.value
                return connection, agreement
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            answer = None
            if isinstance(wish, Upgrade):
                connection = _start_tls(connection, security)
            elif isinstance(wish, bytes):
                connection.sendall(wish)
                deadline = min(time.monotonic() + timeout_s, last)
            else:
                answer = _receive_exactly(connection, wish, deadline)
    except TimeoutError as error:
        part_from(connection)
        text = f"no export was chosen, and nothing whole said for {timeout_s:g} s"
        if time.monotonic() >= last:
            text = f"no export was chosen within {HANDSHAKE_TIMEOUTS * timeout_s:g} s"
        raise ProtocolError(text) from error
    except BaseException:
        part_from(connection)
        raise


def _start_tls(connection: Connection, security: Security) -> Connection:
    """The same connection, now secret. Nothing that came in the clear is left to be read later:
    whatever was sent too early is taken for a part of the TLS handshake, which then fails.
    """
    assert security.context is not None
    assert isinstance(connection, socket.socket)
    try:
        return security.context.wrap_socket(connection, server_side=True)
    except ValueError as error:
        raise ProtocolError(f"TLS can't be started: {error}") from error


def _receive_exactly(connection: Connection, count: int, deadline: float) -> bytes:
    """Never a byte more: what follows may belong to another phase."""
    received = bytearray()
    while len(received) < count:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        part = connection.recv(count - len(received))
        if not part:
            raise ProtocolError("the client left during the handshake")
        received += part
    return bytes(received)


def _transmit(
    connection: Connection,
    session: Session,
    sender: Sender,
    wait: Waiting,
    detach: Callable[[], Detached | None],
    ending: Ending,
) -> Detached | None:
    """Serves until the client is done, or this process is asked to end; or until the client is
    silent for as long as `wait` waits and its reader can be detached, which is returned.
    """
    space, received = session.space, session.received
    receive = _receiver(connection)
    send_buffers, send_lent, send_slice = sender.send_buffers, sender.send_lent, sender.send_slice
    has_begun = False  # a request, of which more is to come
    while not session.closed and not ending.asked:
        if not session.is_idle:
            has_begun = True
            wait.expect_rest()
        elif has_begun:
            has_begun = False
            wait.expect_all()
        try:
            count = receive(connection, space(), wait)
        except BlockingIOError:
            if not ending.asked and session.is_idle and (detached := detach()) is not None:
                return detached
            continue
        if not count:
            break
        for item in received(count):
            if has_begun:  # it is whole now
                has_begun = False
                wait.expect_all()
            if isinstance(item, list):
                send_buffers(item)
            elif isinstance(item, LentBuffers):
                send_lent(item)
            else:
                item.error = send_slice(item.slice)
    return None


def _receiver(connection: Connection) -> Callable[[Any, memoryview, Waiting], int]:
    if _is_plain(connection):
        return _receive
    return _receive_secret if hasattr(connection, "pending") else _receive_simply


def _is_plain(connection: Connection) -> bool:
    """Whether one can look without waiting, and stop waiting: a socket, and nothing around it."""
    return type(connection) is socket.socket


def _receive_simply(connection: Connection, space: memoryview, wait: Waiting) -> int:
    wait()
    return connection.recv_into(space)


def _receive_secret(connection: ssl.SSLSocket, space: memoryview, wait: Waiting) -> int:
    """By TLS, which gives nothing of a record before all of it has come."""
    from ssl import SSLWantReadError, SSLWantWriteError  # noqa: PLC0415  as above

    while True:
        if not connection.pending():  # TLS may have more than the socket shows
            wait()
        connection.settimeout(0)
        try:
            return connection.recv_into(space)
        except (SSLWantReadError, SSLWantWriteError):
            wait.expect_rest()
        finally:
            connection.settimeout(None)


def _receive(connection: Connection, space: memoryview, wait: Waiting) -> int:
    """Looks for a moment before it sleeps: waking up takes longer than most clients do.

    With one read in flight, this doubles the reads a second. Raises BlockingIOError after silence.
    """
    deadline = time.monotonic() + SPIN_S
    while True:
        try:
            return connection.recv_into(space, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if time.monotonic() > deadline:
                wait()
            else:
                _yield_processor()
