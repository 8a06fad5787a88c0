"""Sharing a scan: processes are forked for parts of it, and what they found is put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..forks import may_fork, share_out
from ..tree.builder import TreeBuilder
from ..tree.columns import Tree
from .followed import Followed, Visit
from .merging import Part
from .refusals import Refusals


class Share(NamedTuple):
    """The findings of one of several processes."""

    added: dict[str, Any]
    """To the tree's columns."""
    parts: dict[int, tuple[list[int], bytes | None]]
    """The homes of directories, and the link that led there, by ordinal from the share's first."""
    refusals: Refusals
    visits: list[Visit]


class Sharing:
    """The processes that may share one scan, and all that the scan adds to."""

    def __init__(
        self,
        processes: int,
        tree: Tree,
        builder: TreeBuilder,
        parts: dict[int, Part],
        refusals: Refusals,
        followed: Followed,
    ) -> None:
        self._processes = processes
        self._tree = tree
        self._builder = builder
        self._parts = parts
        self._refusals = refusals
        self._followed = followed

    def process_count(self, work: int, least: int) -> int:
        """Return how many processes are to share some work, at least so much of it each."""
        count = min(self._processes, work // least)
        return count if count > 1 and may_fork() else 1

    def share_out(self, works: Sequence[Callable[[], None]]) -> None:
        """Have each work done by a process of its own, the first by this one.

        The tree is the same as if this process had done all of them in order. Raise what one of
        them raised.
        """
        self._builder.flush()
        since = self._tree.lengths()
        count, self._processes = self._processes, 1  # who has a share doesn't share it
        try:
            share_out(works, partial(self._share, since=since), partial(self._add, since=since))
        finally:
            self._processes = count

    def _share(self, work: Callable[[], None], since: dict[str, int]) -> Share:
        """Do some of the work and return what it adds, for another process to add."""
        self._refusals.clear()
        visits = self._followed.visits = []
        work()
        self._builder.flush()
        first = since["directories"]
        parts = {
            ordinal - first: (part.homes, part.link)
            for ordinal, part in self._parts.items()
            if ordinal >= first
        }
        return Share(self._tree.stretch(since), parts, self._refusals, visits)

    def _add(self, share: Share, since: dict[str, int]) -> None:
        self._builder.flush()
        now = self._tree.lengths()
        homes = now["home_names"] - since["home_names"]
        for ordinal, (own, link) in share.parts.items():
            part = Part([home + homes for home in own], link=link)
            self._parts[now["directories"] + ordinal] = part
        for visit in share.visits:
            self._followed.add(visit)
        self._refusals.extend(share.refusals)
        self._tree.extend(share.added, since)
