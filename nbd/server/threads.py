"""A server of threads, for programs that serve a disk beside what else they do.

`Server` forks a process a connection, which is faster and keeps clients apart, and needs a process
of its own. This one works beside other threads: it forks nothing, and touches no signals.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Mapping
from typing import Self

from ...export import Export
from ...process.listeners import Listener
from ...process.reports import log
from ..errors import ProtocolError
from ..protocol.exports import ExportTable
from ..uris import uri_of
from .connection import serve_connection

_PATIENCE_S = 5.0


class ThreadedServer:
    """A server of `exports` by name at a listener, from its making until `close`.

    Raise ValueError for a name that the protocol can't carry.
    """

    def __init__(self, listener: Listener, exports: Mapping[str, Export]) -> None:
        self._listener = listener
        self._exports = ExportTable(exports)
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        self._waker, self._woken = socket.socketpair()
        for each in listener.sockets:
            each.setblocking(False)
        self._acceptor = threading.Thread(target=self._accept_all, name="vfloppy", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    @property
    def uri(self) -> str:
        """The URI of the default export."""
        return uri_of(self._listener, self._exports.default_name)

    def uri_of(self, name: str) -> str:
        """Return the URI of the export of that name."""
        return uri_of(self._listener, name)

    def close(self) -> None:
        """Stop listening, end all connections, and wait for their threads. May be called twice."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._waker.send(b"\0")
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            running = dict(self._connections)
        for connection in running:
            _shut_down(connection)
        deadline = time.monotonic() + _PATIENCE_S
        for thread in running.values():
            if thread is not threading.current_thread():  # which a filter may have asked to close
                thread.join(max(deadline - time.monotonic(), 0))
        self._waker.close()
        self._woken.close()

    def _accept_all(self) -> None:
        """Accept clients until `close` wakes this thread."""
        with selectors.DefaultSelector() as selector:
            for each in (*self._listener.sockets, self._woken):
                selector.register(each, selectors.EVENT_READ)
            while True:
                for key, _events in selector.select():
                    if key.fileobj is self._woken:
                        return
                    assert isinstance(key.fileobj, socket.socket)
                    self._accept(key.fileobj)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _address = listening.accept()
        except OSError:  # gone again, or the process is short of descriptors
            return
        connection.setblocking(True)
        thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        """Serve one client to its end, in a thread of its own."""
        try:
            with connection:
                serve_connection(connection, self._exports, log.log)
        except ProtocolError as error:
            log.info("dropped: %s", error)
        except OSError as error:
            log.info("lost: %s", error)
        except Exception as error:
            log.error("a connection failed: %s: %s", type(error).__name__, error)
        finally:
            with self._lock:
                self._connections.pop(connection, None)


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has just ended
        return
