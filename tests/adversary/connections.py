"""Clients of a server under test: reads in, bytes or None for a failed read out."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from fakes import Client, Reply, assemble, request
from vfloppy.nbd import client as plain
from vfloppy.nbd.errors import ClientError
from vfloppy.nbd.protocol import wire

from .served import Served

Read: TypeAlias = tuple[int, int]
"""Offset and length."""

KINDS = ("unix, structured", "tcp, structured", "unix, simple", "tcp, simple")


class LostError(Exception):
    """The server ended a connection, or said something that makes no sense."""


class Connection(Protocol):
    """One client. Its methods raise LostError."""

    kind: str

    def ask(self, reads: Sequence[Read]) -> None:
        """Send requests, and receive nothing."""

    def answers(self) -> list[bytes | None]:
        """Return the bytes of all that was asked, in its order; None for a read that failed."""

    def close(self) -> None:
        """Leave."""


def connect(served: Served, kind: str) -> Connection:
    """Return a new connection, of one of `KINDS`. Raise LostError."""
    transport, _, style = kind.partition(", ")
    try:
        if style == "structured":
            address = served.unix if transport == "unix" else (served.host, served.port)
            return _Structured(kind, Client(address))
        return _Simple(kind, plain.Client(served.uri(transport)))
    except (OSError, EOFError, ClientError) as error:
        raise LostError(f"{kind}: not connected: {error}") from error


class _Structured:
    """With structured replies: several reads in flight."""

    def __init__(self, kind: str, client: Client) -> None:
        self.kind = kind
        self._client = client
        self._asked: list[Read] = []
        if client.socket.family == socket.AF_INET:  # else the kernel takes megabytes at once
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.go()

    def ask(self, reads: Sequence[Read]) -> None:
        first = len(self._asked)
        self._asked += reads
        try:
            self._client.send(
                b"".join(
                    request(wire.NBD_CMD_READ, *read, cookie=first + number)
                    for number, read in enumerate(reads)
                )
            )
        except OSError as error:
            raise LostError(f"{self.kind}: {error}") from error

    def answers(self) -> list[bytes | None]:
        replies: dict[int, list[Reply]] = {number: [] for number in range(len(self._asked))}
        open_replies = set(replies)
        try:
            while open_replies:
                reply = self._client.chunk()
                replies[reply.cookie].append(reply)
                if reply.done:
                    open_replies.remove(reply.cookie)
        except (OSError, EOFError, KeyError, AssertionError) as error:
            raise LostError(f"{self.kind}: {type(error).__name__}: {error}") from error
        found = [_data(replies[number], *read) for number, read in enumerate(self._asked)]
        self._asked = []
        return found

    def close(self) -> None:
        self._client.socket.close()


def _data(replies: list[Reply], offset: int, length: int) -> bytes | None:
    if any(each.error for each in replies):
        return None
    try:
        return assemble(replies, offset, length)
    except AssertionError as error:
        raise LostError(f"chunks that make no reply: {error}") from error


class _Simple:
    """The plain client, one read after the other."""

    def __init__(self, kind: str, client: plain.Client) -> None:
        self.kind = kind
        self._client = client
        self._asked: list[Read] = []

    def ask(self, reads: Sequence[Read]) -> None:
        self._asked += reads

    def answers(self) -> list[bytes | None]:
        found: list[bytes | None] = []
        for offset, length in self._asked:
            try:
                found.append(self._client.read(offset, length))
            except ClientError as error:
                # What the server said of a read has no cause in the connection.
                if error.__cause__ is not None or "a read failed" not in str(error):
                    raise LostError(f"{self.kind}: {error}") from error
                found.append(None)
        self._asked = []
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._client.close()
