"""A disk that can be written over: what is written goes to an overlay, and the disk stays as it is.

    overlay = Overlay(export, OverlayFile.temporary(export.size))
    with overlay.open() as writer:
        writer.write(0, b"...")

All readers of one overlay see what any of them has written, in whatever process or thread they are.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

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
    Hole,
    HostReadError,
    Piece,
    Range,
    Reader,
    Writer,
    check_range,
)
from .header import SECTOR
from .store import DATA, UNTOUCHED, ZERO, OverlayFile

_ZEROS = memoryview(bytes(1 << 20))


class Overlay(Export):
    """An export with an overlay over it; `file` is the caller's to close."""

    def __init__(self, base: Export, file: OverlayFile) -> None:
        assert base.size == file.size
        self.base = base
        self.file = file

    @property
    def size(self) -> int:
        """See `Export.size`."""
        return self.base.size

    @property
    def features(self) -> Features:
        """See `Export.features`."""
        return self.base.features._replace(writable=True)

    def file_name(self, number: int) -> str:
        """See `Export.file_name`."""
        return self.base.file_name(number)

    def open(self, alerts: Alerts | None = None) -> OverlayWriter:
        """See `Export.open`."""
        return OverlayWriter(self.base.open(alerts), self.file)


class OverlaySlice(FileSlice):
    """Bytes that were written over the disk, as they are when they are read."""

    __slots__ = ("_file",)

    def __init__(self, file: OverlayFile, offset: int, length: int) -> None:
        """`offset` is that of the disk."""
        super().__init__(file.place(offset)[1], length)
        self._file = file

    def read(self) -> bytes:
        """See `FileSlice.read`."""
        return self._file.pread(self._at, self.length)

    def part(self, start: int, length: int) -> FileSlice:
        """See `FileSlice.part`."""
        return OverlaySlice(self._file, self._at + start, length)

    def descriptor(self) -> int:
        """See `FileSlice.descriptor`."""
        return self._file.place(0)[0]

    def copy(self, start: int, length: int) -> bytes:
        """See `FileSlice.copy`."""
        return self._file.pread(self._at + start, length)

    def finish(self, moved: int) -> None:
        """See `FileSlice.finish`. They may have been written once more meanwhile."""
        if moved < self.length:
            raise HostReadError(f"{self._file.title} has been cut short")

    @property
    def _at(self) -> int:
        return self.offset - self._file.place(0)[1]


class _MergedBatch(Batch):
    """A batch of the disk below, with what was written over it in its places."""

    def __init__(self, below: Batch, buffers: list[Buffer | None]) -> None:
        super().__init__(buffers)
        self._below = below

    def commit(self) -> bool:
        """See `Batch.commit`."""
        is_good = self._below.commit()
        self.is_lent = self._below.is_lent
        return is_good

    def release(self) -> None:
        """See `Batch.release`."""
        self._below.release()


