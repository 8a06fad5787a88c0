"""A disk of bounded speed: bytes and requests a second, for each connection and for all of them.

Who was silent may go on with what a tenth of a second allows at once; beyond, requests wait for
their turn. All connections, whatever their process, and parked ones, share one account of what is
for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import OptionError
from ..export import Range, Reader
from ..options import Option, byte_count
from .filter import Filter, Operation, RequestReader
from .shared import Numbers

_BURST_NS = 100_000_000
_SECOND_NS = 1_000_000_000


def _speed(given: Any) -> int:
    """Take `10M`: a number above 0. Raise ValueError."""
    found = byte_count(given)
    if not found:
        raise ValueError(f"{given!r} lets nobody go on; expected one like 10M")
    return found


class Rate(Filter):
    """Bounds the speed."""

    options = (
        Option(
            name="bytes", convert=_speed, metavar="SIZE", help="Bytes a second of a connection."
        ),
        Option(name="total", convert=_speed, metavar="SIZE", help="Bytes a second of all of them."),
        Option(name="requests", convert=_speed, metavar="N", help="Requests a second of each."),
        Option(name="total_requests", convert=_speed, metavar="N", help="And of all of them."),
    )

    def __init__(
        self,
        *,
        bytes: int | None = None,  # noqa: A002  as users write it
        total: int | None = None,
        requests: int | None = None,
        total_requests: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not (bytes or total or requests or total_requests):
            names = ", ".join(each.name for each in self.options)
            raise OptionError(f"it bounds nothing; expected some of {names}")
        self.own = (bytes, requests)
        self.shared = (total, total_requests)
        self.free_at = Numbers(1)
        self.clock = clock
        self.sleep = sleep

    def reader(self, inner: Reader) -> Reader:
        """See `Filter.reader`."""
        return _RateReader(inner, self)

    def close(self) -> None:
        """See `Filter.close`."""
        self.free_at.close()


class _RateReader(RequestReader):
    def __init__(self, inner: Reader, rate: Rate) -> None:
        super().__init__(inner)
        self._rate = rate
        self._free_at = 0  # a parked connection was silent for longer than a burst

    def begin(self, operation: Operation, ranges: Sequence[Range]) -> None:
        """See `RequestReader.begin`."""
        rate = self._rate
        moves = operation in {Operation.READ, Operation.WRITE}
        size = sum(length for _, length in ranges) if moves else 0
        now = rate.clock()
        free_at = self._free_at = _turn(self._free_at, now, rate.own, size, len(ranges))
        if any(rate.shared):
            with rate.free_at as row:
                row[0] = _turn(row[0], now, rate.shared, size, len(ranges))
                free_at = max(free_at, row[0])
        wait = free_at - now - _BURST_NS
        if wait > 0:
            rate.sleep(wait / _SECOND_NS)


def _turn(
    free_at: int, now: int, speeds: tuple[int | None, int | None], size: int, count: int
) -> int:
    """Return when all that was asked for so far will have had its time, in nanoseconds."""
    for_bytes, for_requests = speeds
    took = max(
        size * _SECOND_NS // for_bytes if for_bytes else 0,
        count * _SECOND_NS // for_requests if for_requests else 0,
    )
    return max(free_at, now) + took
