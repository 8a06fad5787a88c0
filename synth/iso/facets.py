"""Facets: the primary tree and Joliet's, each with names, an order and directories of its own.

A directory's arrangement (identifiers, order, which record starts each block) is worked out when a
part of it is asked for, and the latest ones are kept; the plan keeps their numbers of blocks only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence, Set
from typing import Any, NamedTuple

from ..lru import CACHE_BYTES, LruCache
from ..tree.columns import SEPARATOR, Tree
from .names import VERSION, joliet_key, joliet_names, primary_identifiers
from .records import BLOCK_BYTES, MOST_EXTENT_BYTES, RECORD_BYTES
from .rockridge import CE, PX, SP, TF, RockRidge

_ENTRY_BYTES = 56  # about what an entry takes in an arrangement, beside the identifier's own bytes
_BARE_HEADER_BYTES = RECORD_BYTES + 1
_HEADER_BYTES = _BARE_HEADER_BYTES + PX.size + TF.size
_ROOT_HEADER_BYTES = (_HEADER_BYTES + SP.size + CE.size + 1) & ~1
_VERSION = VERSION.encode("ascii")


class Arrangement(NamedTuple):
    """The entries of a directory as they stand on the disk."""

    identifiers: list[bytes]
    """Of each child, in the order of the tree."""
    bare_lengths: list[int]
    """Of each child's record without system use, likewise."""
    nodes: array[int]
    """The node of each record; a file of several extents has as many records, side by side."""
    first_records: list[int]
    """The first record in each block; `.` and `..` come before the first."""

    @property
    def memory_bytes(self) -> int:
        """Return about how much memory this takes."""
        return sum(map(len, self.identifiers)) + _ENTRY_BYTES * len(self.identifiers)


