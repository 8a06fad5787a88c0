"""The server of a process of its own: exports, listeners and limits, and the work of a child."""

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
from .connection import (
    HANDSHAKE_TIMEOUT_S,
    REQUEST_S,
    Connection,
    ConnectionLimits,
    Security,
    load,
    serve_connection,
)
from .parking import Parked

Refresh: TypeAlias = Callable[[bool], "tuple[Mapping[str, Export], Mapping[str, str]] | None"]


class Limits(NamedTuple):
    """The limits of a server: times in seconds, and numbers of connections."""

    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    """For each message of a client before it has chosen an export."""
    request_timeout_s: float = REQUEST_S
    """For each request, from its first byte to its last."""
    connections: int | None = None
    """At a time; more clients wait until one has left. None: any number."""
    idle_exit_s: float | None = None
    """The server ends when nobody was connected for so long; None: never."""
    park_after_s: float | None = parking.PARK_AFTER_S
    """A connection that was silent for so long has no process until the client goes on."""


class Server:
    """A server of `exports` by name at `listeners`, which it closes in the end.

    The export named `default_name`, or "", is the default one; so is a lone export. Before a client
    is let in while nobody is connected, `refresh` is called, with True if SIGHUP asked for it: it
    may return other exports and descriptions, which take the place of the former ones. SIGINT and
    SIGTERM end it by an EndedError, which is no Exception. With `sandbox`, the process of each
    connection enters it first. Raise ValueError for a name that the protocol can't carry.
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
        load(exports.values())
        self._refresh = refresh
        self._security = security
        self._sandbox = sandbox
        self._on_ready = on_ready

    def uri(self) -> str:
        """Return the URI of the default export at the first listener."""
        is_secure = self._security.mode == "require"
        return uri_of(self.listeners[0], self._exports.default_name, secure=is_secure)

    def local_uri(self) -> str:
        """Return the same for a client on this computer, with all that it needs for TLS."""
        security = self._security
        if security.mode != "require":
            return self.uri()
        paths = {"tls-certificates": security.certificates, "tls-psk-file": security.keys}
        return uri_of(
            self.listeners[0],
            self._exports.default_name,
            secure=True,
            user=security.user,
            parameters={key: path for key, path in paths.items() if path},
        )

    @property
    def rescans(self) -> bool:
        """True if `refresh` may ever offer anything newer."""
        return self._refresh is not None

    def refresh(self, *, asked: bool) -> None:
        """Look for something newer to offer, while nobody is served; `asked`: by SIGHUP."""
        newer = self._refresh(asked) if self._refresh else None
        if newer:
            self._exports = ExportTable(*newer, self._default_name)

    def close(self) -> None:
        """Stop listening; remove socket files and private directories. May be called twice."""
        for listener in self.listeners:
            listener.close()

    def serve_forever(self, lifeline: int | None = None) -> None:
        """Serve until SIGINT or SIGTERM, or until `lifeline`, a descriptor, is readable.

        Close the listeners and wait for all children before returning. Call it in the main thread
        of a process that has no other.
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
        """Serve while `/bin/sh -c command` runs; return its exit status, 128 + N for signal N.

        The command finds the server by the variables nbd, uri, unixsocket, port, exportname, tls,
        tls_certificates and tls_psk of its environment. Raise CaptiveError when the server ended
        before the command did, or failed.
        """
        from ...process import captive  # noqa: PLC0415  slow to import, and seldom needed

        first = self.listeners[0]
        variables = {
            "nbd": self.local_uri(),
            "uri": self.local_uri(),
            "unixsocket": first.path or "",
            "port": "" if first.port is None else str(first.port),
            "exportname": self._exports.default_name,
            "tls": "" if self._security.mode == "off" else self._security.mode,
            "tls_certificates": self._security.certificates,
            "tls_psk": self._security.keys,
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
        """Serve a connection in a child; return the exit status of the process.

        With a `channel` to the parent, the connection may be parked by way of it. `tell` is called
        with levels and texts for the log.
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
                self._security,
                ConnectionLimits(
                    self.limits.handshake_timeout_s,
                    self.limits.request_timeout_s,
                    self.limits.park_after_s,
                    multi_conn=self.limits.connections != 1,
                ),
                resumed=resumed,
                park=partial(parking.send_parked, channel, self._exports) if channel else None,
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

    def receive_parked(self, channel: socket.socket) -> Parked | None:
        """Return, in the parent, a connection that a child has parked; None if it has ended."""
        return parking.receive_parked(channel, self._exports)

    def without_descriptors(self, parked: Parked) -> Parked:
        """Return the same without open files: they are opened again when they are read."""
        return Parked(parked.agreement)

    def serve_single(self, client: Connection) -> int:
        """Serve one client that is already there, in this process. Return its exit status."""
        self._on_ready()
        return self.serve_client(client, Reports().tell, "the connection")
