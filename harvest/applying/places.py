"""Places on the host that the nodes of a disk came from, as whoever applies changes asks for them.

A *home* is a directory of the host that holds nodes, by number; a root is one that has no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ...synth.host.verdict import Scanned


class HostPlace(NamedTuple):
    """A node's place, and what the scan saw there."""

    home: int
    name: bytes
    scanned: Scanned | None
    """None for a directory."""
    is_own: bool
    """True for a file that was found in the directory that it is in on the disk; False for a graft
    or the end of a followed link: the user put it there, and no guest moves or removes it."""


class HostHome(NamedTuple):
    """A directory of the host."""

    parent: int
    """The home that holds it; -1 for a root."""
    name: bytes
    """In its parent."""
    inode: int | None
    """As the scan saw it; None if that was not noted."""


class Places(Protocol):
    """The host as it was scanned. Each method may raise OSError."""

    def number(self, path: tuple[str, ...]) -> int | None:
        """Return the node at a path on the disk as it was served; None if there was none."""
        ...

    def place(self, number: int) -> HostPlace:
        """Return the place of a node other than the root."""
        ...

    def sources(self, number: int) -> Sequence[int]:
        """Return the homes that a directory is made of, the one that takes what is new last.

        There is none for a directory that only the disk has.
        """
        ...

    def own_sources(self, number: int) -> Sequence[int]:
        """Return those of the homes of a directory other than the root that were found in the
        directory that it is in: no grafts, and no ends of followed links.
        """
        ...

    def home(self, home: int) -> HostHome:
        """Return where a home is."""
        ...

    def descriptor(self, home: int) -> int:
        """Return a descriptor of a root, which stays open."""
        ...
