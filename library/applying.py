"""Applying: what guests have changed on a disk comes home into the directories it was made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from ..harvest.applying.apply import apply, resume
from ..harvest.applying.outcome import Applied, Deed, Outcome
from ..harvest.applying.scanned import ScannedPlaces
from ..harvest.changes import Changes
from ..synth.tree.columns import Tree

__all__ = ["Applied", "Deed", "Outcome", "apply_changes", "resume_applying"]


def apply_changes(
    changes: Changes,
    tree: Tree,
    names: Callable[[int], Sequence[str]],
    *,
    partial: bool = False,
    trash: bool = True,
    allow_git: bool = False,
    token: str = "",
    finished: Callable[[Applied], None] = lambda _: None,
) -> Applied:
    """Bring changes home into the directories that a tree was scanned from; see `apply`.

    `names` returns the names on the disk of all nodes in a directory, given its ordinal. `token`
    is what the caller knows the overlay by. `finished` is called once all is in the directories and
    on the disk, and before that is forgotten: note there that the overlay has been applied. After a
    crash it is called by whoever goes on, `resume_applying` or the next `apply_changes`.

    Raise ApplyError, and whatever reading the changes raises.
    """
    return apply(
        changes,
        ScannedPlaces(tree, names),
        partial=partial,
        trash=trash,
        allow_git=allow_git,
        token=token,
        finished=finished,
    )


def resume_applying(
    directories: Iterable[str | bytes | os.PathLike[str]],
    finished: Callable[[Applied], None] = lambda _: None,
) -> list[Applied]:
    """Go on with what was begun to be applied to directories, before these are scanned.

    A directory to which changes were applied by half makes no disk that anybody has served. Return
    what came of it, nothing for most. Raise ApplyError, and OSError for what is no directory.
    """
    found = [resume(os.fsencode(each), finished) for each in directories]
    return [each for each in found if each is not None]
