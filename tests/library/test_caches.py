"""What readers of one disk share: caches that several threads ask at once.

What another thread would do in the worst moment is done here by this one.
"""

from __future__ import annotations

from collections import OrderedDict

from vfloppy.synth.lru import LruCache


class Hasty(OrderedDict):
    """Loses what it has just handed out, as to a thread that makes room."""

    def get(self, key, default=None):
        return self.pop(key, default)


def test_what_another_thread_evicts_meanwhile_is_still_returned():
    kept = LruCache(len, 100)
    kept.get(1, lambda _: b"one")
    kept._cached = Hasty(kept._cached)
    assert kept.get(1, lambda _: b"other") == b"one"


def test_what_two_threads_make_at_once_is_counted_once():
    kept = LruCache(len, 100)
    for _ in range(3):
        for ordinal in range(5):
            kept.get(ordinal, lambda at: kept.get(at, lambda _: bytes(20)))
    assert list(kept._cached) == [0, 1, 2, 3, 4]
    made = []
    for ordinal in range(5):
        kept.get(ordinal, made.append)
    assert made == []
