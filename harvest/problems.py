"""Sentences, few enough to be read: why a disk is not consistent, and what was left out."""

from __future__ import annotations

_MOST = 100


class Problems:
    """Collects sentences; behind the hundredth they are counted only, as more of a `noun`."""

    def __init__(self, noun: str = "problems") -> None:
        self._noun = noun
        self._sentences: list[str] = []
        self._more = 0

    def add(self, sentence: str) -> None:
        """Add a sentence."""
        if len(self._sentences) < _MOST:
            self._sentences.append(sentence)
        else:
            self._more += 1

    def all(self) -> tuple[str, ...]:
        """Return the sentences, and how many there are beside them."""
        more = (f"{self._more} {self._noun} more",) if self._more else ()
        return (*self._sentences, *more)


def spelled(path: tuple[str, ...]) -> str:
    """Return a path on the disk for a sentence: on one line, unprintable characters escaped."""
    return "".join(
        each if each.isprintable() else ascii(each)[1:-1] for each in "/" + "/".join(path)
    )
