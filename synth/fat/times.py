"""Times as FAT writes them: local or universal, from 1980 to 2107, two seconds apart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple

_NS = 1_000_000_000
EARLIEST = (1980, 1, 1)
LATEST_YEAR = 2107


class Stamp(NamedTuple):
    """The three fields of a directory entry (FATGEN, "Date and Time Formats")."""

    date: int
    """Bits 15-9 years since 1980, 8-5 month, 4-0 day."""
    time: int
    """Bits 15-11 hours, 10-5 minutes, 4-0 seconds / 2."""
    hundredths: int
    """The rest of two seconds, which `time` leaves, in units of 10 ms: 0 to 199."""


FIRST_STAMP = Stamp(date=1 << 5 | 1, time=0, hundredths=0)
LAST_STAMP = Stamp(date=127 << 9 | 12 << 5 | 31, time=23 << 11 | 59 << 5 | 29, hundredths=199)


def stamps(
    times_ns: Iterable[int], zone: tzinfo | None, latest_ns: int | None
) -> list[tuple[int, int, int]]:
    """Return the stamps of many times, none of them after `latest_ns`."""
    if latest_ns is not None:
        times_ns = [min(time_ns, latest_ns) for time_ns in times_ns]
    found: list[tuple[int, int, int]] = []
    second_before = None
    date = time = hundredths = 0
    is_within = False
    for time_ns in times_ns:
        second = time_ns // _NS
        if second != second_before:
            date, time, hundredths = when = stamp(second * _NS, zone)
            is_within = when not in (FIRST_STAMP, LAST_STAMP)
            second_before = second
        if is_within:
            found.append((date, time, hundredths + (time_ns - second * _NS) // 10_000_000))
        else:
            found.append(stamp(time_ns, zone))
    return found


@lru_cache(maxsize=1024)  # files of one directory often share their times
def stamp(time_ns: int, zone: tzinfo | None = UTC) -> Stamp:
    """Return the stamp of a time in nanoseconds since 1970, clamped to what the format can say.

    Without a zone the time is local to this machine.
    """
    seconds, nanoseconds = divmod(time_ns, _NS)
    try:
        moment = datetime.fromtimestamp(seconds, zone)
    except (OverflowError, ValueError, OSError):
        return FIRST_STAMP if seconds < 0 else LAST_STAMP
    if (moment.year, moment.month, moment.day) < EARLIEST:
        return FIRST_STAMP
    if moment.year > LATEST_YEAR:
        return LAST_STAMP
    return Stamp(
        date=(moment.year - 1980) << 9 | moment.month << 5 | moment.day,
        time=moment.hour << 11 | moment.minute << 5 | moment.second // 2,
        hundredths=moment.second % 2 * 100 + nanoseconds // 10_000_000,
    )
