"""Words for what came of applying a guest's changes: lines for people, JSON, an exit status."""

from __future__ import annotations

from typing import Any

from ..library.applying import Applied, Deed, Outcome
from ..library.summary import count
from .console import complain, say

APPLY_HELP = (
    "Bring what was changed home into the directories: all of it or nothing, also if this is "
    "killed and started again. Removed files go to .vfloppy/trash in their directory. Where the "
    "host has changed a file as well, both are kept, the guest's as NAME.conflict-1."
)
NO_TRASH_HELP = "With --apply, remove files for good."
PARTIAL_HELP = (
    "With --apply, take what can be told of a disk that is not consistent; nothing is removed."
)
ALLOW_GIT_HELP = (
    "With --apply, write to repositories of git as well, where a guest can have programs run."
)

_TOLD = (
    Outcome.CREATED,
    Outcome.CHANGED,
    Outcome.RENAMED,
    Outcome.MOVED,
    Outcome.REMOVED,
)
_WARNED = (Outcome.CONFLICT, Outcome.REFUSED, Outcome.KEPT, Outcome.NOTE)


def say_applied(applied: Applied, *, quiet: bool = False) -> None:
    """Print what was done, and complain of what is to be looked after."""
    if not quiet:
        for outcome in _TOLD:
            for deed in applied.of(outcome):
                say(_line(deed))
    for outcome in _WARNED:
        for deed in applied.of(outcome):
            complain(_line(deed), "warning")
    for problem in applied.problems:
        complain(problem, "warning")
    if not quiet:
        say(summary(applied))


def summary(applied: Applied) -> str:
    """Return how much was done, in one line."""
    done = sum(len(applied.of(outcome)) for outcome in _TOLD)
    parts = [f"{count(done, 'change')} applied"]
    if trash := applied.trash:
        parts.append(f"{count(len(trash), 'removed file')} in the trash")
    if conflicts := applied.of(Outcome.CONFLICT):
        parts.append(count(len(conflicts), "conflict"))
    if refused := applied.of(Outcome.REFUSED):
        parts.append(f"{len(refused)} refused")
    text = ", ".join(parts)
    return f"{text}; begun before, and ended now" if applied.was_resumed else text


def document(applied: Applied) -> dict[str, Any]:
    """Return what came of it as JSON has it."""
    return {
        "applied": [
            {name: value for name, value in deed._asdict().items() if value}
            for deed in applied.deeds
        ],
        "problems": [*applied.problems],
        "left_out": [*applied.left_out],
        "resumed": applied.was_resumed,
        "complete": applied.is_complete,
    }


def exit_status(applied: Applied) -> int:
    """Return 0 if all that guests did is in its place, 1 if something is to be looked after."""
    return 0 if applied.is_complete else 1


def _line(deed: Deed) -> str:
    text = f"{deed.outcome} {deed.path}"
    if deed.outcome is Outcome.CONFLICT and deed.host:
        text += f" ({deed.host})"
    if deed.trash:
        text += f" (now {deed.trash})"
    return f"{text}: {deed.reason}" if deed.reason else text
