"""Times as ISO 9660 writes them, with their distance from UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from ..tree.columns import Tree
from .records import RECORDING_DATE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A record counts years from 1900 in a byte.
FIRST_SECOND = int((datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
LAST_SECOND = int((datetime(2156, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) - 1
_QUARTER_S = 15 * 60
_LEAST_QUARTERS, _MOST_QUARTERS = -48, 52  # ECMA-119, 9.1.5; Linux takes more for no zone at all
_MARGIN_S = 24 * 3600  # a zone may move a time into another year

NOT_SET = b"0" * 16 + b"\0"


@lru_cache(maxsize=1024)
def recording_date(second: int, zone: tzinfo | None = UTC) -> bytes:
    """Return a second since 1970 as 7 bytes (ECMA-119, 9.1.5), clamped to the years 1900 to 2155.

    `zone` is where it is expressed; None is where this machine is.
    """
    when, quarters = _local(min(max(second, FIRST_SECOND), LAST_SECOND), zone)
    return RECORDING_DATE.pack(
        when.year - 1900, when.month, when.day, when.hour, when.minute, when.second, quarters
    )


def volume_date(time_ns: int, zone: tzinfo | None = UTC) -> bytes:
    """Return nanoseconds since 1970 as 17 bytes (ECMA-119, 8.4.26.1), clamped to the years 1900 to
    2155.
    """
    second, rest = divmod(time_ns, 1_000_000_000)
    clamped = min(max(second, FIRST_SECOND), LAST_SECOND)
    when, quarters = _local(clamped, zone)
    hundredths = rest // 10_000_000 if clamped == second else 0
    text = f"{when:%Y%m%d%H%M%S}{hundredths:02}"
    return text.encode("ascii") + quarters.to_bytes(1, "little", signed=True)


def _local(second: int, zone: tzinfo | None) -> tuple[datetime, int]:
    """Return a time in a zone, and its distance from UTC in whole quarters of an hour."""
    when = _EPOCH + timedelta(seconds=second)
    if zone is UTC or not FIRST_SECOND + _MARGIN_S <= second <= LAST_SECOND - _MARGIN_S:
        return when, 0
    offset = when.astimezone(zone).utcoffset() or timedelta()
    quarters = int(offset.total_seconds() // _QUARTER_S)
    quarters = min(max(quarters, _LEAST_QUARTERS), _MOST_QUARTERS)
    return when + timedelta(seconds=quarters * _QUARTER_S), quarters


class NodeDates:
    """The dates of a tree's nodes. None is later than `latest_ns`.

    The root's is `root_ns`: its own changes with every copy of a tree.
    """

    def __init__(
        self, tree: Tree, *, zone: tzinfo | None, latest_ns: int | None, root_ns: int
    ) -> None:
        self._times_ns = tree.mtimes_ns
        self._zone = zone
        self._latest_ns = latest_ns
        self._root_ns = root_ns

    def date(self, node: int) -> bytes:
        """Return when a node was last modified, as 7 bytes."""
        time_ns = self._times_ns[node] if node else self._root_ns
        if self._latest_ns is not None and time_ns > self._latest_ns:
            time_ns = self._latest_ns
        return recording_date(time_ns // 1_000_000_000, self._zone)
