"""The parent's loop: it accepts, forks a process for each client, and reaps.

It has one thread and only waits: for clients, for signals, for reports of its children. A child
serves its client with blocking calls and ends; a crash there harms nobody else. A child whose
client is silent ends too: the client is parked, and gets another child when it goes on.
"""

from __future__ import annotations

import logging
import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, Protocol

from . import children
from .children import EndedError, SignalWatch
from .clients import Client, ParkedT
from .listeners import Listener
from .reports import Reporter, Reports, log
from .system import end_with_parent

_PAUSE_S = 0.1  # when the system is short of something
# No kqueue: a child has no part of its parent's, and fails when it closes what it holds of it.
_SELECTOR = getattr(selectors, "EpollSelector", selectors.PollSelector)
_ACCEPTED_A_TURN = 16  # then signals and reports have their turn


class LoopLimits(NamedTuple):
    """The limits that a loop keeps to."""

    connections: int | None = None
    """Clients at a time; more wait until one has left. None: any number."""
    idle_exit_s: float | None = None
    """The loop ends when nobody was connected for so long; None: never."""
    may_park: bool = True
    """A silent connection may give up its process, and go on in another."""


class Service(Protocol[ParkedT]):
    """The work of a loop's processes for their clients."""

    @property
    def rescans(self) -> bool:
        """True if `refresh` ever does anything."""
        ...

    def refresh(self, *, asked: bool) -> None:
        """Look for something newer to offer, while nobody is served; `asked`: by SIGHUP."""
        ...

    def serve_client(
        self,
        client: socket.socket,
        tell: Callable[[int, str], None],
        label: str,
        *,
        resumed: ParkedT | None,
        channel: socket.socket | None,
    ) -> int:
        """In a child, serve one connection to its end, or until it is parked by `channel`.

        `tell` gets a level of `logging` and a text. Return the exit status of the process.
        """
        ...

    def receive_parked(self, channel: socket.socket) -> ParkedT | None:
        """In the parent, return a connection that a child has parked; None if it has ended."""
        ...

    def without_descriptors(self, parked: ParkedT) -> ParkedT:
        """Return the same without its open files, which the caller has closed."""
        ...


