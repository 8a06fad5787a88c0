"""Chains of clusters: which each entry has, and that no two have the same."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from .directories import path_of
from .entries import Entry
from .problems import Problems, spelled
from .table import Table
from .volume import Volume

_PAGE_CLUSTERS = 1 << 12


class Chains:
    """The chains of a snapshot, as far as they have been asked for.

    Most are as they were served, which the plan knows. The others are followed cluster by cluster,
    and each cluster is noted for its entry: whoever comes to one that another has, or to one of its
    own again, goes no further. So all chains together take no more steps than there are clusters.
    """

    def __init__(self, volume: Volume, table: Table, problems: Problems) -> None:
        self._volume = volume
        self._table = table
        self._problems = problems
        self.changed = table.changed_owners()
        """The nodes of which the table no longer says all that it did."""
        self.held: dict[int, Entry] = {}
        """The entries that begin where a node's content was, by node, if the table leaves it so."""
        self.doubtful: set[int] = set()
        """Nodes whose content bad entries begin with: they may be what became of them."""
        self._pages: dict[int, array[int]] = {}  # numbers of entries by cluster, in pages
        self._entries: list[Entry | None] = [None]
        self._crossed: dict[int, Entry] = {}  # came across the clusters of nodes

    def resolve(self, entry: Entry) -> bool:
        """Find the chain of an entry. Return False, and note the problem, if it has none."""
        fault = None
        if entry.first and not self._is_without(entry):
            node = self._volume.starting_at(entry.first)
            if node is None or node in self.changed:
                fault = self._follow(entry)
            elif node in self.held:
                fault = self._shared(entry, self.held[node])
            else:
                self.held[node] = entry
                entry.chain = (self._volume.run(node),)
        elif entry.is_directory:
            fault = "has no cluster"
        if fault is None and not entry.is_directory:
            length = sum(count for _, count in entry.chain) * self._volume.cluster_bytes
            if entry.size > length:
                fault = f"has {entry.size} bytes, and clusters for {length}"
        if fault is None:
            return True
        self._condemn(entry)
        self._problems.add(f"{spelled(path_of(entry))}: {fault}")
        return False

    def check_crossed(self, is_there: Callable[[int], bool]) -> None:
        """Note the chains that lead into what a node that is still there has."""
        for node, entry in self._crossed.items():
            if is_there(node):
                other = self.held.get(node)
                path = path_of(other) if other else self._volume.path(node)
                self._condemn(entry)
                if other:
                    self._condemn(other)
                text = f"shares clusters with {spelled(path)}"
                self._problems.add(f"{spelled(path_of(entry))}: {text}")

    def _shared(self, entry: Entry, other: Entry) -> str:
        if entry is other:
            return "has clusters that lead back to themselves"
        self._condemn(other)
        return f"shares clusters with {spelled(path_of(other))}"

    def _is_without(self, entry: Entry) -> bool:
        """Return whether an empty file names a cluster that is free, as some writers leave it."""
        if entry.size or entry.is_directory or self._table.fault(entry.first):
            return False
        return self._table.entry(entry.first) == 0

    def _condemn(self, entry: Entry) -> None:
        entry.is_bad = True
        node = self._volume.starting_at(entry.first)
        if node is not None:
            self.doubtful.add(node)

    def _follow(self, entry: Entry) -> str | None:
        """Follow a chain from its first cluster on. Return what is wrong with it."""
        table, pages = self._table, self._pages
        number = len(self._entries)
        self._entries.append(entry)
        runs: list[tuple[int, int]] = []
        start = cluster = entry.first
        fault = table.fault(cluster)
        if fault:
            return f"begins with {fault}"
        while fault is None:
            place, at = divmod(cluster, _PAGE_CLUSTERS)
            page = pages.get(place)
            if page is None:
                page = pages[place] = array("I", bytes(4 * _PAGE_CLUSTERS))
            if page[at]:
                fault = self._shared(entry, self._entries[page[at]] or entry)
                break
            page[at] = number
            following = table.entry(cluster)
            if following != cluster + 1:
                runs.append((start, cluster + 1 - start))
                if table.is_end(following):
                    break
                start = following
            cluster = following
            fault = table.fault(cluster)
            if fault:
                fault = f"its clusters end with one that leads to {fault}"
        if fault is None:
            entry.chain = tuple(runs)
            self._note_crossed(entry)
        return fault

    def _note_crossed(self, entry: Entry) -> None:
        for first, count in entry.chain:
            if first < self._volume.first_free:
                for node in self._volume.owners(first, first + count):
                    if node not in self.changed:
                        self._crossed[node] = entry
