"""What was worked out for directories and may soon be asked for again: the latest of it is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")

KEPT_BYTES = 16 << 20
"""How much is kept unless somebody says otherwise."""


class Kept(Generic[Made]):
    """Kept by a directory's ordinal, as long as all together take at most `most_bytes`.

    `measure` says about how many bytes one takes. The latest one is kept however large it is, or
    each read of it would work all of it out again; so what bounds memory is `most_bytes` or the
    largest directory.
    """

    def __init__(self, measure: Callable[[Made], int], most_bytes: int) -> None:
        self._measure = measure
        self._most_bytes = most_bytes
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
        self._total += self._measure(made)
        while self._total > self._most_bytes and len(self._kept) > 1:
            self._total -= self._measure(self._kept.popitem(last=False)[1])
        return made
