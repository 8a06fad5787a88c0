"""Applying a guest's changes to the directories of the host: all of them, or as if never begun."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

from ...errors import ApplyError, VfloppyError, option_named
from ...synth.host.paths import open_as_it_is
from ...synth.tree.columns import printable
from ..changes import Changes
from .arriving import Again
from .calls import Calls
from .executing import Execution
from .folders import Folders, path_of_open
from .journal import BEGUN, JOURNAL, Amendments, read, remove, write
from .naming import STATE
from .ordering import order, order_removals
from .outcome import Applied
from .places import Places
from .plan import Plan
from .planner import fill
from .rights import check_rights
from .staging import Staging
from .states import OPEN, check_state, leave, locked, make_state, roll_back

Finished = Callable[[Applied], None]
_WITHIN = "would get into itself, since something is kept where it was"
_APART = "is on another file system than where the guest moved it"


def apply(
    changes: Changes,
    places: Places,
    *,
    partial: bool = False,
    trash: bool = True,
    allow_git: bool = False,
    token: str = "",
    finished: Finished = lambda _: None,
    calls: Calls | None = None,
) -> Applied:
    """Bring changes home. Return what came of each.

    With `partial`, what can be told of a disk that is not consistent is applied, but nothing is
    removed. Without `trash` removed files are gone. `finished` is called when all is done and on
    the disk, before that is forgotten; `token` is then known, whichever process gets so far.

    Raise ApplyError: nothing was applied, or it says that applying stopped, to be gone on with by
    `resume`, or by `apply` of the same changes.
    """
    if changes.problems and not partial:
        more = len(changes.problems) - 1
        raise ApplyError(
            f"the disk is not consistent: {changes.problems[0]}"
            + (f" (and {more} more)" if more else "")
            + f"; nothing was applied. Have the guest finish or check the disk, or take what can "
            f"be told with {option_named('partial', True)}"
        )
    calls = calls or Calls()
    resumed: list[Applied] = []

    def resume_all(directories: list[bytes]) -> None:
        found = [resume(each, finished, calls=calls) for each in directories]
        resumed.extend(each for each in found if each)

    try:
        resume_all(
            [os.fsencode(path_of_open(places.descriptor(each))) for each in places.sources(0)]
        )
    except OSError as error:
        raise ApplyError(f"the directory can't be found any more: {error}") from error
    while True:
        plan, folders = _planned(changes, places, partial=partial, trash=trash, allow_git=allow_git)
        with contextlib.closing(folders):
            plan.token = token
            pending = [
                os.path.dirname(folders.path_of(stage))
                for stage in plan.stages
                if _is_pending(folders, stage)
            ]
            if pending:
                resume_all(pending)
                continue
            if not plan.is_empty:
                done = _carry_out(calls, folders, plan, changes, finished)
            else:
                done = _applied(plan)
                finished(done)
            return _together([*resumed, done])


def resume(
    directory: str | bytes, finished: Finished = lambda _: None, *, calls: Calls | None = None
) -> Applied | None:
    """Go on with what a process that was killed, or failed, has begun to apply to a directory.

    To be called before the directory is scanned. Return what came of it; None if there was
    nothing, or nothing that had got so far that the directory was changed: then that is cleaned up.
    Raise ApplyError, and OSError for a directory that can't be opened.
    """
    calls = calls or Calls()
    path = os.path.realpath(os.fsencode(directory))
    with contextlib.ExitStack() as stack:
        folder = open_as_it_is(path)
        stack.callback(os.close, folder)
        try:
            state = os.open(STATE, OPEN, dir_fd=folder)
        except OSError:  # nothing is there, or nothing of ours
            return None
        stack.callback(os.close, state)
        state_path = os.path.join(path, STATE)
        check_state(state, state_path)
        stack.enter_context(locked(state, state_path))
        folders = stack.enter_context(contextlib.closing(Folders()))
        try:
            plan = read(state, JOURNAL, state_path)
            if plan:
                folders.all = plan.folders
                return _execute(calls, folders, plan, state, finished, was_resumed=True)
            plan = read(state, BEGUN, state_path)
            if plan:
                folders.all = plan.folders
                roll_back(calls, folders, plan)
                remove(calls, state, JOURNAL)  # of which only the beginning is there
                remove(calls, state, BEGUN)
                leave(calls, folders, plan.main, restore=True)
                return None
            remove(calls, state, BEGUN)
            remove(calls, state, JOURNAL)
            root = folders.add_root(folder)
            leave(calls, folders, folders.add(root, STATE), restore=False)
        except OSError as error:
            raise ApplyError(
                f"{printable(state_path)}: what was begun there can't be ended: "
                f"{error.strerror or error}; mend that, and apply again"
            ) from error
    return None


def _planned(
    changes: Changes, places: Places, *, partial: bool, trash: bool, allow_git: bool
) -> tuple[Plan, Folders]:
    """Return what is to be done, and the directories that it is about. Raise ApplyError."""
    kept: dict[int, str] = {}
    while True:
        folders = Folders()
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        plan = Plan(f"{now}-{secrets.token_hex(4)}", folders.all)
        plan.problems, plan.left_out = changes.problems, changes.left_out
        try:
            sheet = fill(
                plan, changes, places, folders, partial=partial, trash=trash,
                allow_git=allow_git, kept=kept,
            )  # fmt: skip
            plan.steps, stuck = order(plan.items, folders.all, plan.run)
            plan.removals = order_removals(plan.items, folders.all)
            if not stuck:
                sheet.tell_places()
                return plan, folders
            kept |= {sheet.numbers[item]: _WITHIN for item in stuck}
        except Again as again:
            kept[again.number] = _APART
        except OSError as error:
            folders.close()
            path = os.fsencode(error.filename) if error.filename else b"the directory"
            raise ApplyError(
                f"{printable(path)}: can't be compared with what the guest wrote: "
                f"{error.strerror or error}; nothing was applied"
            ) from error
        except BaseException:
            folders.close()
            raise
        folders.close()


def _carry_out(
    calls: Calls, folders: Folders, plan: Plan, changes: Changes, finished: Finished
) -> Applied:
    """Write down a plan and do it. Raise ApplyError."""
    with contextlib.ExitStack() as stack:
        main = -1
        try:
            check_rights(folders, plan)
            for stage in plan.stages:
                folder = folders.all[stage]
                above = folders.descriptor(folder.places[0][0])
                folder.mtime_ns = os.fstat(above).st_mtime_ns
            for stage in sorted(plan.stages, key=lambda each: each != plan.main):
                make_state(calls, folders, stage)
                state = os.dup(folders.descriptor(stage))
                stack.callback(os.close, state)
                stack.enter_context(locked(state, folders.path_of(stage)))
                if stage == plan.main:
                    _refuse_pending(state, folders.path_of(stage))
                    main = state
                    write(calls, main, BEGUN, plan)
            Staging(calls, folders, plan, changes).run()
            write(calls, main, JOURNAL, plan)
        except (OSError, VfloppyError, KeyboardInterrupt) as error:
            _abandon(calls, folders, plan, main, error)
        return _execute(calls, folders, plan, main, finished)


def _abandon(
    calls: Calls, folders: Folders, plan: Plan, main: int, error: BaseException
) -> NoReturn:
    """Have all as it was, and raise what has kept from going on."""
    end = "nothing was applied"
    if main >= 0 and _has(main, JOURNAL):
        end = "applying stopped before the first change; mend that, and apply again to go on"
    elif main >= 0:
        try:
            roll_back(calls, folders, plan)
            remove(calls, main, JOURNAL)  # of which only the beginning is there
            remove(calls, main, BEGUN)
            leave(calls, folders, plan.main, restore=True)
        except OSError:
            path = printable(folders.path_of(plan.main))
            end += f", and new files are left in {path}; applying again removes them"
    if not isinstance(error, OSError):
        raise error
    where = folders.path_of(plan.main) if error.filename is None else os.fsencode(error.filename)
    if error.errno == errno.ENOSPC:
        where = folders.path_of(plan.main)
    raise ApplyError(f"{printable(where)}: {error.strerror or error}; {end}") from error


def _execute(
    calls: Calls,
    folders: Folders,
    plan: Plan,
    main: int,
    finished: Finished,
    *,
    was_resumed: bool = False,
) -> Applied:
    """Do what is written down, and forget it. Raise ApplyError."""
    amendments = Amendments(calls, main, plan)
    try:
        Execution(calls, folders, plan, amendments).run()
    finally:
        amendments.close()
    applied = dataclasses.replace(_applied(plan), was_resumed=was_resumed)
    finished(applied)
    try:
        for stage in plan.stages:
            if stage != plan.main:
                leave(calls, folders, stage, restore=False)
        with contextlib.suppress(FileNotFoundError):
            os.stat(BEGUN, dir_fd=main)
            remove(calls, main, BEGUN)
        remove(calls, main, JOURNAL)
        leave(calls, folders, plan.main, restore=False)
    except OSError as error:
        path = printable(folders.path_of(plan.main))
        raise ApplyError(
            f"{path}: all is applied, but its journal can't be removed: "
            f"{error.strerror or error}; mend that, and apply again"
        ) from error
    return applied


def _refuse_pending(state: int, path: bytes) -> None:
    """Raise ApplyError for what another process has left in this moment."""
    if _has(state, JOURNAL) or _has(state, BEGUN):
        raise ApplyError(f"{printable(path)}: another process was applying changes; apply again")


def _is_pending(folders: Folders, stage: int) -> bool:
    """Return whether something that was begun is in a state directory, if there is one."""
    parent, name = folders.all[stage].places[0]
    try:
        state = os.open(name, OPEN, dir_fd=folders.descriptor(parent))
    except OSError:
        return False
    try:
        return _has(state, JOURNAL) or _has(state, BEGUN)
    finally:
        os.close(state)


def _has(state: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=state, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _applied(plan: Plan) -> Applied:
    return Applied(tuple(plan.deeds), plan.problems, plan.left_out, plan.token)


def _together(parts: list[Applied]) -> Applied:
    """Return what came of several runs as that of the last."""
    last = parts[-1]
    if len(parts) == 1:
        return last
    deeds = dict.fromkeys(deed for part in parts for deed in part.deeds)
    return dataclasses.replace(last, deeds=tuple(deeds), was_resumed=True)