class OverlayWriter(Writer):
    """A reader of the disk below, and what was written over it."""

    def __init__(self, base: Reader, file: OverlayFile) -> None:
        self.size = base.size
        self._base = base
        self._file = file
        self._summary, self._shift = file.summary, file.chunk_shift

    # --- reading ---

    def pieces(self, offset: int, length: int) -> list[Piece]:
        """See `Reader.pieces`."""
        if length <= 0 or not 0 <= offset <= self.size - length:
            check_range(offset, length, self.size)
            return []
        if not self._file.touches(offset, length):
            return list(self._base.pieces(offset, length))
        found: list[Piece] = []
        for start, count, state in self._runs(offset, length):
            if state == UNTOUCHED:
                found += self._base.pieces(start, count)
            else:
                found.append(
                    OverlaySlice(self._file, start, count) if state == DATA else Hole(count)
                )
        return found

    def _runs(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Yield offset, length and state of runs; neighbours differ in state."""
        first, total, state = offset, 0, UNTOUCHED
        for start, count, found in self._file.runs(offset, length):
            if found != state and total:
                yield first, total, state
                first, total = start, 0
            state = found
            total += count
        if total:
            yield first, total, state

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Reader.extents`. What was written is of the kind of what it was written over."""
        check_range(offset, length, self.size)
        for start, count, state in self._file.runs(offset, length):
            for extent in self._base.extents(start, count):
                yield extent if state == UNTOUCHED else extent._replace(hole=state == ZERO)

    def files(self, offset: int, length: int) -> Iterator[FileRun]:
        """See `Reader.files`: those of the disk below."""
        return self._base.files(offset, length)

    def read_simple(self, offset: int, length: int) -> bytes | None:
        """See `Reader.read_simple`."""
        if not self._file.touches(offset, length):
            return self._base.read_simple(offset, length)
        return super().read_simple(offset, length)

    def read_batch(self, ranges: Sequence[Range], *, lends: bool = False) -> Batch:
        """See `Reader.read_batch`. What is untouched goes the way that it would go without us."""
        # This loop is all that reads of what is untouched cost more: 0.1 us each.
        summary, shift = self._summary, self._shift
        most = 1 << shift  # in no more than two chunks
        for offset, length in ranges:
            last = offset + length - 1
            if summary[offset >> shift] or summary[last >> shift] or length > most:
                return self._merged_batch(ranges, lends)
        return self._base.read_batch(ranges, lends=lends)

    def _merged_batch(self, ranges: Sequence[Range], lends: bool) -> Batch:
        touches = self._file.touches
        over = [number for number, each in enumerate(ranges) if touches(*each)]
        left = set(over)
        rest = [each for number, each in enumerate(ranges) if number not in left]
        below = self._base.read_batch(rest, lends=lends) if rest else Batch([])
        buffers: list[Buffer | None] = list(below.buffers)
        for number in over:  # ascending, so each comes to its place
            buffers.insert(number, self.read_simple(*ranges[number]))
        return _MergedBatch(below, buffers)

    def prefetch(self, offset: int, length: int) -> None:
        """See `Reader.prefetch`."""
        check_range(offset, length, self.size)
        for start, count, state in self._file.runs(offset, length):
            if state == UNTOUCHED:
                self._base.prefetch(start, count)

    def detach(self) -> Detached | None:
        """See `Reader.detach`. Each process has the overlay by itself."""
        return self._base.detach()

    def adopt(self, detached: Detached) -> None:
        """See `Reader.adopt`."""
        self._base.adopt(detached)

    def close(self) -> None:
        """See `Reader.close`."""
        self._base.close()

    # --- writing ---

    def write(self, offset: int, data: Buffer) -> None:
        """See `Writer.write`."""
        length = len(data)
        if (offset | length) % SECTOR == 0 and offset >= 0 and 0 < length <= self.size - offset:
            self._file.put(offset, data)
            return
        check_range(offset, length, self.size)
        end = offset + length
        first, last = self._whole_sectors(offset, end)
        if first > last:  # within one sector
            self._put_within(offset, data)
            return
        view = memoryview(data)
        if offset < first:
            self._put_within(offset, view[: first - offset])
        if first < last:
            self._file.put(first, view[first - offset : last - offset])
        if last < end:
            self._put_within(last, view[last - offset :])

    def _whole_sectors(self, offset: int, end: int) -> Range:
        """Return start and end of the whole sectors in a range; the disk's last may be shorter.

        The end is before the start where the range is within one sector.
        """
        return -(-offset // SECTOR) * SECTOR, end if end == self.size else end // SECTOR * SECTOR

    def _put_within(self, offset: int, data: Buffer) -> None:
        """Write some bytes of one sector, of which the others stay as they are."""
        file = self._file
        with file.alone(offset) as state:
            if state == DATA:
                file.write(offset, data)
                return
            start = offset - offset % SECTOR
            length = min(SECTOR, self.size - start)
            sector = bytearray(self._base.read(start, length) if state == UNTOUCHED else length)
            sector[offset - start : offset - start + len(data)] = data
            file.put(start, bytes(sector))

    def zero(self, offset: int, length: int, *, may_trim: bool = True, fast: bool = False) -> None:
        """See `Writer.zero`."""
        check_range(offset, length, self.size)
        end = offset + length
        if not may_trim:
            if fast:
                text = "zeros that keep their room are written as data are"
                raise OSError(errno.ENOTSUP, text)
            for start in range(offset, end, len(_ZEROS)):
                self.write(start, _ZEROS[: end - start])
            return
        first, last = self._whole_sectors(offset, end)
        if first > last:
            self.write(offset, bytes(length))
            return
        self.write(offset, bytes(first - offset))
        self.write(last, bytes(end - last))
        self._empty(first, last - first)

    def trim(self, offset: int, length: int) -> None:
        """See `Writer.trim`."""
        check_range(offset, length, self.size)
        first, last = self._whole_sectors(offset, offset + length)
        if first < last:
            self._empty(first, last - first)

    def _empty(self, offset: int, length: int) -> None:
        """Have whole sectors read as zeros; those that do so need no mark."""
        for start, count, state in self._runs(offset, length):
            if state == DATA:
                self._file.mark(start, count, ZERO)
                self._file.free(start, count)
            elif state == UNTOUCHED:
                for first, end in self._data_below(start, count):
                    self._file.mark(first, end - first, ZERO)

    def _data_below(self, offset: int, length: int) -> Iterator[Range]:
        """Yield start and end of the sectors of the disk below that may be other than zeros."""
        first = last = position = offset
        for extent in self._base.extents(offset, length):
            end = position + extent.length
            if not extent.hole:
                start = position - position % SECTOR
                if start > last:
                    if first < last:
                        yield first, last
                    first = start
                last = min(-(-end // SECTOR) * SECTOR, offset + length)
            position = end
        if first < last:
            yield first, last

    def flush(self) -> None:
        """See `Writer.flush`."""
        self._file.sync()
