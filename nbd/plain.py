"""Plain reads: small ones of a single host file, whose replies are gathered and let go together.

A file that nobody can change unnoticed needs no check; the others get two a batch, for the first
read and for all others, instead of one a read: a third of a small read's cost. What is mapped is
not even read: the kernel takes it from the file's pages when the batch is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ..pieces import HostFiles, HostReadError, HostRuns
from . import wire
from .reading import Buffer

ReadAgain: TypeAlias = Callable[[list[Buffer], int, int, int], None]
"""Adds the reply to the read with this cookie, offset and length to the list: data, or an error."""

_NOTHING: Mapping[int, memoryview] = MappingProxyType({})


class _NoFiles:
    """Stands where an export tells nothing of host files."""

    steady: Mapping[int, int] = MappingProxyType({})
    mapped: Mapping[int, memoryview] = MappingProxyType({})
    alarms = 0
    open_count = 0
    pads = False

    def read(self, index: int, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def descriptor(self, index: int) -> int:
        raise NotImplementedError

    def verify(self, index: int) -> None:
        raise NotImplementedError

    def count(self, index: int, length: int) -> None:
        raise NotImplementedError

    def pin(self) -> None:
        raise NotImplementedError

    def unpin(self) -> None:
        raise NotImplementedError

    def release(self) -> Mapping[int, int]:
        raise NotImplementedError

    def adopt(self, descriptors: Mapping[int, int]) -> None:
        raise NotImplementedError


NO_RUNS = HostRuns(_NoFiles(), 0, 0, 0, (), ())
"""What an export has that tells nothing of its host files: none of them."""


class PlainReads:
    """The replies since the last flush, each a header and its data.

    `read_again` reads with a check of its own; with `lends`, data may be views of mapped files.
    """

    def __init__(self, files: HostFiles, read_again: ReadAgain, *, lends: bool) -> None:
        self.buffers: list[Buffer] = []
        self.requests: list[wire.Headed] = []
        self.mapped = files.mapped if lends else _NOTHING
        self._files = files
        self._read_again = read_again
        self._lends = lends
        self._alarms = files.alarms
        self._seen: set[int] = set()  # files that were read, each with a check of its own
        self._unchecked: set[int] = set()  # those that were read again, without

    def read(self, file: int, length: int, position: int) -> bytes:
        """The bytes of a file that isn't mapped; too few where not all of them can be had."""
        try:
            descriptor = self._files.steady.get(file)
            if descriptor is None:
                if file not in self._seen:
                    self._seen.add(file)
                    return self._files.read(file, position, length)
                descriptor = self._files.descriptor(file)
                self._unchecked.add(file)
            elif self._lends:
                self._files.count(file, length)
            return os.pread(descriptor, length, position)
        except OSError:  # whoever reads it again will hear why
            return b""

    def read_end(self, file: int, length: int, position: int, size: int) -> bytes:
        """The last bytes of a file of `size` bytes and zeros behind them; as `read` else."""
        data = self.read(file, size - position, position)
        return data.ljust(length, b"\0") if len(data) == size - position else b""

    def settle(self, out: list[Buffer]) -> bool:
        """Adds the replies to `out`, good or bad.

        True when some of it is lent: then the files are pinned. Whoever has sent what goes at once
        calls `unpin`, and then sends what `unsent` has. False when all of it is ours.
        """
        files, lent = self._files, bool(self.mapped and self.buffers)
        try:
            for index in self._unchecked:
                files.verify(index)
            if lent:
                files.pin()  # nothing from here on opens or closes a file
            if files.alarms != self._alarms:
                raise HostReadError("a file that was under lease is being written to")
            out += self.buffers
        except OSError:
            self.unpin()
            lent = False
            self._alarms = files.alarms
            for _, cookie, offset, length in self.requests:
                self._read_again(out, cookie, offset, length)
        if not lent:
            self._forget()
        return lent

    def unpin(self) -> None:
        """What was lent has been sent, or never will be."""
        self._files.unpin()

    def unsent(self, buffers: list[Buffer], first: int, sent: int) -> list[Buffer]:
        """What is left of `buffers` after `sent` bytes, with nothing lent among it.

        The replies, which are forgotten, start at the buffer numbered `first`. Raises OSError when
        one that is half sent can't be completed: then the connection can't go on.
        """
        if sent == sum(map(len, buffers)):
            self._forget()
            return []
        rest, sent = _behind(buffers[:first], sent)
        pairs = iter(self.buffers)
        for (_, cookie, offset, length), header, data in zip(
            self.requests, pairs, pairs, strict=False
        ):
            size = len(header) + len(data)
            if sent < size:
                again: list[Buffer] = []
                self._read_again(again, cookie, offset, length)
                reply = b"".join(again)
                if sent and not reply.startswith(header):
                    raise HostReadError("a host file failed when half of a reply had been sent")
                rest.append(reply[sent:])
            sent = max(sent - size, 0)
        rest += _behind(buffers[first + len(self.buffers) :], sent)[0]
        self._forget()
        return rest

    def _forget(self) -> None:
        self.buffers.clear()
        self.requests.clear()
        self._seen.clear()
        self._unchecked.clear()


def _behind(buffers: list[Buffer], sent: int) -> tuple[list[Buffer], int]:
    """What is left of buffers after `sent` bytes, and how many bytes were sent of what follows."""
    rest: list[Buffer] = []
    for buffer in buffers:
        if sent < len(buffer):
            rest.append(buffer[sent:])
        sent = max(sent - len(buffer), 0)
    return rest, sent
