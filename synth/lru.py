"""A cache of what was worked out for directories: the least recently used of it goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

Made = TypeVar("Made")

# Taken when something is added only. One for all: a cache is sent to other processes, no lock is.
_lock = threading.Lock()

CACHE_BYTES = 16 << 20
"""The size of a cache, in bytes, unless somebody gives another one."""


class LruCache(Generic[Made]):
    """Things by the ordinal of their directory, as long as all together take at most `most_bytes`.

    `measure` says about how many bytes one takes. The latest one stays however large it is, or each
    read of it would work all of it out again; so what bounds memory is `most_bytes` or the largest
    directory. Several threads may ask at once.
    """

    def __init__(self, measure: Callable[[Made], int], most_bytes: int) -> None:
        self._measure = measure
        self._most_bytes = most_bytes
        self._cached: OrderedDict[int, Made] = OrderedDict()
        self._total = 0

    def get(self, ordinal: int, make: Callable[[int], Made]) -> Made:
        """Return what belongs to a directory, made by `make` from its ordinal if it isn't here."""
        cached = self._cached.get(ordinal)
        if cached is not None:
            with suppress(KeyError):  # another thread has just made room
                self._cached.move_to_end(ordinal)
            return cached
        made = make(ordinal)
        with _lock:
            cached = self._cached.get(ordinal)
            if cached is not None:  # another thread has made it meanwhile
                return cached
            self._cached[ordinal] = made
            self._total += self._measure(made)
            while self._total > self._most_bytes and len(self._cached) > 1:
                self._total -= self._measure(self._cached.popitem(last=False)[1])
        return made
