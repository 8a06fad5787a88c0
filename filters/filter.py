"""The classes that filters are made of: an export around another one, and its readers.

    class Upper(Filter):                            # vfloppy serve DIR --filter module:Upper
        def reader(self, inner: Reader) -> Reader:
            return UpperReader(inner)

    class UpperReader(FilterReader):
        def pieces(self, offset: int, length: int) -> list[Piece]:
            return [self.inner.read(offset, length).upper()] if length else []

A filter that changes bytes derives its readers from `FilterReader`, where all reading is made of
`pieces`. One that only looks at requests, delays them or has them fail takes `RequestReader`, which
has each request pass by once, however it is carried out.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from types import NoneType
from typing import ClassVar, Self, cast

from ..export import (
    Alerts,
    Batch,
    Buffer,
    Detached,
    Export,
    Extent,
    Features,
    FileRun,
    FileSlice,
    Piece,
    Range,
    Reader,
    Writer,
    check_range,
)
from ..options import Option


class Operation(StrEnum):
    """The things that a client asks for."""

    READ = "read"
    WRITE = "write"
    ZERO = "zero"
    TRIM = "trim"
    FLUSH = "flush"


class Filter(Export):
    """An export around another one, `inner`.

    It is made of its options alone, by name and with the values of `options`. `around` puts it
    around an export; what it was made with (open files, shared memory) is the same around each.
    """

    options: ClassVar[tuple[Option, ...]] = ()
    """The options that it takes in `--filter NAME:KEY=VALUE,...`."""
    inner: Export
    files: tuple[str, ...] = ()
    """The paths of what it writes to; they are left out of disks."""
    export_name = ""
    """The name by which clients ask for the export."""

    def around(self, inner: Export, name: str = "") -> Self:
        """Return this filter around an export."""
        other = copy.copy(self)
        other.inner, other.export_name = inner, name
        return other

    @property
    def size(self) -> int:
        """See `Export.size`."""
        return self.inner.size

    @property
    def identity(self) -> bytes:
        """See `Export.identity`."""
        return self.inner.identity

    @property
    def features(self) -> Features:
        """See `Export.features`."""
        return self.inner.features

    def file_name(self, number: int) -> str:
        """See `Export.file_name`."""
        return self.inner.file_name(number)

    def open(self, alerts: Alerts | None = None) -> Reader:
        """See `Export.open`."""
        return self.reader(self.inner.open(alerts))

    @abstractmethod
    def reader(self, inner: Reader) -> Reader:
        """Return a reader around another one."""

    def close(self) -> None:
        """Give up what it was made with."""


class FilterReader(Writer):
    """A reader around another one, `inner`; it writes, too, where that one does.

    `extents` passes on holes, which promise zeros.
    """

    def __init__(self, inner: Reader) -> None:
        self.size = inner.size
        self.inner = inner

    def pieces(self, offset: int, length: int) -> Iterable[Piece]:
        """See `Reader.pieces`."""
        return self.inner.pieces(offset, length)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Reader.extents`."""
        return self.inner.extents(offset, length)

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        """See `Reader.files`."""
        return self.inner.files(offset, length)

    def prefetch(self, offset: int, length: int) -> None:
        """See `Reader.prefetch`."""
        self.inner.prefetch(offset, length)

    def arrived(self) -> None:
        """See `Reader.arrived`."""
        self.inner.arrived()

    def detach(self) -> Detached | None:
        """See `Reader.detach`."""
        return self.inner.detach()

    def adopt(self, detached: Detached) -> None:
        """See `Reader.adopt`."""
        self.inner.adopt(detached)

    def close(self) -> None:
        """See `Reader.close`."""
        self.inner.close()

    @property
    def writer(self) -> Writer:
        """The reader inside, of an export that can be written."""
        return cast("Writer", self.inner)

    def write(self, offset: int, data: Buffer) -> None:
        """See `Writer.write`."""
        self.writer.write(offset, data)

    def zero(self, offset: int, length: int, *, may_trim: bool = True, fast: bool = False) -> None:
        """See `Writer.zero`."""
        self.writer.zero(offset, length, may_trim=may_trim, fast=fast)

    def trim(self, offset: int, length: int) -> None:
        """See `Writer.trim`."""
        self.writer.trim(offset, length)

    def flush(self) -> None:
        """See `Writer.flush`."""
        self.writer.flush()


