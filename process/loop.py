"""The parent's loop: it accepts, forks a process for each client, and reaps.

It has one thread and only waits: for clients, for signals, for what its children report. A child
serves its client with blocking calls and ends; a crash there harms nobody else. The client of one
that ended out of boredom is parked, and gets another child when it goes on.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from . import children
from .children import EndedError, SignalWatch
from .listeners import Listener
from .reports import Reporter, Reports, log
from .system import end_with_parent

_PAUSE_S = 0.1
_ACCEPTED_A_TURN = 16  # whoever else waits does so until signals and reports had their turn


class LoopLimits(NamedTuple):
    """How long, how many."""

    connections: int | None = None
    """At a time; whoever comes then waits."""
    idle_exit_s: float | None = None
    """The server ends when nobody was connected for so long."""
    may_park: bool = True
    """A connection may be left by its process and go on in another."""


class Parked(Protocol):
    """A connection that its process has left."""

    @property
    def descriptors(self) -> Sequence[int]:
        """What is open on its account in the parent, which closes it."""
        ...


ParkedT = TypeVar("ParkedT", bound=Parked)


class Service(Protocol[ParkedT]):
    """What the processes of a loop do for their clients."""

    @property
    def rescans(self) -> bool:
        """Whether `refresh` ever does anything."""
        ...

    def refresh(self, *, asked: bool) -> None:
        """Look for something newer to offer; `asked`: because of SIGHUP. Nobody is served then."""
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
        """In a child, serve one connection to its end, or until it is left by way of `channel`.

        `tell` gets a level of `logging` and a text. Return the exit status of the process.
        """
        ...

    def take_over(self, channel: socket.socket) -> ParkedT | None:
        """In the parent, return what a child has left; None when its connection has ended."""
        ...

    def without_descriptors(self, parked: ParkedT) -> ParkedT:
        """Return the same without what is open, which was closed."""
        ...


@dataclass(eq=False)
class _Client(Generic[ParkedT]):
    """A connection, and what the parent has of it: a copy of its socket, where it may be parked."""

    label: str
    connection: socket.socket
    reporter: Reporter
    channel: socket.socket | None = None  # to its process
    parked: ParkedT | None = None  # what the next process will go on with

    @property
    def descriptors(self) -> list[int]:
        """All that are open here on its account."""
        sockets = (self.connection, self.channel, self.reporter.receiver)
        own = [each.fileno() for each in sockets if each]
        files = self.parked.descriptors if self.parked else ()
        return [each for each in (*own, *files) if each >= 0]

    def close_files(self) -> None:
        """Closes what was handed over with a parked connection."""
        for each in self.parked.descriptors if self.parked else ():
            os.close(each)

    def close(self) -> None:
        """Closes all that is open here. May be called twice."""
        self.close_files()
        self.parked = None
        self.connection.close()
        self.reporter.close()
        if self.channel:
            self.channel.close()


class Loop(Generic[ParkedT]):
    """One life of a server: until SIGINT or SIGTERM, or until `lifeline` is readable."""

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
        self._clients: set[_Client[ParkedT]] = set()  # all that are connected
        self._children: dict[int, _Client[ParkedT]] = {}  # those with a process, by its id
        self._count = 0
        self._stopping = False
        self._refresh_asked = False
        self._idle_since = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._listening = [each for listener in listeners for each in listener.sockets]
        self._is_full = True  # nobody listens yet
        # The other half of the descriptors is for the host files of a process.
        self._most_held = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

    def run(self) -> None:
        """Returns when all children have been waited for."""
        with self._selector as selector:
            self._register(selector)
            try:
                while not self._stopping:
                    events = selector.select(self._patience())
                    for key, _events in events:
                        key.data()
                    if not events and self._patience() == 0:
                        log.info("nobody came for %s seconds", self._limits.idle_exit_s)
                        self._stop()
            finally:
                children.end_all(self._children)
                for client in self._clients:
                    self._hear_out(client)
                    client.close()

    def _register(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._signals.receiver, selectors.EVENT_READ, self._on_signal)
        if self._lifeline is not None:
            selector.register(self._lifeline, selectors.EVENT_READ, self._stop)
        for each in self._listening:
            each.setblocking(False)
        self._admit()

    def _admit(self) -> None:
        """Listens while there are fewer connections than there may be."""
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

    def _patience(self) -> float | None:
        """How long nothing may happen."""
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
        for process_id, client in tuple(self._children.items()):
            status = children.ended(process_id)
            if status is None:
                continue
            del self._children[process_id]
            self._hear_out(client)
            if client.channel:
                client.parked = self._service.take_over(client.channel)
                client.channel.close()
            if client.parked:
                self._park(client)
                continue
            if status < 0:
                log.error("%s was ended by %s", client.label, signal.Signals(-status).name)
            self._leave(client)

    def _hear(self, client: _Client[ParkedT]) -> None:
        """Logs what its process tells."""
        client.reporter.drain()
        if client.reporter.is_exhausted:
            self._hear_out(client)

    def _hear_out(self, client: _Client[ParkedT]) -> None:
        """Its process has ended, or is listened to no more."""
        if client.reporter.receiver:
            while client.reporter.drain():
                continue
            self._selector.unregister(client.reporter.receiver)
            client.reporter.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_A_TURN):
            # Somebody may have come in at another address, in the same moment.
            if self._is_full or self._stopping or not self._accept_one(listening):
                return

    def _accept_one(self, listening: socket.socket) -> bool:
        """False when nobody waits any more, or nobody can be let in."""
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
        client: _Client[ParkedT] = _Client(label, connected, Reporter(self._reports, label))
        self._clients.add(client)
        if not self._start(client):
            self._leave(client)
            return False
        self._admit()
        return True

    def _refresh(self) -> None:
        """Looks at what is served, unless it is asked to end, before or meanwhile."""
        self._on_signal()  # a hangup may have come in the same moment
        asked, self._refresh_asked = self._refresh_asked, False
        try:
            with self._signals.abandoning():
                self._service.refresh(asked=asked)
        except EndedError:
            self._stop()
        self._on_signal()

    def _start(self, client: _Client[ParkedT]) -> bool:
        """Gives it a process; False when there is none to be had."""
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
            hear = partial(self._hear, client)
            self._selector.register(client.reporter.receiver, selectors.EVENT_READ, hear)
        client.close_files()
        client.parked = None
        if not may_park:
            client.connection.close()
            client.channel.close()
        return True

    def _serve(self, client: _Client[ParkedT], parent: int, channel: socket.socket | None) -> int:
        """In the child, which must not live longer than `parent`."""
        end_with_parent(parent)
        self._leave_to_parent(client)
        client.connection.setblocking(True)
        client.reporter.take_over()
        return self._service.serve_client(
            client.connection,
            client.reporter.send,
            client.label,
            resumed=client.parked,
            channel=channel,
        )

    def _leave_to_parent(self, client: _Client[ParkedT]) -> None:
        """In the child: closes all that the parent waits for or holds for others. Whoever takes
        this process over shall not end the server or speak for anybody else; and a copy of another
        client's connection would keep it open.
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
        children.leave_streams()

    def _descriptors(self, *, but: _Client[ParkedT]) -> list[int]:
        """What is open here on account of all other clients."""
        return [
            each for client in self._clients if client is not but for each in client.descriptors
        ]

    def _park(self, client: _Client[ParkedT]) -> None:
        """Waits for what it says next."""
        parked = client.parked
        files = parked.descriptors if parked else ()
        if parked and files and len(self._descriptors(but=client)) + len(files) > self._most_held:
            client.close_files()
            client.parked = self._service.without_descriptors(parked)
        resume = partial(self._resume, client)
        self._selector.register(client.connection, selectors.EVENT_READ, resume)

    def _resume(self, client: _Client[ParkedT]) -> None:
        """A parked client goes on, or has gone."""
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
            self._leave(client)
        elif not self._start(client):
            self._park(client)

    def _leave(self, client: _Client[ParkedT]) -> None:
        """It is connected no longer."""
        self._hear_out(client)
        client.close()
        self._clients.discard(client)
        self._idle_since = time.monotonic()
        self._admit()

    def _pause(self, message: str) -> None:
        """The system is short of something: trying again at once would only burn what is left."""
        log.error("%s", message)
        time.sleep(_PAUSE_S)
