"""A disk as a guest left it, and where it may differ from the one that was served."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Protocol


class Snapshot(Protocol):
    """A disk that does not change while it is looked at, as a written overlay is."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Return a range of the disk as the guest left it. Raise OSError."""
        ...

    def touched(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of what may differ from the disk that was served.

        The ranges ascend and do not overlap.
        """
        ...


class Touched:
    """The ranges that a guest has written to, by place."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        for offset, length in snapshot.touched():
            if self._ends and offset <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], offset + length)
            elif length:
                self._starts.append(offset)
                self._ends.append(offset + length)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of what was written to in [start, end), ascending."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        while at < len(self._starts) and self._starts[at] < end:
            if self._ends[at] > start:
                yield max(self._starts[at], start), min(self._ends[at], end)
            at += 1

    def any(self, start: int, end: int) -> bool:
        """Return whether anything in [start, end) was written to."""
        return next(self.within(start, end), None) is not None

    def leaves_one(self, start: int, end: int, unit: int) -> bool:
        """Return whether one of the units that follow each other from `start` on was left alone."""
        position = start
        for first, last in self.within(start, end):
            if position + unit <= first:
                return True
            position = start + -(-(last - start) // unit) * unit
        return position + unit <= end
