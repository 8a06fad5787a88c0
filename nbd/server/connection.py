"""The service of one client from greeting to end: the sans-I/O parts on a blocking socket."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ...export import Detached, Export, Reader
from ...process.ending import Ending, close_gracefully, finishing
from ...process.stdio import StdioConnection
from ...process.wakeup import ClientWatch, RequestTimeoutError, SignalAlerts, woken_by_signals
from ..errors import ProtocolError
from ..protocol.exports import ExportTable
from ..protocol.handshake import Agreement, Talk, Tls, Upgrade, negotiate
from ..protocol.reading import LentBuffers
from ..protocol.session import Session
from .parking import Parked
from .sending import Sender

if TYPE_CHECKING:  # slow to import, and most servers need none
    import ssl

    from ...process.tls import SecureStdio

HANDSHAKE_TIMEOUT_S = 30.0
"""For each message of the handshake: as long as somebody who types one by hand may take."""
HANDSHAKE_TIMEOUTS = 20
"""For the whole handshake, in such times: ten minutes, so that a slow drip doesn't last."""
REQUEST_S = 60.0
"""From the first byte of a request to its last: a client that takes longer has lost its network."""
SPIN_S = 50e-6
SEND_BUFFER_BYTES = 1 << 20
HEAP_KEPT_BYTES = 16 << 20

Connection: TypeAlias = socket.socket | StdioConnection
Receive: TypeAlias = Callable[[Any, memoryview, ClientWatch], int]

_yield_processor = getattr(os, "sched_yield", lambda: None)  # macOS has none


class Security(NamedTuple):
    """The use of TLS: off, allowed or demanded, and the context that it needs.

    The rest is for clients on this computer: where to find what they need.
    """

    mode: Tls = "off"
    context: ssl.SSLContext | None = None
    certificates: str = ""
    """The directory of certificates."""
    keys: str = ""
    """The file of pre-shared keys."""
    user: str = ""
    """The name of one of the keys."""


class ConnectionLimits(NamedTuple):
    """The times and numbers that a connection has to keep to."""

    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    """For each message of the handshake."""
    request_timeout_s: float = REQUEST_S
    """From the first byte of a request to its last."""
    park_after_s: float | None = None
    """Silence between two requests after which the connection is parked; None: never."""
    multi_conn: bool = True
    """The client may connect again while it is connected."""


def serve_connection(
    connection: Connection,
    exports: ExportTable,
    report: Callable[[int, str], None],
    security: Security = Security(),  # noqa: B008  it is frozen
    limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008  it is frozen
    *,
    resumed: Parked | None = None,
    park: Callable[[Parked], None] | None = None,
    lifeline: int | None = None,
) -> bool:
    """Serve a connection until it ends or is parked; return True if it was parked.

    It ends when the client is done, and when this process is asked to end, by SIGTERM or by a
    hangup of the socket `lifeline`. Raise ProtocolError when the client left the protocol, and
    OSError when it is just gone.

    `report` is called with a level of `logging` and a text. When the client was silent for
    `limits.park_after_s` between two requests, `park` is called with all that another process
    needs to go on: it passes that as `resumed`, with the same connection.
    """
    agreement = resumed.agreement if resumed else None
    if agreement is None:
        talk = negotiate(exports, security.mode, multi_conn=limits.multi_conn)
        timeout_s = limits.handshake_timeout_s
        connection, agreement = _shake_hands(connection, talk, timeout_s, security)
        if agreement is None:
            close_gracefully(connection)
            return False
        report(logging.INFO, f"opened: {_describe(agreement, connection)}")
    _tune(connection)
    if not _is_plain(connection):
        park = None
    return _serve_agreed(
        connection, Parked(agreement, resumed.detached if resumed else Detached()), report, limits,
        resumes=resumed is not None, park=park, lifeline=lifeline,
    )  # fmt: skip


def _serve_agreed(
    connection: Connection,
    start: Parked,
    report: Callable[[int, str], None],
    limits: ConnectionLimits,
    *,
    resumes: bool,
    park: Callable[[Parked], None] | None,
    lifeline: int | None,
) -> bool:
    """Serve requests from `start` on; otherwise as `serve_connection`."""
    agreement = start.agreement
    sender = Sender(connection)
    with (
        agreement.offer.export.open(SignalAlerts()) as reader,
        woken_by_signals() as wakeup,
        finishing() as ending,
    ):
        if resumes:
            reader.adopt(start.detached)
        session = _session(reader, agreement, sender, partial(report, logging.WARNING))
        watch = ClientWatch(
            connection.fileno(),
            wakeup,
            limits.park_after_s if park else None,
            ending,
            request_timeout_s=limits.request_timeout_s,
            lifeline=lifeline,
        )
        receive = _receiver(connection)
        if agreement.offer.export.features.wants_arrivals:
            receive = _announcing(receive, reader.arrived)
        try:
            detached = _transmit(connection, receive, session, sender, watch, reader.detach, ending)
        except RequestTimeoutError as error:
            close_gracefully(connection)
            raise ProtocolError(str(error)) from error
        except BaseException:
            close_gracefully(connection)
            raise
        if park and detached is not None:
            park(Parked(agreement, detached))  # before the reader is closed, see `Reader.detach`
            return True
        close_gracefully(connection)
    return False


