"""Problems: sentences that say why a disk is not consistent, few enough to be read."""

from __future__ import annotations

_MOST = 100


class Problems:
    """Collects sentences; behind the hundredth they are counted only."""

    def __init__(self) -> None:
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
        more = (f"{self._more} problems more",) if self._more else ()
        return (*self._sentences, *more)


def spelled(path: tuple[str, ...]) -> str:
    """Return a path on the disk for a sentence: on one line, unprintable characters escaped."""
    return "".join(
        each if each.isprintable() else ascii(each)[1:-1] for each in "/" + "/".join(path)
    )