class Loop(Generic[ParkedT]):
    """The life of a server: until SIGINT or SIGTERM, or until `lifeline` is readable."""

    def __init__(
        self,
        service: Service[ParkedT],
        listeners: Sequence[Listener],
        limits: LoopLimits,
        signals: SignalWatch,
        lifeline: int | None,
    ) -> None:
        self._service = service
        self._listeners = listeners
        self._limits = limits
        self._signals = signals
        self._reports = Reports()
        self._lifeline = lifeline
        self._clients: set[Client[ParkedT]] = set()  # all that are connected
        self._children: dict[int, Client[ParkedT]] = {}  # those with a process, by its id
        self._count = 0
        self._stopping = False
        self._refresh_asked = False
        self._idle_since = time.monotonic()
        self._selector: selectors.BaseSelector = _SELECTOR()
        self._listening = [each for listener in listeners for each in listener.sockets]
        self._is_full = True  # nobody listens yet
        # The other half of the descriptors is for the host files of a process.
        self._most_held = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

    def run(self) -> None:
        """Serve until the end; return when all children have been waited for."""
        with self._selector as selector:
            self._register(selector)
            try:
                while not self._stopping:
                    events = selector.select(self._idle_left_s())
                    for key, _events in events:
                        key.data()
                    if not events and self._idle_left_s() == 0:
                        log.info("nobody came for %s seconds", self._limits.idle_exit_s)
                        self._stop()
            finally:
                children.end_all(self._children)
                for client in self._clients:
                    self._end_reports(client)
                    client.close()

    def _register(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._signals.receiver, selectors.EVENT_READ, self._on_signal)
        if self._lifeline is not None:
            selector.register(self._lifeline, selectors.EVENT_READ, self._stop)
        for each in self._listening:
            each.setblocking(False)
        self._admit()

    def _admit(self) -> None:
        """Listen while there are fewer connections than there may be, and else not."""
        most = self._limits.connections
        is_full = most is not None and len(self._clients) >= most
        if is_full != self._is_full:
            self._is_full = is_full
            for each in self._listening:
                if is_full:
                    self._selector.unregister(each)
                else:
                    accept = partial(self._accept, each)
                    self._selector.register(each, selectors.EVENT_READ, accept)

    def _idle_left_s(self) -> float | None:
        """Return the time after which the loop ends if nobody comes; None: never."""
        idle_exit_s = self._limits.idle_exit_s
        if idle_exit_s is None or self._clients:
            return None
        return max(self._idle_since + idle_exit_s - time.monotonic(), 0)

    def _stop(self) -> None:
        self._stopping = True

    def _on_signal(self) -> None:
        seen = self._signals.seen()
        if signal.SIGCHLD in seen:
            self._reap()
        if signal.SIGHUP in seen:
            self._on_hangup()
        if seen & children.ENDING:
            self._stop()

    def _on_hangup(self) -> None:
        """Note that SIGHUP asks for something newer, and log when it will be looked for."""
        if not self._service.rescans:
            log.warning("SIGHUP: this server never looks again at what it serves")
            return
        self._refresh_asked = True
        if number := len(self._clients):
            who = "client has" if number == 1 else f"{number} clients have"
            log.warning("SIGHUP: will look again when the %s left, and somebody comes", who)
        else:
            log.info("SIGHUP: will look again when somebody comes")

    def _reap(self) -> None:
        """Park the clients of children that have ended silently, and forget those of the others."""
        for process_id, client in tuple(self._children.items()):
            status = children.ended(process_id)
            if status is None:
                continue
            del self._children[process_id]
            self._end_reports(client)
            if client.channel:
                client.parked = self._service.receive_parked(client.channel)
                client.channel.close()
            if client.parked:
                self._park(client)
                continue
            if status < 0:
                log.error("%s was ended by %s", client.label, signal.Signals(-status).name)
            self._disconnect(client)

    def _log_reports(self, client: Client[ParkedT]) -> None:
        """Log what the client's process has reported, up to a bound."""
        client.reporter.drain()
        if client.reporter.is_exhausted:
            self._end_reports(client)

    def _end_reports(self, client: Client[ParkedT]) -> None:
        """Log what is left to be read, and close the channel of reports."""
        if client.reporter.receiver:
            while client.reporter.drain():
                continue
            self._selector.unregister(client.reporter.receiver)
            client.reporter.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            # Another client may have come in at another address, in the same turn.
            if self._is_full or self._stopping or not self._accept_one(listening):
                return

    def _accept_one(self, listening: socket.socket) -> bool:
        """Let one client in. Return False when none waits any more, or none can be let in."""
        try:
            connected, _address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:
            self._pause(f"cannot accept a connection: {error}")
            return False
        if not self._clients:
            self._refresh()
            if self._stopping:
                connected.close()
                return False
        self._count += 1
        label = f"connection {self._count}"
        client: Client[ParkedT] = Client(label, connected, Reporter(self._reports, label))
        self._clients.add(client)
        if not self._start(client):
            self._disconnect(client)
            return False
        self._admit()
        return True

    def _refresh(self) -> None:
        """Have the service look for something newer, unless the end is asked for first."""
        self._on_signal()  # a hangup may have come in the same moment
        asked, self._refresh_asked = self._refresh_asked, False
        try:
            with self._signals.abandoning():
                self._service.refresh(asked=asked)
        except EndedError:
            self._stop()
        self._on_signal()

    def _start(self, client: Client[ParkedT]) -> bool:
        """Fork a process for a client. Return False when the system allows none."""
        may_park = self._limits.may_park and len(self._descriptors(but=client)) < self._most_held
        try:
            client.channel, theirs = socket.socketpair()
            with theirs:
                client.reporter.open()
                # These reach the whole process group; the parent decides what they mean.
                process_id = children.fork(
                    partial(self._serve, client, os.getpid(), theirs if may_park else None),
                    ignore={signal.SIGINT, signal.SIGHUP},
                )
        except OSError as error:
            client.reporter.close()
            self._pause(f"cannot start a process for {client.label}: {error}")
            return False
        self._children[process_id] = client
        client.reporter.close_sender()
        if client.reporter.receiver:
            log_reports = partial(self._log_reports, client)
            self._selector.register(client.reporter.receiver, selectors.EVENT_READ, log_reports)
        client.close_files()
        client.parked = None
        if not may_park:
            client.connection.close()
            client.channel.close()
        return True

    def _serve(self, client: Client[ParkedT], parent: int, channel: socket.socket | None) -> int:
        """Serve a client, in the child, which must not outlive `parent`. Return the exit status."""
        try:
            end_with_parent(parent)
            self._close_parents(client)
            client.connection.setblocking(True)
            client.reporter.send_log()
        except OSError as error:
            client.reporter.send(logging.ERROR, f"{client.label} can't be served: {error}")
            return 1
        return self._service.serve_client(
            client.connection,
            client.reporter.send,
            client.label,
            resumed=client.parked,
            channel=channel,
        )

    def _close_parents(self, client: Client[ParkedT]) -> None:
        """Close, in the child, all that the parent waits for or holds for other clients.

        A client that takes this process over shall not end the server, nor speak for others; and a
        copy of another client's connection would keep it open.
        """
        for key in tuple(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._selector.close()
        self._signals.forget()
        for listener in self._listeners:
            listener.forget()
        for other in self._clients:
            if other is not client:
                other.close()
        if client.channel:
            client.channel.close()
        children.discard_streams()

    def _descriptors(self, *, but: Client[ParkedT]) -> list[int]:
        """Return the descriptors that are open in the parent on account of all other clients."""
        return [
            each for client in self._clients if client is not but for each in client.descriptors
        ]

    def _park(self, client: Client[ParkedT]) -> None:
        """Have a client without a process resumed when it says something."""
        parked = client.parked
        files = parked.descriptors if parked else ()
        if parked and files and len(self._descriptors(but=client)) + len(files) > self._most_held:
            client.close_files()
            client.parked = self._service.without_descriptors(parked)
        resume = partial(self._resume, client)
        self._selector.register(client.connection, selectors.EVENT_READ, resume)

    def _resume(self, client: Client[ParkedT]) -> None:
        """Give a parked client a process, or forget it if it has closed the connection."""
        try:
            beginning = client.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            log.info("%s lost: %s", client.label, error)
            beginning = b""
        else:
            if not beginning:
                log.info("%s closed", client.label)
        self._selector.unregister(client.connection)
        if not beginning:
            self._disconnect(client)
        elif not self._start(client):
            self._park(client)

    def _disconnect(self, client: Client[ParkedT]) -> None:
        """Forget a client whose connection has ended, and close all of it."""
        self._end_reports(client)
        client.close()
        self._clients.discard(client)
        self._idle_since = time.monotonic()
        self._admit()

    def _pause(self, message: str) -> None:
        """Log that the system is short of something, and wait: hurry would use up the rest."""
        log.error("%s", message)
        time.sleep(_PAUSE_S)