def _session(
    reader: Reader, agreement: Agreement, sender: Sender, report: Callable[[str], None]
) -> Session:
    """Return the session of a reader, one that writes if the export can be written."""
    kind: Callable[..., Session] = Session
    if agreement.offer.export.features.writable:
        from ..protocol.writing import WritingSession  # noqa: PLC0415  see `load`

        kind = WritingSession
    return kind(
        reader,
        structured=agreement.structured,
        extended=agreement.extended,
        contexts=agreement.contexts,
        transfer_min_bytes=sender.transfer_min_bytes,
        lends=sender.sends_lent,
        report=report,
    )


def load(exports: Iterable[Export]) -> None:
    """Import what some of the exports need, before a sandbox keeps Python from reading it."""
    if any(each.features.writable for each in exports):
        from ..protocol import writing  # noqa: F401, PLC0415  most exports need none


def _describe(agreement: Agreement, connection: Connection) -> str:
    """Return the facts of an opened connection, for a log."""
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
    """Set options of the socket that were measured to help; none of them is needed."""
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
    """Drive the handshake; return the connection, which is another with TLS, and the agreement.

    Raise ProtocolError and OSError, after closing the connection gracefully.
    """
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
        close_gracefully(connection)
        text = f"no export was chosen, and nothing whole said for {timeout_s:g} s"
        if time.monotonic() >= last:
            text = f"no export was chosen within {HANDSHAKE_TIMEOUTS * timeout_s:g} s"
        raise ProtocolError(text) from error
    except BaseException:
        close_gracefully(connection)
        raise


def _start_tls(connection: Connection, security: Security) -> Connection:
    """Return the same connection by TLS. Raise ProtocolError, and OSError if the handshake fails.

    Nothing that came in the clear is left to be read later: what was sent too early is taken for a
    part of the TLS handshake, which then fails.
    """
    assert security.context is not None
    if isinstance(connection, StdioConnection):
        from ...process.tls import SecureStdio  # noqa: PLC0415  as above

        return SecureStdio(connection, security.context)
    try:
        return security.context.wrap_socket(connection, server_side=True)
    except ValueError as error:
        raise ProtocolError(f"TLS can't be started: {error}") from error


def _receive_exactly(connection: Connection, count: int, deadline: float) -> bytes:
    """Return `count` bytes from the client, and leave the rest: it may be of another phase.

    Raise ProtocolError when the client leaves, TimeoutError at `deadline` (of `time.monotonic`).
    """
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
    receive: Receive,
    session: Session,
    sender: Sender,
    watch: ClientWatch,
    detach: Callable[[], Detached | None],
    ending: Ending,
) -> Detached | None:
    """Serve until the client is done or this process is asked to end, and return None.

    Or until the client is silent for as long as `watch` waits, and the reader can be detached:
    return what it left.
    """
    space, received = session.space, session.received
    send_buffers, send_lent, send_slice = sender.send_buffers, sender.send_lent, sender.send_slice
    has_begun = False  # a request, of which more is to come
    while not session.closed and not ending.asked:
        if not session.is_idle:
            has_begun = True
            watch.check_deadline()
        elif has_begun:
            has_begun = False
            watch.clear_deadline()
        try:
            count = receive(connection, space(), watch)
        except BlockingIOError:
            if not ending.asked and session.is_idle and (detached := detach()) is not None:
                return detached
            continue
        if not count:
            break
        for item in received(count):
            if has_begun:  # it is whole now
                has_begun = False
                watch.clear_deadline()
            if isinstance(item, list):
                send_buffers(item)
            elif isinstance(item, LentBuffers):
                send_lent(item)
            else:
                item.error = send_slice(item.slice)
    return None


def _announcing(receive: Receive, arrived: Callable[[], None]) -> Receive:
    """Return the same function, which calls `arrived` when it has received something."""

    def received(connection: Any, space: memoryview, watch: ClientWatch) -> int:
        count = receive(connection, space, watch)
        arrived()
        return count

    return received


def _receiver(connection: Connection) -> Receive:
    """Return the function that receives from this kind of connection, as fast as it allows."""
    if _is_plain(connection):
        return _receive
    return _receive_secret if hasattr(connection, "pending") else _receive_simply


def _is_plain(connection: Connection) -> bool:
    """Return True for a socket without TLS around it: the kernel alone knows what has come.

    Only there can one look without waiting, and hand the connection to another process.
    """
    return type(connection) is socket.socket


def _receive_simply(connection: Connection, space: memoryview, watch: ClientWatch) -> int:
    """Receive from pipes: wait, then read."""
    watch.wait()
    return connection.recv_into(space)


def _receive_secret(
    connection: ssl.SSLSocket | SecureStdio, space: memoryview, watch: ClientWatch
) -> int:
    """Receive by TLS, which gives nothing of a record before all of it has come."""
    from ssl import SSLWantReadError, SSLWantWriteError  # noqa: PLC0415  as above

    while True:
        if not connection.pending():  # TLS may have more than the socket shows
            watch.wait()
        connection.settimeout(0)
        try:
            return connection.recv_into(space)
        except (SSLWantReadError, SSLWantWriteError):
            watch.check_deadline()
        finally:
            connection.settimeout(None)


def _receive(connection: Connection, space: memoryview, watch: ClientWatch) -> int:
    """Receive from a socket: look for `SPIN_S` before sleeping. Raise BlockingIOError on silence.

    Waking up takes longer than most clients take for their next request: with one read in flight,
    looking for a moment doubles the reads a second.
    """
    deadline = time.monotonic() + SPIN_S
    while True:
        try:
            return connection.recv_into(space, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if time.monotonic() > deadline:
                watch.wait()
            else:
                _yield_processor()
