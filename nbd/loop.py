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
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from . import processes
from .parking import Parked
from .processes import SignalWatch
from .reports import Reports, log

if TYPE_CHECKING:
    from .server import Server

_ENDING = {signal.SIGINT, signal.SIGTERM}
_PAUSE_S = 0.1


@dataclass(eq=False)
class _Client:
    """A connection, and what the parent has of it: a copy of its socket, where it may be parked."""

    label: str
    connection: socket.socket
    channel: socket.socket | None = None  # to its process
    parked: Parked | None = None  # what the next process will go on with

    @property
    def descriptors(self) -> list[int]:
        """All that are open here on its account."""
        own = [self.connection.fileno(), self.channel.fileno() if self.channel else -1]
        files = self.parked.descriptors.values() if self.parked else ()
        return [each for each in (*own, *files) if each >= 0]

    def forget_files(self) -> None:
        """Closes them here."""
        if self.parked:
            for each in self.parked.descriptors.values():
                os.close(each)
            self.parked = Parked(self.parked.agreement)

    def close(self) -> None:
        """Closes all that is open here."""
        self.forget_files()
        self.connection.close()
        if self.channel:
            self.channel.close()


class Loop:
    """One life of `server`: until SIGINT or SIGTERM, or until `lifeline` is readable."""

    def __init__(
        self, server: Server, signals: SignalWatch, reports: Reports, lifeline: int | None
    ) -> None:
        self._server = server
        self._signals = signals
        self._reports = reports
        self._lifeline = lifeline
        self._clients: set[_Client] = set()  # all that are connected
        self._children: dict[int, _Client] = {}  # those with a process, by its id
        self._count = 0
        self._stopping = False
        self._refresh_asked = False
        self._idle_since = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._listening = [each for listener in server.listeners for each in listener.sockets]
        self._is_full = True  # nobody listens yet
        self._may_park = server.limits.park_after_s is not None
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
                        log.info("nobody came for %s seconds", self._server.limits.idle_exit_s)
                        self._stop()
            finally:
                processes.end_all(self._children)
                for client in self._clients:
                    client.close()

    def _register(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._signals.receiver, selectors.EVENT_READ, self._on_signal)
        selector.register(self._reports.receiver, selectors.EVENT_READ, self._reports.drain)
        if self._lifeline is not None:
            selector.register(self._lifeline, selectors.EVENT_READ, self._stop)
        for each in self._listening:
            each.setblocking(False)
        self._admit()

    def _admit(self) -> None:
        """Listens while there are fewer connections than there may be."""
        most = self._server.limits.connections
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
        idle_exit_s = self._server.limits.idle_exit_s
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
            self._refresh_asked = True
        if seen & _ENDING:
            self._stop()

    def _reap(self) -> None:
        for process_id, client in tuple(self._children.items()):
            status = processes.ended(process_id)
            if status is None:
                continue
            del self._children[process_id]
            if client.channel:
                client.parked = self._server.take_over(client.channel)
                client.channel.close()
            if client.parked:
                self._park(client)
                continue
            if status < 0:
                log.error("%s was ended by %s", client.label, signal.Signals(-status).name)
            self._leave(client)

    def _accept(self, listening: socket.socket) -> None:
        if self._is_full:
            return  # somebody came in at another address, in the same moment
        try:
            connected, _address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._pause(f"cannot accept a connection: {error}")
            return
        if not self._clients:
            self._server.refresh(asked=self._refresh_asked)
            self._refresh_asked = False
        self._count += 1
        client = _Client(f"connection {self._count}", connected)
        self._clients.add(client)
        if self._start(client):
            self._admit()
        else:
            self._leave(client)

    def _start(self, client: _Client) -> bool:
        """Gives it a process; False when there is none to be had."""
        others = self._descriptors(but=client)
        may_park = self._may_park and len(others) < self._most_held
        try:
            client.channel, theirs = socket.socketpair()
            with theirs:
                # These reach the whole process group; the parent decides what they mean.
                process_id = processes.fork(
                    partial(self._serve, client, others, theirs if may_park else None),
                    ignore={signal.SIGINT, signal.SIGHUP},
                )
        except OSError as error:
            self._pause(f"cannot start a process for {client.label}: {error}")
            return False
        self._children[process_id] = client
        client.forget_files()
        client.parked = None
        if not may_park:
            client.close()
        return True

    def _serve(self, client: _Client, others: Iterable[int], channel: socket.socket | None) -> int:
        """In the child. A copy of what `others` have would keep it open."""
        for descriptor in others:
            os.close(descriptor)
        for listener in self._server.listeners:
            listener.forget()
        client.connection.setblocking(True)
        self._reports.take_log()
        return self._server.serve_client(
            client.connection, self._reports, client.label, resumed=client.parked, channel=channel
        )

    def _descriptors(self, *, but: _Client) -> list[int]:
        """What is open here on account of all other clients."""
        return [
            each for client in self._clients if client is not but for each in client.descriptors
        ]

    def _park(self, client: _Client) -> None:
        """Waits for what it says next."""
        files = client.parked.descriptors if client.parked else ()
        if files and len(self._descriptors(but=client)) + len(files) > self._most_held:
            client.forget_files()
        resume = partial(self._resume, client)
        self._selector.register(client.connection, selectors.EVENT_READ, resume)

    def _resume(self, client: _Client) -> None:
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

    def _leave(self, client: _Client) -> None:
        """It is connected no longer."""
        client.close()
        self._clients.discard(client)
        self._idle_since = time.monotonic()
        self._admit()

    def _pause(self, message: str) -> None:
        """The system is short of something: trying again at once would only burn what is left."""
        log.error("%s", message)
        time.sleep(_PAUSE_S)
