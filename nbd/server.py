"""The server: one parent that accepts and reaps, one process a connection.

The parent has one thread and only waits: for clients, for signals, for what its children report.
A child serves its client with blocking calls and ends; a crash there harms nobody else.
"""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ..pieces import Export
from . import captive, processes
from .connection import HANDSHAKE_TIMEOUT_S, serve_connection
from .errors import ProtocolError
from .exports import ExportTable
from .listen import Listener
from .processes import SignalWatch
from .reports import Reports, log
from .sandbox import Sandbox

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_PAUSE_S = 0.1


class Server:
    """Offers `exports` by name at `listeners`, and closes those in the end.

    A lone export is also the default one, "". Raises ValueError for a name that the protocol
    can't carry. With `sandbox`, the process of each connection enters it first.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        exports: Mapping[str, Export],
        descriptions: Mapping[str, str] | None = None,
        *,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        sandbox: Sandbox | None = None,
    ) -> None:
        self.listeners = tuple(listeners)
        self._exports = ExportTable(exports, descriptions)
        self._handshake_timeout_s = handshake_timeout_s
        self._sandbox = sandbox

    def uri(self) -> str:
        """Where clients find the default export, at the first listener."""
        return self.listeners[0].uri(self._exports.default_name)

    def close(self) -> None:
        """Stops listening; socket files and private directories go away. May be called twice."""
        for listener in self.listeners:
            listener.close()

    def serve_forever(self, lifeline: int | None = None) -> None:
        """Serves until SIGINT, SIGTERM or SIGHUP, or until `lifeline`, a descriptor, is readable.

        When it returns, children have been waited for and the listeners are closed. Must be
        called in the main thread of a process that has no other.
        """
        try:
            with SignalWatch() as signals, Reports() as reports:
                _Loop(self, signals, reports, lifeline).run()
        finally:
            self.close()

    def run_captive(self, command: str) -> int:
        """Serves while `/bin/sh -c command` runs; its exit status, 128 + N for signal N.

        The shell variables nbd, uri, unixsocket, port, exportname and tls tell it where.
        Raises CaptiveError when the server ended before the command did, or failed.
        """
        first = self.listeners[0]
        variables = {
            "nbd": self.uri(),
            "uri": self.uri(),
            "unixsocket": first.path or "",
            "port": "" if first.port is None else str(first.port),
            "exportname": self._exports.default_name,
            "tls": "",
        }
        try:
            return captive.run(command, variables, self.serve_forever, self._forget)
        finally:
            self.close()

    def _forget(self) -> None:
        for listener in self.listeners:
            listener.forget()

    def serve_client(self, client: socket.socket, reports: Reports, label: str) -> int:
        """In a child: one connection to its end. Returns the exit status of the process."""

        def report(level: int, text: str) -> None:
            reports.send(level, text)

        try:
            if self._sandbox:
                self._sandbox.enter()
        except OSError as error:
            report(logging.ERROR, f"{label} refused: {error}; --no-sandbox serves without")
            return 1
        try:
            serve_connection(
                client, self._exports, partial(report, logging.WARNING), self._handshake_timeout_s
            )
        except ProtocolError as error:
            report(logging.INFO, f"{label} dropped: {error}")
        except OSError as error:
            report(logging.INFO, f"{label} lost: {error}")
        except Exception as error:
            report(logging.ERROR, f"{label} failed: {type(error).__name__}: {error}")
            return 1
        return 0


class _Loop:
    """The parent's loop over one life of the server."""

    def __init__(
        self, server: Server, signals: SignalWatch, reports: Reports, lifeline: int | None
    ) -> None:
        self._server = server
        self._signals = signals
        self._reports = reports
        self._lifeline = lifeline
        self._children: dict[int, str] = {}  # process id -> what its connection is called
        self._count = 0
        self._stopping = False

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            self._register(selector)
            try:
                while not self._stopping:
                    for key, _events in selector.select():
                        key.data()
            finally:
                processes.end_all(self._children)

    def _register(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._signals.receiver, selectors.EVENT_READ, self._on_signal)
        selector.register(self._reports.receiver, selectors.EVENT_READ, self._reports.drain)
        if self._lifeline is not None:
            selector.register(self._lifeline, selectors.EVENT_READ, self._stop)
        for listener in self._server.listeners:
            for each in listener.sockets:
                each.setblocking(False)
                selector.register(each, selectors.EVENT_READ, partial(self._accept, each))

    def _stop(self) -> None:
        self._stopping = True

    def _on_signal(self) -> None:
        seen = self._signals.seen()
        if signal.SIGCHLD in seen:
            self._reap()
        if seen & _ENDING:
            self._stop()

    def _reap(self) -> None:
        for process_id, label in tuple(self._children.items()):
            status = processes.ended(process_id)
            if status is None:
                continue
            del self._children[process_id]
            if status < 0:
                log.error("%s was ended by %s", label, signal.Signals(-status).name)

    def _accept(self, listening: socket.socket) -> None:
        try:
            client, _address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._pause(f"cannot accept a connection: {error}")
            return
        self._count += 1
        label = f"connection {self._count}"
        with client:
            work: Callable[[], int] = partial(self._serve, client, label)
            try:
                # Ctrl-C reaches the whole process group; the parent decides what it means.
                process_id = processes.fork(work, ignore={signal.SIGINT})
            except OSError as error:
                self._pause(f"cannot start a process for {label}: {error}")
                return
        self._children[process_id] = label

    def _serve(self, client: socket.socket, label: str) -> int:
        """In the child."""
        for listener in self._server.listeners:
            listener.forget()
        client.setblocking(True)
        return self._server.serve_client(client, self._reports, label)

    def _pause(self, message: str) -> None:
        """The system is short of something: trying again at once would only burn what is left."""
        log.error("%s", message)
        time.sleep(_PAUSE_S)
