"""A disk that answers late: each request at a time after it has come.

A connection's requests are carried out one after the other. So that many in flight are late
together, and not each behind the other, a delay counts from when requests have come: those that
came at once wait once. Requests that come while others wait are heard of when these are answered;
theirs is between one and two times the delay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..export import Features, Range, Reader
from ..options import Option, duration
from .filter import Filter, Operation, RequestReader

_METAVAR = "TIME"


class Delay(Filter):
    """Delays requests."""

    options = (
        Option(name="read", convert=duration, default=0.0, metavar=_METAVAR, help="Of reads."),
        Option(name="write", convert=duration, default=0.0, metavar=_METAVAR, help="Of writes."),
        Option(
            name="zero",
            convert=duration,
            metavar=_METAVAR,
            shown_default="as write",
            help="Of writing zeros.",
        ),
        Option(
            name="trim",
            convert=duration,
            metavar=_METAVAR,
            shown_default="as write",
            help="Of trimming.",
        ),
        Option(name="flush", convert=duration, default=0.0, metavar=_METAVAR, help="Of flushes."),
    )

    def __init__(
        self,
        *,
        read: float = 0.0,
        write: float = 0.0,
        zero: float | None = None,
        trim: float | None = None,
        flush: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Times are in seconds."""
        self.seconds = {
            Operation.READ: read,
            Operation.WRITE: write,
            Operation.ZERO: write if zero is None else zero,
            Operation.TRIM: write if trim is None else trim,
            Operation.FLUSH: flush,
        }
        self.clock = clock
        self.sleep = sleep

    @property
    def features(self) -> Features:
        """See `Export.features`."""
        return self.inner.features._replace(wants_arrivals=True)

    def reader(self, inner: Reader) -> Reader:
        """See `Filter.reader`."""
        return _DelayReader(inner, self)


class _DelayReader(RequestReader):
    def __init__(self, inner: Reader, delay: Delay) -> None:
        super().__init__(inner)
        self._delay = delay
        self._came: float | None = None  # None: nobody tells, so each comes when it begins

    def arrived(self) -> None:
        """See `Reader.arrived`."""
        self._came = self._delay.clock()
        super().arrived()

    def begin(self, operation: Operation, ranges: Sequence[Range]) -> None:  # noqa: ARG002
        """See `RequestReader.begin`."""
        seconds = self._delay.seconds[operation]
        if seconds:
            now = self._delay.clock()
            left = (now if self._came is None else self._came) + seconds - now
            if left > 0:
                self._delay.sleep(left)