class RequestReader(FilterReader):
    """A reader whose filter has each request pass by once: `begin` before it, `end` behind it.

    Reads that came together pass together. `begin` may wait, and may raise OSError to refuse a
    request; with `is_single`, reads come to it one by one, so that each can be refused. `end` gets
    the error of one that failed.
    """

    def __init__(self, inner: Reader) -> None:
        super().__init__(inner)
        self._begun: list[Range] = []  # of a batch, and left to `pieces`
        self._is_repeating = False  # what was lent and not sent is read again

    @property
    def is_single(self) -> bool:
        """True while reads should come to `begin` one by one."""
        return False

    def begin(self, operation: Operation, ranges: Sequence[Range]) -> None:
        """Take note of requests that are to be carried out."""

    def end(
        self, operation: Operation, ranges: Sequence[Range], error: OSError | None = None
    ) -> None:
        """Take note of requests that were carried out, or failed."""

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Reader.pieces`."""
        check_range(offset, length, self.size)
        if self._is_repeating or not length:
            return list(self.inner.pieces(offset, length))
        asked = [(offset, length)]
        if asked[0] in self._begun:
            self._begun.remove(asked[0])
        else:
            self.begin(Operation.READ, asked)
        try:
            found = list(self.inner.pieces(offset, length))
        except OSError as error:
            self.end(Operation.READ, asked, error)
            raise
        left = sum(each.length for each in found if isinstance(each, FileSlice))
        if not left:
            self.end(Operation.READ, asked)
            return found
        watch = _Watch(self, asked, left)
        return [_Watched(each, watch) if isinstance(each, FileSlice) else each for each in found]

    def read_simple(self, offset: int, length: int) -> bytes | None:
        """See `Reader.read_simple`."""
        if self.is_single:
            return None
        asked = [(offset, length)]
        try:
            self.begin(Operation.READ, asked)
        except OSError:  # `pieces` tells
            return None
        found = self.inner.read_simple(offset, length)
        if found is None:
            self._begun = asked
        else:
            self.end(Operation.READ, asked)
        return found

    def read_batch(self, ranges: Sequence[Range], *, lends: bool = False) -> Batch:
        """See `Reader.read_batch`."""
        if self.is_single:
            return Batch([None] * len(ranges))
        try:
            self.begin(Operation.READ, ranges)
        except OSError:
            return Batch([None] * len(ranges))
        return _RequestBatch(self, self.inner.read_batch(ranges, lends=lends), ranges)

    def committed(self, good: bool, batch: Batch, ranges: Sequence[Range]) -> None:
        """Take note of what became of a batch; what failed, and holes, are left to `pieces`."""
        if not good:
            self._begun = list(ranges)
            return
        done = ranges
        self._begun = []
        if batch.may_have_gaps and NoneType in set(map(type, batch.buffers)):
            pairs = list(zip(ranges, batch.buffers, strict=True))
            done = [each for each, data in pairs if data is not None]
            self._begun = [each for each, data in pairs if data is None]
        self._is_repeating = batch.is_lent
        if done:
            self.end(Operation.READ, done)

    def released(self) -> None:
        """Take note that nothing of a batch will be read again."""
        self._is_repeating = False

    def write(self, offset: int, data: Buffer) -> None:
        """See `Writer.write`."""
        asked = self._begin(Operation.WRITE, offset, len(data))
        try:
            self.writer.write(offset, data)
        except OSError as error:
            self.end(Operation.WRITE, asked, error)
            raise
        self.end(Operation.WRITE, asked)

    def zero(self, offset: int, length: int, *, may_trim: bool = True, fast: bool = False) -> None:
        """See `Writer.zero`."""
        asked = self._begin(Operation.ZERO, offset, length)
        try:
            self.writer.zero(offset, length, may_trim=may_trim, fast=fast)
        except OSError as error:
            self.end(Operation.ZERO, asked, error)
            raise
        self.end(Operation.ZERO, asked)

    def trim(self, offset: int, length: int) -> None:
        """See `Writer.trim`."""
        asked = self._begin(Operation.TRIM, offset, length)
        try:
            self.writer.trim(offset, length)
        except OSError as error:
            self.end(Operation.TRIM, asked, error)
            raise
        self.end(Operation.TRIM, asked)

    def flush(self) -> None:
        """See `Writer.flush`."""
        asked = self._begin(Operation.FLUSH, 0, 0)
        try:
            self.writer.flush()
        except OSError as error:
            self.end(Operation.FLUSH, asked, error)
            raise
        self.end(Operation.FLUSH, asked)

    def _begin(self, operation: Operation, offset: int, length: int) -> list[Range]:
        check_range(offset, length, self.size)
        asked = [(offset, length)]
        self.begin(operation, asked)
        return asked


class _RequestBatch(Batch):
    """A batch that tells its reader what became of it."""

    def __init__(self, reader: RequestReader, inner: Batch, ranges: Sequence[Range]) -> None:
        super().__init__(inner.buffers)
        self._reader = reader
        self._inner = inner
        self._ranges = ranges
        self.may_have_gaps = inner.may_have_gaps

    def commit(self) -> bool:
        """See `Batch.commit`."""
        good = self._inner.commit()
        self.is_lent = self._inner.is_lent
        self._reader.committed(good, self._inner, self._ranges)
        return good

    def release(self) -> None:
        """See `Batch.release`."""
        self._reader.released()
        self._inner.release()


class _Watch:
    """A read whose slices of files are still to be read: it ends with the last, or the first that
    fails.
    """

    def __init__(self, reader: RequestReader, asked: list[Range], left: int) -> None:
        self._reader = reader
        self._asked = asked
        self._left = left

    def count(self, length: int) -> None:
        """Take note of bytes that were right."""
        self._left -= length
        if not self._left:
            self._reader.end(Operation.READ, self._asked)

    def fail(self, error: OSError) -> None:
        """Take note of bytes that were not."""
        self._left = -1
        self._reader.end(Operation.READ, self._asked, error)


class _Watched(FileSlice):
    """A slice that tells a watch what became of it."""

    __slots__ = ("_slice", "_watch")

    def __init__(self, file_slice: FileSlice, watch: _Watch) -> None:
        super().__init__(file_slice.offset, file_slice.length)
        self._slice = file_slice
        self._watch = watch

    def read(self) -> bytes:
        try:
            data = self._slice.read()
        except OSError as error:
            self._watch.fail(error)
            raise
        self._watch.count(self.length)
        return data

    def part(self, start: int, length: int) -> FileSlice:
        return _Watched(self._slice.part(start, length), self._watch)

    def descriptor(self) -> int:
        return self._slice.descriptor()

    def copy(self, start: int, length: int) -> bytes:
        return self._slice.copy(start, length)

    def finish(self, moved: int) -> None:
        try:
            self._slice.finish(moved)
        except OSError as error:
            self._watch.fail(error)
            raise
        self._watch.count(self.length)

    def prefetch(self) -> None:
        self._slice.prefetch()

    def lend(self) -> memoryview | None:
        return self._slice.lend()
