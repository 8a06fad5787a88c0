"""Harvesting: the disk as a guest left it, compared with the one that was served."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from ..errors import Spelling, in_python, option_named, worded
from ..export import Export
from ..synth.fat.plan import FatLayout
from ..synth.tree.columns import Tree
from .chains import Chains
from .changes import Change, Changes, Kind
from .contents import differs, runs_of
from .directories import Directory, path_of
from .entries import Entry
from .identities import Identities
from .problems import Problems, spelled
from .snapshot import Snapshot, Touched
from .state import check_same, marks
from .table import Table
from .volume import Volume
from .walk import Walk

_FEW_FILES = 10
_FEW_PERCENT = 5


def harvest(
    layout: FatLayout,
    tree: Tree,
    served: Export,
    snapshot: Snapshot,
    *,
    allow_removals: bool = False,
    leave_out: Collection[str] = (),
    spelling: Spelling = in_python,
) -> Changes:
    """Return what a guest has changed on a disk that was served.

    `tree` and `layout` are those of `served`. What can't be told is a problem, and no change: the
    changes beside problems are those that the rest of the disk tells. That many of the files are
    gone is a problem, too, unless `allow_removals` is given. `leave_out` are names in the root that
    are left out beside those that systems keep for themselves. `spelling` words options.

    Raise ReformattedError for a disk that is another one now, OSError where it can't be read.
    """
    touched = Touched(snapshot)
    with served.open() as reader:
        volume = Volume(layout, tree, reader.read, served.size)
        check_same(volume, snapshot)
        if not touched:
            return Changes((), read=snapshot.read)
        problems = Problems()
        table = Table(volume, snapshot, touched)
        for mark in marks(volume, snapshot, table.entry):
            problems.add(mark)
        cluster = table.copies_differ()
        if cluster is not None:
            problems.add(f"the two allocation tables are not the same, as for cluster {cluster}")
        chains = Chains(volume, table, problems)
        walk = Walk(volume, snapshot, touched, chains, problems)
        walk.start()
        identities = Identities(volume, snapshot, touched, walk)
        chains.check_crossed(walk.is_there)
        report = _Report(volume, snapshot, touched, walk, identities, chains.doubtful, leave_out)
        changes = tuple(report.changes())
        if not allow_removals:
            report.check_removals(changes, problems, spelling)
        return Changes(changes, problems.all(), report.left_out.all(), snapshot.read)


class _Report:
    """Changes made of what the walk has found."""

    def __init__(
        self,
        volume: Volume,
        snapshot: Snapshot,
        touched: Touched,
        walk: Walk,
        identities: Identities,
        doubtful: Collection[int],
        leave_out: Collection[str],
    ) -> None:
        self._volume = volume
        self._walk = walk
        self._identities = identities
        self._doubtful = doubtful
        self._leave_out = {name.lower() for name in leave_out}
        self._differs = partial(differs, volume, snapshot, touched)
        self._zone = volume.layout.options.zone
        self.left_out = Problems("names")
        for entry in walk.junk:
            path = spelled(path_of(entry))
            self.left_out.add(f"{path}: left out, as what systems keep for themselves")

    def changes(self) -> Iterator[Change]:
        """Yield the changes in their order."""
        found = [*self._created(), *self._directories(), *self._files()]
        found.sort(key=lambda change: (len(change.path), change.path))
        removed = list(self._removed())
        removed.sort(key=lambda change: (-len(change.path), change.path))
        for change in (*found, *removed):
            names = {change.path[0].lower(), *(each.lower() for each in change.old_path[:1])}
            if names & self._leave_out:
                self.left_out.add(f"{spelled(change.path)}: left out, as was asked for")
            else:
                yield change

    def check_removals(
        self, changes: Collection[Change], problems: Problems, spelling: Spelling
    ) -> None:
        """Add a problem if more of the files are gone than anybody removes by the way."""
        gone = sum(change.kind is Kind.REMOVED and not change.is_directory for change in changes)
        count = self._volume.tree.file_count
        if gone > _FEW_FILES and gone * 100 > count * _FEW_PERCENT:
            option = worded(option_named("allow_removals", True), spelling)
            problems.add(
                f"{gone} of {count} files are gone, more than anybody removes by the way; {option} "
                "takes that for meant"
            )

    def _created(self) -> Iterator[Change]:
        for entry in self._identities.created:
            if self._is_sure(entry):
                is_directory = entry.is_directory
                yield Change(
                    Kind.CREATED,
                    path_of(entry),
                    is_directory=is_directory,
                    size=0 if is_directory else entry.size,
                    modified_ns=entry.written_ns(self._zone),
                    read_only=True if entry.is_read_only and not is_directory else None,
                    chain=() if is_directory else runs_of(self._volume, entry),
                )

    def _directories(self) -> Iterator[Change]:
        directories = self._volume.tree.directories
        for ordinal, directory in self._walk.placed.items():
            if ordinal and self._is_sure(directory.entry):
                node = directories[ordinal]
                kind = self._kind(directory.entry, node)
                if kind is not Kind.CHANGED:
                    yield Change(
                        kind,
                        directory.path,
                        self._volume.path(node),
                        is_directory=True,
                        number=node,
                    )

    def _files(self) -> Iterator[Change]:
        for entry, node in self._identities.files:
            if not self._is_sure(entry):
                continue
            served = self._volume.entry(node)
            kind = self._kind(entry, node)
            rewritten = self._differs(entry, node)
            is_relocked = entry.is_read_only != served.is_read_only
            if kind is Kind.CHANGED and not rewritten and not is_relocked:
                continue
            is_dated = rewritten and entry.written != served.written
            yield Change(
                kind,
                path_of(entry),
                () if kind is Kind.CHANGED else self._volume.path(node),
                size=entry.size,
                rewritten=rewritten,
                modified_ns=entry.written_ns(self._zone) if is_dated else None,
                read_only=entry.is_read_only if is_relocked else None,
                number=node,
                chain=runs_of(self._volume, entry),
            )

    def _removed(self) -> Iterator[Change]:
        tree = self._volume.tree
        for node in self._identities.removed(self._doubtful):
            place = self._walk.placed.get(tree.parent(node))
            if place is not None and (place.is_doubtful or not self._is_sure(place.entry)):
                continue
            yield Change(
                Kind.REMOVED,
                self._volume.path(node),
                is_directory=tree.is_directory(node),
                number=node,
            )

    def _kind(self, entry: Entry, node: int) -> Kind:
        """Return in which way a node has gone to where it is; CHANGED if it is in its place."""
        parent = entry.parent
        assert parent is not None
        if parent.ordinal != self._volume.tree.parent(node):
            return Kind.MOVED
        return Kind.CHANGED if entry.name == self._volume.entry(node).name else Kind.RENAMED

    def _is_sure(self, entry: Entry) -> bool:
        """Return whether nothing is wrong with an entry, nor with any directory above it."""
        at: Directory | None = entry.parent
        while not entry.is_bad and at is not None:
            entry, at = at.entry, at.parent
        return not entry.is_bad
