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
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from ..pieces import Export
from . import captive, processes
from .connection import HANDSHAKE_TIMEOUT_S, Connection, Security, serve_connection
from .errors import ProtocolError
from .exports import ExportTable
from .listen import Listener
from .processes import SignalWatch
from .reports import Reports, log
from .sandbox import Sandbox

_ENDING = {signal.SIGINT, signal.SIGTERM}
_PAUSE_S = 0.1

Refresh: TypeAlias = Callable[[bool], "tuple[Mapping[str, Export], Mapping[str, str]] | None"]


@dataclass(frozen=True)
class Limits:
    """How much, how long, how many."""

    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    connections: int | None = None
    """At a time; whoever comes then waits."""
    idle_exit_s: float | None = None
    """The server ends when nobody was connected for so long."""


class Server:
    """Offers `exports` by name at `listeners`, and closes those in the end.

    A lone export is also the default one, "", or else the one that is named so. Before a client is
    let in while nobody is connected, `refresh` is called, with whether SIGHUP asked for it: it may
    return other exports and descriptions, which then take the place of the first. With `sandbox`,
    the process of each connection enters it first. Raises ValueError for a name that the protocol
    can't carry.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        exports: Mapping[str, Export],
        descriptions: Mapping[str, str] | None = None,
        *,
        default_name: str | None = None,
        refresh: Refresh = lambda _asked: None,
        security: Security = Security(),  # noqa: B008  it is frozen
        sandbox: Sandbox | None = None,
        limits: Limits = Limits(),
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.listeners = tuple(listeners)
        self.limits = limits
        self._default_name = default_name
        self._exports = ExportTable(exports, descriptions, default_name)
        self._refresh = refresh
        self._security = security
        self._sandbox = sandbox
        self._on_ready = on_ready

    def uri(self) -> str:
        """Where clients find the default export, at the first listener."""
        is_secure = self._security.mode == "require"
        return self.listeners[0].uri(self._exports.default_name, secure=is_secure)

    def refresh(self, *, asked: bool) -> None:
        """Looks whether there is something newer to offer. To be called while nobody is served."""
        newer = self._refresh(asked)
        if newer:
            self._exports = ExportTable(*newer, self._default_name)

    def close(self) -> None:
        """Stops listening; socket files and private directories go away. May be called twice."""
        for listener in self.listeners:
            listener.close()

    def serve_forever(self, lifeline: int | None = None) -> None:
        """Serves until SIGINT or SIGTERM, or until `lifeline`, a descriptor, is readable.

        When it returns, children have been waited for and the listeners are closed. Must be
        called in the main thread of a process that has no other.
        """
        try:
            with SignalWatch() as signals, Reports() as reports:
                loop = _Loop(self, signals, reports, lifeline)
                self._on_ready()
                loop.run()
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
            "tls": "" if self._security.mode == "off" else self._security.mode,
        }
        try:
            return captive.run(command, variables, self.serve_forever, self._forget)
        finally:
            self.close()

    def _forget(self) -> None:
        for listener in self.listeners:
            listener.forget()

    def serve_client(self, client: Connection, reports: Reports, label: str) -> int:
        """In a child: one connection to its end. Returns the exit status of the process."""

        def report(level: int, text: str) -> None:
            reports.send(level, f"{label} {text}" if level < logging.WARNING else text)

        try:
            if self._sandbox:
                self._sandbox.enter()
        except OSError as error:
            report(logging.ERROR, f"{label} refused: {error}; --no-sandbox serves without")
            return 1
        try:
            serve_connection(
                client, self._exports, report, self.limits.handshake_timeout_s, self._security
            )
            report(logging.INFO, "closed")
        except ProtocolError as error:
            report(logging.INFO, f"dropped: {error}")
        except OSError as error:
            report(logging.INFO, f"lost: {error}")
        except Exception as error:
            report(logging.ERROR, f"{label} failed: {type(error).__name__}: {error}")
            return 1
        return 0

    def serve_single(self, client: Connection) -> int:
        """Serves one client that is already there, in this process. Returns its exit status."""
        with Reports() as reports:
            return self.serve_client(client, reports, "the connection")


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
        self._refresh_asked = False
        self._idle_since = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._listening = [each for listener in server.listeners for each in listener.sockets]
        self._is_full = False

    def run(self) -> None:
        with self._selector as selector:
            self._register(selector)
            try:
                while not self._stopping:
                    events = selector.select(self._patience())
                    for key, _events in events:
                        key.data()
                    if not events and not self._children and self._patience() == 0:
                        log.info("nobody came for %s seconds", self._server.limits.idle_exit_s)
                        self._stop()
            finally:
                processes.end_all(self._children)

    def _register(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._signals.receiver, selectors.EVENT_READ, self._on_signal)
        selector.register(self._reports.receiver, selectors.EVENT_READ, self._reports.drain)
        if self._lifeline is not None:
            selector.register(self._lifeline, selectors.EVENT_READ, self._stop)
        for each in self._listening:
            each.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        for each in self._listening:
            self._selector.register(each, selectors.EVENT_READ, partial(self._accept, each))

    def _patience(self) -> float | None:
        """How long nothing may happen."""
        idle_exit_s = self._server.limits.idle_exit_s
        if idle_exit_s is None or self._children:
            return None
        return max(self._idle_since + idle_exit_s - time.monotonic(), 0)

    def _stop(self) -> None:
        self._stopping = True

    def _on_signal(self) -> None:
        seen = self._signals.seen()
        if signal.SIGCHLD in seen:
            self._reap()
        if signal.SIGHUP in seen:
            self._refresh_asked = True
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
        self._idle_since = time.monotonic()
        most = self._server.limits.connections
        if self._is_full and (most is None or len(self._children) < most):
            self._is_full = False
            self._listen()

    def _count_in(self, process_id: int, label: str) -> None:
        self._children[process_id] = label
        most = self._server.limits.connections
        if most is not None and len(self._children) >= most:
            self._is_full = True
            for each in self._listening:
                self._selector.unregister(each)

    def _accept(self, listening: socket.socket) -> None:
        if self._is_full:
            return  # somebody came in at another address, in the same moment
        try:
            client, _address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._pause(f"cannot accept a connection: {error}")
            return
        if not self._children:
            self._server.refresh(asked=self._refresh_asked)
            self._refresh_asked = False
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
        self._count_in(process_id, label)

    def _serve(self, client: socket.socket, label: str) -> int:
        """In the child."""
        for listener in self._server.listeners:
            listener.forget()
        client.setblocking(True)
        self._reports.take_log()
        return self._server.serve_client(client, self._reports, label)

    def _pause(self, message: str) -> None:
        """The system is short of something: trying again at once would only burn what is left."""
        log.error("%s", message)
        time.sleep(_PAUSE_S)
