"""Directories as a guest left them: where each is, and which of those that were served it is."""

from __future__ import annotations

from .entries import Entry

MOST_DEPTH = 2048
"""Directories within each other: as many as a path of Linux has room for."""


class Directory:
    """A directory of the snapshot."""

    __slots__ = ("depth", "entry", "is_doubtful", "is_junk", "ordinal", "parent")

    def __init__(
        self, entry: Entry, parent: Directory | None, ordinal: int | None, *, is_junk: bool = False
    ) -> None:
        self.entry = entry
        self.parent = parent
        self.ordinal = ordinal
        """The one of those served that it is; None if it is new."""
        self.is_junk = is_junk
        self.is_doubtful = False
        """Something may be in it that can't be told."""
        self.depth: int = parent.depth + 1 if parent else 0

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the root to it."""
        names: list[str] = []
        at = self
        while at.parent is not None:
            names.append(at.entry.name)
            at = at.parent
        return tuple(reversed(names))


def path_of(entry: Entry) -> tuple[str, ...]:
    """Return the names from the root to an entry; none for the root's own."""
    return (*entry.parent.path, entry.name) if entry.parent else ()
