"""The walk through the directories that a guest has touched, side by side with those served.

An entry whose name the directory had before is *matched* with what was there; any other is *new*,
and what no entry is matched with has *vanished*. Directories that nobody touched are not read: what
is in them is as it was, but for the contents of files and what is further below.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy

from ..synth.fat.records import ATTR_DIRECTORY, ENTRY_BYTES, MOST_DIRECTORY_ENTRIES
from .chains import Chains
from .directories import MOST_DEPTH, Directory
from .entries import Entry, parsed
from .problems import Problems, spelled
from .snapshot import Snapshot, Touched
from .touches import Touches
from .volume import Volume

MOST_NEW = 1 << 23
"""Names in all paths that are new together: so many take half a gigabyte, or less."""
_MOST_BYTES = MOST_DIRECTORY_ENTRIES * ENTRY_BYTES
_JUNK = {"system volume information", "$recycle.bin", ".fseventsd", ".spotlight-v100",
         ".trashes"}  # fmt: skip
_JUNK_START = "._"


class Walk:
    """The entries of the snapshot that are not all as they were served."""

    def __init__(
        self,
        volume: Volume,
        snapshot: Snapshot,
        touched: Touched,
        chains: Chains,
        problems: Problems,
    ) -> None:
        self._volume = volume
        self._snapshot = snapshot
        self._chains = chains
        self._problems = problems
        self.matched: list[tuple[Entry, int]] = []
        """Files, each with its node, of which anything may have changed."""
        self.new: list[Entry] = []
        self.vanished: dict[int, None] = {}
        """Nodes without an entry, in order; those below a vanished directory are not listed."""
        self.junk: list[Entry] = []
        self.placed: dict[int, Directory] = {}
        """The directories of the snapshot that are ones that were served, by ordinal; those without
        anything of interest in them are missing."""
        self.identified: set[int] = set()
        """Nodes that are somewhere else now."""
        self.touches = Touches(volume, snapshot, touched, chains.changed)
        self._room = MOST_NEW
        self._as_served: set[int] = set()  # ordinals, by content: implicitly, all is there
        self._read: set[int] = set()  # ordinals, by content

    def start(self) -> None:
        """Walk from the root on."""
        first, _ = self._volume.run(0)
        root = Entry("", ATTR_DIRECTORY, first, 0, (0, 0, 0), (0, 0))
        if not first or self._chains.resolve(root):
            self.enter(Directory(root, None, 0))

    def enter(self, directory: Directory) -> None:
        """Walk from a directory on, into those below that were served, too."""
        queue = deque([directory])
        while queue:
            directory = queue.popleft()
            if directory.ordinal is not None:
                self.placed[directory.ordinal] = directory
            queue.extend(self._look_into(directory))

    def is_there(self, node: int) -> bool:
        """Return whether a node that the table has not changed is reached by some entry."""
        tree = self._volume.tree
        if node in self._chains.held:
            return True
        while node:
            ordinal = tree.parent(node)
            if ordinal in self._as_served:
                return True
            if ordinal in self._read:
                return False
            node = tree.directories[ordinal]
        return False

    def is_vanished(self, node: int) -> bool:
        """Return whether no entry has been matched with a node, nor with what it was in."""
        tree = self._volume.tree
        while node and node not in self.identified:
            if node in self.vanished:
                return True
            ordinal = tree.parent(node)
            if ordinal in self.placed:
                return False
            node = tree.directories[ordinal]
        return False

    def _look_into(self, directory: Directory) -> Iterable[Directory]:
        """Sort the entries of a directory. Return the directories to go on with."""
        source = self._source(directory)
        if source is not None:
            if source == directory.ordinal and self._is_as_served(directory, source):
                self._as_served.add(source)
                return self._look_below(directory, source)
            self._read.add(source)
        entries = self._entries(directory)
        if entries is None:
            directory.entry.is_bad = True
            return ()
        ordinal, tree = directory.ordinal, self._volume.tree
        served: dict[tuple[str, bool], int] = {}
        if ordinal is not None:
            pairs = zip(self._volume.entries(ordinal), tree.children(ordinal), strict=True)
            served = {
                (each.name, each.is_directory): node
                for each, node in pairs
                if node not in self.identified
            }
        matched: list[tuple[Entry, int]] = []
        further: list[Directory] = []
        for entry in entries:
            node = served.pop((entry.name, entry.is_directory), None)
            if entry.is_bad:
                directory.is_doubtful = True
            elif node is not None:
                matched.append((entry, node))
            elif not self._has_room(directory):
                break
            elif directory.is_junk or _is_junk(entry, directory):
                further += self._pass_over(directory, entry)
            else:
                self.new.append(entry)
        if not directory.is_doubtful:
            self.vanished |= dict.fromkeys(served.values())
        return [*self._match(directory, matched), *further]

    def _has_room(self, directory: Directory) -> bool:
        """Return whether one more new name is taken; their paths have to be held in memory."""
        self._room -= directory.depth + 1
        if self._room < 0:
            directory.is_doubtful = True
            self._problem(directory, "more is new on the disk, from here on, than can be told")
        return self._room >= 0

    def _look_below(self, directory: Directory, ordinal: int) -> Iterable[Directory]:
        """Match what is of interest in a directory that is as it was."""
        if ordinal not in self.touches.below:
            return ()
        entries, first = self._volume.entries(ordinal), self._volume.tree.children(ordinal).start
        matched: list[tuple[Entry, int]] = []
        for node in self.touches.below[ordinal]:
            entry = copy(entries[node - first])
            entry.parent = directory
            if self._chains.resolve(entry):
                matched.append((entry, node))
        return self._match(directory, matched)

    def _match(self, directory: Directory, matched: Sequence[tuple[Entry, int]]) -> list[Directory]:
        """Note the files among entries whose places were served. Return the directories."""
        tree, found = self._volume.tree, []
        for entry, node in self._unswapped(matched):
            if entry.is_directory:
                found.append(Directory(entry, directory, tree.ordinal(node)))
            elif self._is_suspect(entry, node):
                self.matched.append((entry, node))
        return found

    def _unswapped(self, matched: Sequence[tuple[Entry, int]]) -> Iterator[tuple[Entry, int]]:
        """Yield the entries, directories that have changed places with the right nodes."""
        nodes = {node for entry, node in matched if entry.is_directory}
        actual = {}
        for entry, node in matched:
            found = self._volume.starting_at(entry.first) if node in nodes else None
            if found is not None and found != node and found in nodes:
                actual[node] = found
        turned = cycles(actual)
        for entry, node in matched:
            yield entry, actual[node] if node in turned else node

    def _is_suspect(self, entry: Entry, node: int) -> bool:
        """Return whether anything of a file may not be as it was served."""
        served = self._volume.entry(node)
        return (
            (entry.first, entry.size, entry.is_read_only)
            != (served.first, served.size, served.is_read_only)
            or node in self.touches.files
            or node in self._chains.changed
        )

    def _pass_over(self, directory: Directory, entry: Entry) -> Iterable[Directory]:
        """Leave junk out, but look into it: its clusters are nobody else's, either."""
        if not directory.is_junk:
            self.junk.append(entry)
        if entry.is_directory:
            yield Directory(entry, directory, None, is_junk=True)

    def _source(self, directory: Directory) -> int | None:
        """Return the ordinal of the directory that was served from the same cluster on."""
        if directory.parent is None:
            return 0
        node, tree = self._volume.starting_at(directory.entry.first), self._volume.tree
        return tree.ordinal(node) if node is not None and tree.is_directory(node) else None

    def _is_as_served(self, directory: Directory, ordinal: int) -> bool:
        """Return whether a directory has the clusters and the bytes of one that was served."""
        node = self._volume.tree.directories[ordinal]
        has_clusters = self._chains.held.get(node) is directory.entry or not directory.entry.first
        return has_clusters and ordinal not in self.touches.directories

    def _entries(self, directory: Directory) -> list[Entry] | None:
        """Read a directory. Return its entries, bad ones among them; None if it is none."""
        if directory.depth > MOST_DEPTH:
            self._problem(directory, f"is more than {MOST_DEPTH} directories deep")
            return None
        entry, volume = directory.entry, self._volume
        runs = [
            (volume.offset(first), count * volume.cluster_bytes) for first, count in entry.chain
        ]
        if not runs:
            runs = [(volume.root, volume.root_bytes)]
        elif sum(length for _, length in runs) > max(_MOST_BYTES, volume.cluster_bytes):
            self._problem(directory, "is longer than a directory may be")
            return None
        found = parsed(b"".join(self._snapshot.read(*run) for run in runs))
        if directory.parent is not None and found.dot != entry.first:
            self._problem(directory, "does not begin with an entry for itself, so it is none")
            return None
        for fault in found.faults:
            directory.is_doubtful = True
            self._problem(directory, fault)
        for each in found.entries:
            each.parent = directory
            self._chains.resolve(each)
        return found.entries

    def _problem(self, directory: Directory, text: str) -> None:
        self._problems.add(f"{spelled(directory.path)}: {text}")


def cycles(actual: Mapping[int, int]) -> set[int]:
    """Return the numbers that come back to themselves, each leading to another one at most."""
    found: set[int] = set()
    seen: set[int] = set()
    for start in actual:
        way: dict[int, None] = {}
        at = start
        while at in actual and at not in seen:
            seen.add(at)
            way[at] = None
            at = actual[at]
        if at in way:
            steps = list(way)
            found.update(steps[steps.index(at) :])
    return found


def _is_junk(entry: Entry, directory: Directory) -> bool:
    """Return whether something new is what systems keep for themselves."""
    is_at_root = directory.parent is None
    return entry.name.startswith(_JUNK_START) or (is_at_root and entry.name.lower() in _JUNK)
