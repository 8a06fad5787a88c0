"""A plain NBD server over bytes that notes every write, in order; and a replay of such a trace."""

from __future__ import annotations

import socket
import struct
import threading
from bisect import insort
from collections.abc import Iterator
from pathlib import Path

_GREETING = struct.pack(">8s8sH", b"NBDMAGIC", b"IHAVEOPT", 1)
_EXPORT = 0x0001 | 0x0004 | 0x0008  # flags are there; flush; forced unit access
_OPTION, _REQUEST = struct.Struct(">8sII"), struct.Struct(">IHHQQI")
_REPLY = struct.Struct(">IIQ")
_EXPORT_NAME, _ABORT, _GO = 1, 2, 7
_ACK, _INFO, _UNSUPPORTED = 1, 3, 1 << 31 | 1
_READ, _WRITE, _DISCONNECT, _FLUSH = range(4)
_SECTOR = 512

Trace = list[tuple[int, bytes] | None]
"""Offset and data of each write; None for a flush."""


class Recorder:
    """Serves `data` at a Unix socket until it is closed; `trace` is what was written to it.

    A client that has flushed and is quiet says so by making the files `mark(0)`, `mark(1)` and so
    on; `quiet` are the lengths of the trace then.
    """

    def __init__(self, data: bytes, path: Path) -> None:
        self.data = bytearray(data)
        self.trace: Trace = []
        self.quiet: list[int] = []
        self._path = path
        self.uri = f"nbd://?socket={path}"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_details: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def mark(self, number: int) -> Path:
        """The file that says that the client is quiet for the given time."""
        return self._path.with_name(f"{self._path.name}.quiet{number}")

    def _note(self, step: tuple[int, bytes] | None) -> None:
        while self.mark(len(self.quiet)).exists():
            self.quiet.append(len(self.trace))
        self.trace.append(step)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                try:
                    if self._agree(stream):
                        self._answer(stream)
                except (EOFError, OSError, struct.error):
                    continue

    def _agree(self, stream) -> bool:
        _send(stream, _GREETING)
        _take(stream, 4)
        while True:
            _, option, length = _OPTION.unpack(_take(stream, _OPTION.size))
            _take(stream, length)
            size = struct.pack(">QH", len(self.data), _EXPORT)
            if option == _EXPORT_NAME:
                _send(stream, size + bytes(124))
                return True
            if option == _ABORT:
                return False
            if option == _GO:
                _option_reply(stream, option, _INFO, b"\0\0" + size)
                _option_reply(stream, option, _ACK)
                return True
            _option_reply(stream, option, _UNSUPPORTED)

    def _answer(self, stream) -> None:
        while True:
            _, _, kind, cookie, offset, length = _REQUEST.unpack(_take(stream, _REQUEST.size))
            if kind == _DISCONNECT:
                return
            answer = b""
            if kind == _READ:
                answer = bytes(self.data[offset : offset + length])
            elif kind == _WRITE:
                data = _take(stream, length)
                self.data[offset : offset + length] = data
                self._note((offset, data))
            elif kind == _FLUSH:
                self._note(None)
            _send(stream, _REPLY.pack(0x67446698, 0, cookie) + answer)


def _take(stream, count: int) -> bytes:
    data: bytes = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _send(stream, data: bytes) -> None:
    stream.write(data)
    stream.flush()


def _option_reply(stream, option: int, kind: int, data: bytes = b"") -> None:
    _send(stream, struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)


class Replay:
    """A snapshot that grows by one write after the other."""

    def __init__(self, served: bytes) -> None:
        self.size = len(served)
        self.data = bytearray(served)
        self._sectors: list[int] = []
        self._known: set[int] = set()

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data
        for sector in range(offset // _SECTOR, -(-(offset + len(data)) // _SECTOR)):
            if sector not in self._known:
                self._known.add(sector)
                insort(self._sectors, sector)

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        return bytes(self.data[offset : offset + length])

    def touched(self) -> Iterator[tuple[int, int]]:
        for sector in self._sectors:
            yield sector * _SECTOR, _SECTOR
