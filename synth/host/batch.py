"""Small reads of host files, gathered and checked together: one check a file, not one a read.

A file that nobody can change unnoticed needs no check; the others get two a batch, one with the
first read and one for all others, instead of one a read: a third of a small read's cost. A mapped
file is not even read: the kernel takes its pages when the batch is sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...export import FileSlice, HostReadError
from ..image.files import FileBatch

if TYPE_CHECKING:
    from .files import ScannedFiles

_NO_VIEWS: Mapping[int, memoryview] = MappingProxyType({})
_read_ahead = getattr(os, "posix_fadvise", None)  # macOS has none


class HostBatch(FileBatch):
    """The batches of a reader's `files`, one after the other; see `Files.batches`."""

    def __init__(self, files: ScannedFiles) -> None:
        super().__init__(_NO_VIEWS)
        self._files = files
        self._seen: set[int] = set()  # files that were read, each with a check of its own
        self._unchecked: set[int] = set()  # those that were read again, without
        self._is_pinned = False

    def begin(self, lends: bool) -> None:
        """See `FileBatch.begin`."""
        files = self._files
        self.buffers = []
        self.views = files.mapped if lends else _NO_VIEWS
        self.is_lent = self.may_have_gaps = False
        self._lends = lends
        self._broken_leases = files.broken_leases
        if self._seen:
            self._seen.clear()
            self._unchecked.clear()

    def read(self, node: int, position: int, length: int) -> bytes | None:
        """See `FileBatch.read`."""
        files = self._files
        try:
            descriptor = files.leased.get(node)
            if descriptor is None:
                if node not in self._seen:
                    self._seen.add(node)
                    return files.read(node, position, length)
                descriptor = files.descriptor(node)
                self._unchecked.add(node)
            elif self._lends:
                files.count(node, length)
            data = os.pread(descriptor, length, position)
            if len(data) == length:
                return data
        except OSError:  # whoever reads it again will hear why
            pass
        self.may_have_gaps = True
        return None

    def commit(self) -> bool:
        """See `Batch.commit`."""
        files = self._files
        try:
            for node in self._unchecked:
                files.verify(node)
            if self.views:  # maybe of a file that was mapped only during this batch
                self.is_lent = self._is_pinned = True
                files.pin()  # nothing from here on opens or closes a file
            if files.broken_leases == self._broken_leases:
                return True
        except OSError:  # whoever reads it again will hear why
            pass
        self.release()
        return False

    def release(self) -> None:
        """See `Batch.release`."""
        if self._is_pinned:
            self._is_pinned = False
            self._files.unpin()


class HostSlice(FileSlice):
    """A slice of a host file, by its node among `files`."""

    __slots__ = ("files", "index")

    def __init__(self, files: ScannedFiles, index: int, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self.files = files
        self.index = index

    def read(self) -> bytes:
        """See `FileSlice.read`."""
        return self.files.read(self.index, self.offset, self.length)

    def part(self, start: int, length: int) -> HostSlice:
        """See `FileSlice.part`."""
        return HostSlice(self.files, self.index, self.offset + start, length)

    def descriptor(self) -> int:
        """See `FileSlice.descriptor`."""
        return self.files.descriptor(self.index)

    def copy(self, start: int, length: int) -> bytes:
        """See `FileSlice.copy`."""
        try:
            data = os.pread(self.descriptor(), length, self.offset + start)
        except HostReadError:
            raise
        except OSError as error:
            raise HostReadError(f"a host file cannot be read: {error.strerror}") from error
        self.files.count(self.index, len(data))
        return data

    def finish(self, moved: int) -> None:
        """See `FileSlice.finish`."""
        if moved < self.length or self.index not in self.files.leased:
            self.files.verify(self.index)
        if moved < self.length and not self.files.reads_changed:
            raise HostReadError("a host file is shorter than at the scan")

    def prefetch(self) -> None:
        """See `FileSlice.prefetch`."""
        descriptor = self.descriptor()
        if _read_ahead is not None:
            _read_ahead(descriptor, self.offset, self.length, os.POSIX_FADV_WILLNEED)

    def lend(self) -> memoryview | None:
        """See `FileSlice.lend`."""
        view = self.files.mapped.get(self.index)
        return view and view[self.offset : self.offset + self.length]
