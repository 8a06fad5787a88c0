"""A disk as a guest left it, and where it may differ from the one that was served."""

from __future__ import annotations

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

        The ranges ascend, and neither overlap nor touch each other.
        """
        ...
