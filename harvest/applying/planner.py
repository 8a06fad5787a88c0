"""From changes to a plan: what to do with each, given what the host has by now. Nothing is written.

First it is decided what leaves its place (renamed, moved, removed), then what comes where.
"""

from __future__ import annotations

from dataclasses import replace

from ..changes import Change, Changes, Kind
from .arriving import Arriving
from .folders import Folders
from .leaving import Leaving
from .naming import refusal
from .outcome import Outcome
from .places import Places
from .plan import Plan
from .resolving import Resolver
from .sheet import Sheet


def fill(
    plan: Plan,
    changes: Changes,
    places: Places,
    folders: Folders,
    *,
    partial: bool,
    trash: bool,
    allow_git: bool,
    kept: dict[int, str],
) -> Sheet:
    """Fill in a plan, all but the steps; `kept` are nodes that are not moved, and why.

    Raise OSError, and Again with another one.
    """
    wanted, refused = _chosen(changes, partial=partial, allow_git=allow_git)
    by_path = {change.path: change for change in wanted if change.kind is not Kind.REMOVED}
    resolver = Resolver(plan, folders, places, by_path)
    sheet = Sheet(changes, places, folders, plan, resolver, dict(kept))
    for outcome, change, reason in refused:
        sheet.tell(outcome, change, reason=reason)
    leaving, arriving = Leaving(sheet, trash=trash), Arriving(sheet)
    for change in wanted:
        if change.kind in {Kind.RENAMED, Kind.MOVED}:
            leaving.leave(change)
            folders.trim()
    for change in wanted:
        if change.kind is Kind.REMOVED:
            leaving.remove(change)
            folders.trim()
    for change in wanted:
        if change.kind is not Kind.REMOVED:
            arriving.arrive(change)
            folders.trim()
    if roots := places.sources(0):
        plan.main = resolver.stage(resolver.home(roots[-1]))
    elif plan.stages:
        plan.main = plan.stages[0]
    return sheet


def _chosen(
    changes: Changes, *, partial: bool, allow_git: bool
) -> tuple[list[Change], list[tuple[Outcome, Change, str]]]:
    """Return what is to be applied, and what isn't, with reasons."""
    others = {
        path
        for change in changes.changes
        if change.is_directory and change.kind is not Kind.CHANGED
        for path in (change.path, change.old_path)
    }
    # Files whose directories are still those that they were.
    gone = {
        change.path: change.number
        for change in changes.changes
        if change.kind is Kind.REMOVED
        and not change.is_directory
        and others.isdisjoint(change.path[:end] for end in range(1, len(change.path)))
    }
    again: set[tuple[str, ...]] = set()
    wanted: list[Change] = []
    refused: list[tuple[Outcome, Change, str]] = []
    for change in changes.changes:
        reason = refusal(change.path, allow_git=allow_git)
        if change.old_path and not reason:
            reason = refusal(change.old_path, allow_git=allow_git)
        if reason:
            refused.append((Outcome.REFUSED, change, reason))
        elif change.kind is Kind.CREATED and change.path in gone and not change.is_directory:
            # A name that was removed and made again is a file that was written anew.
            again.add(change.path)
            wanted.append(replace(change, kind=Kind.CHANGED, number=gone[change.path]))
        elif change.kind is Kind.REMOVED and partial and changes.problems:
            reason = "nothing is removed as long as the disk is not consistent"
            refused.append((Outcome.KEPT, change, reason))
        else:
            wanted.append(change)
    return [
        change for change in wanted if change.kind is not Kind.REMOVED or change.path not in again
    ], refused