def extent_count(size: int) -> int:
    """Return in how many extents a file is, an empty one included."""
    return max(1, -(-size // MOST_EXTENT_BYTES))


def header_lengths(ordinal: int, rock_ridge: bool) -> tuple[int, int]:
    """Return the lengths of the records of `.` and `..`."""
    if not rock_ridge:
        return _BARE_HEADER_BYTES, _BARE_HEADER_BYTES
    return _HEADER_BYTES if ordinal else _ROOT_HEADER_BYTES, _HEADER_BYTES


class Facet(ABC):
    """One of an image's trees of names."""

    name: str
    hidden: Set[int] = frozenset()
    """Nodes that have no entry here."""

    def __init__(self, tree: Tree, rock_ridge: RockRidge | None, cache_bytes: int) -> None:
        self.tree = tree
        self.rock_ridge = rock_ridge
        self._has_large_files = max(tree.sizes) > MOST_EXTENT_BYTES
        self._arrangements: LruCache[Arrangement] = LruCache(
            lambda made: made.memory_bytes, cache_bytes
        )

    @abstractmethod
    def identifiers(self, children: range) -> list[bytes]:
        """Return the identifiers of a directory's entries, as bytes on the disk."""

    @abstractmethod
    def _sort_keys(self, children: range, identifiers: Sequence[bytes]) -> Sequence[Any]:
        """Return what the entries are sorted by (ECMA-119, 9.3)."""

    @abstractmethod
    def changed_names(self, children: range, identifiers: Sequence[bytes]) -> dict[int, str]:
        """Return those of a directory's entries whose names are others here, by node.

        `identifiers` are those of all its entries.
        """

    def measure(self, ordinal: int) -> tuple[int, list[bytes], list[int]]:
        """Return how many blocks a directory takes; identifiers and bare lengths of its entries."""
        children = self.tree.children(ordinal)
        if not children:
            return 1, [], []
        identifiers, bare_lengths, lengths = self._lengths(children)
        header = sum(header_lengths(ordinal, self.rock_ridge is not None))
        has_large_files = self._has_large_files and (
            max(self.tree.sizes[children.start : children.stop]) > MOST_EXTENT_BYTES
        )
        if sum(lengths) <= BLOCK_BYTES - header and not has_large_files:
            return 1, identifiers, bare_lengths
        length = lengths[0]
        if self.hidden or min(lengths) != max(lengths) or has_large_files:
            found = self._arrange(ordinal, identifiers, bare_lengths, lengths)
            return len(found.first_records), identifiers, bare_lengths
        # Whatever their order.
        in_first, in_others = (BLOCK_BYTES - header) // length, BLOCK_BYTES // length
        return 1 - (in_first - len(lengths)) // in_others, identifiers, bare_lengths

    def _lengths(self, children: range) -> tuple[list[bytes], list[int], list[int]]:
        """Return identifiers; the lengths of their records without system use, and in all."""
        identifiers = self.identifiers(children)
        # Without system use: the identifier, and one byte more if its length is even.
        bare_lengths = [(_BARE_HEADER_BYTES + len(each)) & ~1 for each in identifiers]
        if self.rock_ridge:
            return identifiers, bare_lengths, self.rock_ridge.record_lengths(children, bare_lengths)
        return identifiers, bare_lengths, bare_lengths

    def arrange(self, ordinal: int) -> Arrangement:
        """Work out the arrangement of a directory."""
        children = self.tree.children(ordinal)
        if not children:
            return Arrangement([], [], array("I"), [0])
        return self._arrange(ordinal, *self._lengths(children))

    def _arrange(
        self, ordinal: int, identifiers: list[bytes], bare_lengths: list[int], lengths: list[int]
    ) -> Arrangement:
        children = self.tree.children(ordinal)
        keys = self._sort_keys(children, identifiers)
        order: Iterable[int] = sorted(range(len(children)), key=keys.__getitem__)
        if self.hidden:
            order = [at for at in order if children.start + at not in self.hidden]
        sizes = self.tree.sizes
        if max(sizes[children.start : children.stop]) > MOST_EXTENT_BYTES:
            order = [at for at in order for _ in range(extent_count(sizes[children.start + at]))]
        nodes = array("I")
        first_records = [0]
        filled = sum(header_lengths(ordinal, self.rock_ridge is not None))
        for at in order:
            filled += lengths[at]
            if filled > BLOCK_BYTES:
                first_records.append(len(nodes))
                filled = lengths[at]
            nodes.append(children.start + at)
        return Arrangement(identifiers, bare_lengths, nodes, first_records)

    def arrangement(self, ordinal: int) -> Arrangement:
        """Return the arrangement of a directory, from the cache if it is there."""
        return self._arrangements.get(ordinal, self.arrange)

    def identifier(self, node: int) -> bytes:
        """Return the identifier of a node other than the root."""
        ordinal = self.tree.parent(node)
        return self.arrangement(ordinal).identifiers[node - self.tree.children(ordinal).start]

    def _are_directories(self, children: range) -> list[bool]:
        flags = [False] * len(children)
        for node in self.tree.directories_among(children):
            flags[node - children.start] = True
        return flags


class Primary(Facet):
    """The tree that every reader knows, and Rock Ridge with it."""

    name = "ISO 9660"

    def __init__(
        self,
        tree: Tree,
        rock_ridge: RockRidge | None,
        level: int,
        cache_bytes: int = CACHE_BYTES,
        hidden: Set[int] = frozenset(),
    ) -> None:
        super().__init__(tree, rock_ridge, cache_bytes)
        self.hidden = hidden
        self._level = level

    def identifiers(self, children: range) -> list[bytes]:
        """See `Facet.identifiers`."""
        joined = self.tree.joined_names(children.start, children.stop)
        names = primary_identifiers(joined, self._are_directories(children), self._level)
        return "/".join(names).encode("ascii").split(b"/")

    def changed_names(self, children: range, identifiers: Sequence[bytes]) -> dict[int, str]:
        """See `Facet.changed_names`. Capitals for small letters are no change."""
        joined = self.tree.joined_names(children.start, children.stop).upper()
        names = [each.removesuffix(_VERSION).removesuffix(b".") for each in identifiers]
        return {
            node: new.decode("ascii")
            for node, new, old in zip(children, names, joined.split(SEPARATOR), strict=True)
            if new != old and node not in self.hidden
        }

    def _sort_keys(self, children: range, identifiers: Sequence[bytes]) -> Sequence[bytes]:  # noqa: ARG002
        # A dot is less than whatever a name or an extension has, as the space is that pads them.
        return [each.removesuffix(_VERSION) for each in identifiers]


class Joliet(Facet):
    """Joliet's tree, for Windows and whoever has no Rock Ridge.

    Files have no version: no mastering tool writes one, and there are readers that would show it.
    """

    name = "Joliet"

    def __init__(
        self,
        tree: Tree,
        most_characters: int,
        cache_bytes: int = CACHE_BYTES,
        hidden: Set[int] = frozenset(),
    ) -> None:
        super().__init__(tree, None, cache_bytes)
        # Links and devices would look like empty files.
        self.hidden = tree.targets.keys() | tree.rdevs.keys() | hidden
        self._most_characters = most_characters

    def names(self, children: range) -> list[str]:
        """Return the names of a directory's entries."""
        joined = self.tree.joined_names(children.start, children.stop)
        return joliet_names(joined, most=self._most_characters)

    def changed_names(self, children: range, identifiers: Sequence[bytes]) -> dict[int, str]:
        """See `Facet.changed_names`. What has no entry here has no other name either."""
        joined = self.tree.joined_names(children.start, children.stop)
        old_names = joined.decode("utf-8", "surrogateescape")
        if old_names.encode("utf-16-be", "surrogatepass") == b"\0/".join(identifiers):
            return {}
        return {
            node: new
            for node, identifier, old in zip(
                children, identifiers, old_names.split("/"), strict=True
            )
            if node not in self.hidden and (new := identifier.decode("utf-16-be")) != old
        }

    def identifiers(self, children: range) -> list[bytes]:
        """See `Facet.identifiers`."""
        names = self.names(children)
        text = "/".join(names)
        if text.isascii():  # then no two characters together look like a slash
            return text.encode("utf-16-be").split(b"\0/")
        return [name.encode("utf-16-be") for name in names]

    def _sort_keys(
        self, children: range, identifiers: Sequence[bytes]
    ) -> Sequence[tuple[str, str]]:
        flags = self._are_directories(children)
        return [
            joliet_key(each.decode("utf-16-be"), is_directory=flag)
            for each, flag in zip(identifiers, flags, strict=True)
        ]
