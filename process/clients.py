"""The clients of a server as its parent process knows them, with a process each or parked."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .reports import Reporter


class Parked(Protocol):
    """A connection without a process: all that another one needs to go on, but for the socket."""

    @property
    def descriptors(self) -> Sequence[int]:
        """Descriptors that are open on its account in the parent, which closes them."""
        ...


ParkedT = TypeVar("ParkedT", bound=Parked)


@dataclass(eq=False)
class Client(Generic[ParkedT]):
    """A connection, and all that the parent holds open for it."""

    label: str
    """Its name in the log."""
    connection: socket.socket
    """A copy of its socket; closed where it can't be parked."""
    reporter: Reporter
    channel: socket.socket | None = None
    """To its process."""
    parked: ParkedT | None = None
    """With this its next process will go on."""

    @property
    def descriptors(self) -> list[int]:
        """All descriptors that are open in the parent on its account."""
        sockets = (self.connection, self.channel, self.reporter.receiver)
        own = [each.fileno() for each in sockets if each]
        files = self.parked.descriptors if self.parked else ()
        return [each for each in (*own, *files) if each >= 0]

    def close_files(self) -> None:
        """Close the files that came with a parked connection."""
        for each in self.parked.descriptors if self.parked else ():
            os.close(each)

    def close(self) -> None:
        """Close all that the parent holds open. May be called twice."""
        self.close_files()
        self.parked = None
        self.connection.close()
        self.reporter.close()
        if self.channel:
            self.channel.close()
