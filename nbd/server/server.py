"""The server: what it offers where and how, and what the process of one connection does."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from ...export import Export
from ...process.children import SignalWatch
from ...process.listeners import Listener
from ...process.loop import Loop, LoopLimits
from ...process.reports import Reports
from ...process.sandbox import Sandbox
from ..errors import ProtocolError
from ..protocol.exports import ExportTable
from ..uris import uri_of
from . import parking
from .connection import HANDSHAKE_TIMEOUT_S, REQUEST_S, Connection, Security, serve_connection
from .parking import Parked

Refresh: TypeAlias = Callable[[bool], "tuple[Mapping[str, Export], Mapping[str, str]] | None"]


class Limits(NamedTuple):
    """How much, how long, how many."""

    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    """For each thing that a client says before it has chosen an export."""
    request_timeout_s: float = REQUEST_S
    """For each request, from its first byte to its last."""
    connections: int | None = None
    """At a time; whoever comes then waits."""
    idle_exit_s: float | None = None
    """The server ends when nobody was connected for so long."""
    park_after_s: float | None = parking.PARK_AFTER_S
    """A connection that was silent for so long costs no process until the client goes on."""


class Server:
    """Offers `exports` by name at `listeners`, and closes those in the end.

    A lone export is also the default one, "", or else the one that is named so. Before a client is
    let in while nobody is connected, `refresh` is called, with whether SIGHUP asked for it: it may
    return other exports and descriptions, which then take the place of the first. SIGINT and
    SIGTERM end it by an EndedError, which is no Exception. With `sandbox`, the process of each
    connection enters it first. Raises ValueError for a name that the protocol
    can't carry.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        exports: Mapping[str, Export],
        descriptions: Mapping[str, str] | None = None,
        *,
        default_name: str | None = None,
        refresh: Refresh | None = None,
        security: Security = Security(),  # noqa: B008  it is frozen
        sandbox: Sandbox | None = None,
        limits: Limits = Limits(),  # noqa: B008  it is frozen
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
        return uri_of(self.listeners[0], self._exports.default_name, secure=is_secure)

    @property
    def rescans(self) -> bool:
        """Whether it ever offers anything newer."""
        return self._refresh is not None

    def refresh(self, *, asked: bool) -> None:
        """Looks whether there is something newer to offer. To be called while nobody is served."""
        newer = self._refresh(asked) if self._refresh else None
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
            with SignalWatch() as signals:
                limits = LoopLimits(
                    self.limits.connections,
                    self.limits.idle_exit_s,
                    may_park=self.limits.park_after_s is not None,
                )
                loop = Loop(self, self.listeners, limits, signals, lifeline)
                self._on_ready()
                loop.run()
        finally:
            self.close()

    def run_captive(self, command: str) -> int:
        """Serves while `/bin/sh -c command` runs; its exit status, 128 + N for signal N.

        The shell variables nbd, uri, unixsocket, port, exportname and tls tell it where.
        Raises CaptiveError when the server ended before the command did, or failed.
        """
        from ...process import captive  # noqa: PLC0415  slow to import, and seldom needed

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

    def serve_client(
        self,
        client: Connection,
        tell: Callable[[int, str], None],
        label: str,
        *,
        resumed: Parked | None = None,
        channel: socket.socket | None = None,
    ) -> int:
        """In a child: one connection to its end, or, with a `channel` to the parent, to where it
        is handed over. `tell` gets what is to be logged. Returns the exit status of the process.
        """

        def report(level: int, text: str) -> None:
            tell(level, f"{label} {text}" if level < logging.WARNING else text)

        try:
            if self._sandbox:
                self._sandbox.enter()
                self._sandbox.close()
        except OSError as error:
            report(logging.ERROR, f"{label} refused: {error}; --no-sandbox serves without")
            return 1
        try:
            is_parked = serve_connection(
                client,
                self._exports,
                report,
                self.limits.handshake_timeout_s,
                self._security,
                resumed=resumed,
                park_after_s=self.limits.park_after_s if channel else None,
                has_company=self.limits.connections != 1,
                leave=partial(parking.hand_over, channel, self._exports) if channel else None,
                request_timeout_s=self.limits.request_timeout_s,
                lifeline=channel.fileno() if channel else None,
            )
            if not is_parked:
                report(logging.INFO, "closed")
        except ProtocolError as error:
            report(logging.INFO, f"dropped: {error}")
        except OSError as error:
            report(logging.INFO, f"lost: {error}")
        except Exception as error:
            report(logging.ERROR, f"{label} failed: {type(error).__name__}: {error}")
            return 1
        return 0

    def take_over(self, channel: socket.socket) -> Parked | None:
        """In the parent: what a child has handed over; None when its connection has ended."""
        return parking.take_over(channel, self._exports)

    def without_descriptors(self, parked: Parked) -> Parked:
        """See `Service.without_descriptors`: its files are opened again when they are read."""
        return Parked(parked.agreement)

    def serve_single(self, client: Connection) -> int:
        """Serves one client that is already there, in this process. Returns its exit status."""
        return self.serve_client(client, Reports().tell, "the connection")
