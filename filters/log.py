"""A log of requests: one JSON document a line, written when the request has been carried out.

    {"time": ..., "seconds": ..., "connection": 1, "operation": "read", "error": null,
     "id": 7, "offset": 1081344, "length": 4096, "files": ["docs/a.txt"]}

`time` is when it began, in seconds since 1970, and `seconds` how long it took. Reads that came
together were answered together, and share both. Connections and their requests are numbered.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import time
from bisect import bisect_right
from collections.abc import Sequence

from ..errors import OptionError
from ..export import Detached, Range, Reader
from ..options import Option
from .filter import Filter, Operation, RequestReader
from .shared import Numbers

_STATE = struct.Struct("<QQ")  # number of the connection, number of its latest request
_WINDOW_SHIFT = 20  # names of files are looked up for so much of a disk at a time
_MOST_WINDOWS = 4096
_TAIL = '%d,"offset":%d,"length":%d,"files":%s}\n'


class Log(Filter):
    """Logs each request to a file."""

    options = (
        Option(name="file", is_path=True, metavar="FILE", help="The file, which is written on to."),
    )

    def __init__(self, *, file: str | None) -> None:
        if not file:
            raise OptionError("file=FILE is missing")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self.descriptor = os.open(file, flags, 0o644)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise OptionError(f"{file}: {reason}") from None
        self.files = (file,)
        self.numbers = Numbers(1)

    def reader(self, inner: Reader) -> Reader:
        """See `Filter.reader`."""
        return _LogReader(inner, self)

    def close(self) -> None:
        """See `Filter.close`."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        self.numbers.close()


class _LogReader(RequestReader):
    def __init__(self, inner: Reader, log: Log) -> None:
        super().__init__(inner)
        self._log = log
        self._connection = 0
        self._count = 0
        self._lost = 0
        self._began = self._began_at = 0.0
        self._windows: dict[int, tuple[list[int], list[str]]] = {}
        self._name = ""
        if log.export_name:
            self._name = f'"export":{json.dumps(log.export_name)},'.replace("%", "%%")

    def begin(self, operation: Operation, ranges: Sequence[Range]) -> None:  # noqa: ARG002
        """See `RequestReader.begin`."""
        self._began, self._began_at = time.time(), time.perf_counter()

    def end(
        self, operation: Operation, ranges: Sequence[Range], error: OSError | None = None
    ) -> None:
        """See `RequestReader.end`: a line each, of which most is the same for all."""
        took = time.perf_counter() - self._began_at
        if not self._connection:
            with self._log.numbers as numbers:
                numbers[0] += 1
                self._connection = numbers[0]
        code = f'"{errno.errorcode.get(error.errno or 0, "EIO")}"' if error else "null"
        line = (
            f'{{"time":{self._began:.6f},"seconds":{took:.6f},"connection":{self._connection},'
            f'{self._name}"operation":"{operation}","error":{code},"id":{_TAIL}'
        )
        number = self._count + 1
        self._count += len(ranges)
        # All lines by one format: its arguments are put there column by column.
        columns: list[int | str] = [0] * (4 * len(ranges))
        columns[0::4] = range(number, self._count + 1)
        columns[1::4], columns[2::4] = zip(*ranges, strict=True)
        columns[3::4] = self._names(ranges)
        self._write((line * len(ranges) % tuple(columns)).encode(), len(ranges))

    def _names(self, ranges: Sequence[Range]) -> list[str]:
        """Return the paths of the files of each range, as JSON."""
        windows, found = self._windows, []
        for offset, length in ranges:
            try:
                ends, names = windows[offset >> _WINDOW_SHIFT]
            except KeyError:
                ends, names = self._look_up(offset >> _WINDOW_SHIFT)
            place = bisect_right(ends, offset)
            if place < len(ends) and offset + length <= ends[place]:
                found.append(names[place])
            else:
                found.append(self._names_of(offset, length))
        return found

    def _names_of(self, offset: int, length: int) -> str:
        """Return the paths of the files of a range, as JSON."""
        found: list[str] = []
        for run in self.inner.files(offset, length):
            name = self._log.file_name(run.number) if run.number else ""
            if name and name not in found:
                found.append(name)
        return json.dumps(found)

    def _look_up(self, window: int) -> tuple[list[int], list[str]]:
        """Return the ends of the runs of files in a part of the disk, and their names."""
        if len(self._windows) >= _MOST_WINDOWS:
            self._windows.clear()
        end = window << _WINDOW_SHIFT
        ends: list[int] = []
        names: list[str] = []
        for run in self.inner.files(end, min(1 << _WINDOW_SHIFT, self.size - end)):
            name = self._log.file_name(run.number) if run.number else ""
            end += run.length
            ends.append(end)
            names.append(json.dumps([name] if name else []))
        self._windows[window] = ends, names
        return ends, names

    def _write(self, data: bytes, count: int) -> None:
        """Write whole lines; where that fails, count what is lost, and tell when it goes again."""
        if self._lost:
            head = f'{{"connection":{self._connection},"lost":{self._lost}}}\n'
            data = head.encode() + data
        try:
            written = os.write(self._log.descriptor, data)
            while written < len(data):
                written += os.write(self._log.descriptor, data[written:])
            self._lost = 0
        except OSError:  # a full disk is no reason to fail a client
            self._lost += count

    def detach(self) -> Detached | None:
        """See `Reader.detach`."""
        found = self.inner.detach()
        if found is None:
            return None
        return found._replace(state=_STATE.pack(self._connection, self._count) + found.state)

    def adopt(self, detached: Detached) -> None:
        """See `Reader.adopt`."""
        state = detached.state
        if len(state) >= _STATE.size:
            self._connection, self._count = _STATE.unpack_from(state)
        self.inner.adopt(detached._replace(state=state[_STATE.size :]))
