"""Outcome of applying changes, as data: what was done, what was kept as both, what was not done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """The sorts of things that come of a change, as they are printed."""

    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    RENAMED = "renamed"
    MOVED = "moved"
    CONFLICT = "conflict"
    """The host has changed as well: both versions are kept, the guest's at `host`."""
    KEPT = "kept"
    """By rule it stays as it is on the host."""
    REFUSED = "refused"
    """The change is not applied to the host; it is in the overlay only."""
    NOTE = "note"
    """Something that follows from what was done."""


class Deed(NamedTuple):
    """A thing that came of a change."""

    outcome: Outcome
    path: str
    """On the disk, from its root."""
    host: str = ""
    """The path on the host, from `/`; stray bytes are lone surrogates."""
    reason: str = ""
    """A sentence without its subject."""
    trash: str = ""
    """The path on the host that a removed file has now."""


@dataclass(frozen=True)
class Applied:
    """All that came of applying changes."""

    deeds: tuple[Deed, ...] = ()
    problems: tuple[str, ...] = ()
    """Why the disk was not consistent, if that was let pass."""
    left_out: tuple[str, ...] = ()
    """Sentences: things that were left out by rule, and why."""
    token: str = ""
    """As the caller gave it, to know the overlay by that this was of."""
    was_resumed: bool = False
    """It was begun by a process that was killed, or failed."""

    def of(self, outcome: Outcome) -> tuple[Deed, ...]:
        """Return the deeds with an outcome."""
        return tuple(deed for deed in self.deeds if deed.outcome == outcome)

    @property
    def trash(self) -> tuple[str, ...]:
        """The removed files, where they are on the host now."""
        return tuple(deed.trash for deed in self.deeds if deed.trash)

    @property
    def is_complete(self) -> bool:
        """Return whether all that the guest did is in the directories, and in its own place."""
        return not (self.problems or self.of(Outcome.CONFLICT) or self.of(Outcome.REFUSED))
