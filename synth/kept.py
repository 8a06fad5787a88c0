"""What was worked out for directories and may soon be asked for again: the latest of it is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """Kept by a directory's ordinal, as long as the sum of their counts is at most `most`.

    The latest one is kept however large it is.
    """

    def __init__(self, count: Callable[[Made], int], most: int) -> None:
        self._count = count
        self._most = most
        self._kept: OrderedDict[int, Made] = OrderedDict()
        self._total = 0

    def get(self, ordinal: int, make: Callable[[int], Made]) -> Made:
        """What belongs to a directory: what is kept, or what `make` makes of its ordinal."""
        kept = self._kept.get(ordinal)
        if kept is not None:
            self._kept.move_to_end(ordinal)
            return kept
        made = make(ordinal)
        self._kept[ordinal] = made
        self._total += self._count(made)
        while self._total > self._most and len(self._kept) > 1:
            self._total -= self._count(self._kept.popitem(last=False)[1])
        return made
