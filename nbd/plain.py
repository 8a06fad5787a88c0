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
ReadPinned: TypeAlias = Callable[[int, int], bytes]
"""Reads a range of one pinned file by its offset in the export and its length, without a check."""

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

    `read_again` reads with a check of its own, `read_pinned` without; with `lends`, data may be
    views of mapped files.
    """

    def __init__(
        self, files: HostFiles, read_again: ReadAgain, read_pinned: ReadPinned, *, lends: bool
    ) -> None:
        self.buffers: list[Buffer] = []
        self.requests: list[wire.Headed] = []
        self.mapped = files.mapped if lends else _NOTHING
        self._files = files
        self._read_again = read_again
        self._read_pinned = read_pinned
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
        calls `keep_begun` if that isn't all, then `unpin`, and `forget` or sends what `unsent` has.
        False when all of it is ours.
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
            self.forget()
        return lent

    def keep_begun(self, buffers: list[Buffer], first: int, sent: int) -> None:
        """Read what is missing of the reply that is half sent, for it can't become an error any
        more. While the files are pinned, these are its bytes.

        Of `buffers`, `sent` bytes have gone; the replies start at the one numbered `first`.
        Raises HostReadError when the bytes can't be had: then the connection can't go on.
        """
        position = sent - sum(map(len, buffers[:first]))
        for number, (_, _, offset, length) in enumerate(self.requests):
            header, data = self.buffers[2 * number : 2 * number + 2]
            size = len(header) + len(data)
            if 0 < position < size and isinstance(data, memoryview):
                gone = max(position - len(header), 0)
                try:
                    rest = self._read_pinned(offset + gone, length - gone)
                except OSError:
                    rest = b""
                if len(rest) != length - gone:
                    raise HostReadError("a host file failed when half of a reply had been sent")
                self.buffers[2 * number + 1] = bytes(gone) + rest  # the first won't go again
            position -= size
            if position <= 0:
                return

    def unpin(self) -> None:
        """What was lent has been sent, or never will be."""
        self._files.unpin()

    def unsent(self, buffers: list[Buffer], first: int, sent: int) -> list[Buffer]:
        """What is left of `buffers` after `sent` bytes, with nothing lent among it.

        The replies start at the buffer numbered `first`. What is ours was checked before it was let
        go, and goes as it is; what is lent is read again.
        """
        rest, sent = _behind(buffers[:first], sent)
        pairs = iter(self.buffers)
        for (_, cookie, offset, length), header, data in zip(
            self.requests, pairs, pairs, strict=False
        ):
            size = len(header) + len(data)
            if sent >= size:
                pass
            elif isinstance(data, memoryview):  # none of it has gone: see `keep_begun`
                self._read_again(rest, cookie, offset, length)
            else:
                rest += _behind([header, data], sent)[0]
            sent = max(sent - size, 0)
        rest += _behind(buffers[first + len(self.buffers) :], sent)[0]
        return rest

    def forget(self) -> None:
        """Forget these replies, which have been dealt with."""
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
