"""Merging directories of the host, and what is grafted there, into one directory of a tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...errors import ScanError
from .homes import Homes, Place

_MOST_NAME_BYTES = 255


class Graft(NamedTuple):
    """A file or directory of the host that is put at a place in the tree."""

    target: str
    """Its path in the tree; directories on the way are made where there are none."""
    source: str


class Made(NamedTuple):
    """A file that is in the tree and not on the host."""

    target: str
    """Its path in the tree, as a graft's."""
    size: int
    mtime_ns: int
    why: str = ""
    """The option that asks for it, and what to do if the place is taken: for the message. Empty: it
    takes the place of a file."""
    mode: int = 0o644

    @property
    def status(self) -> os.stat_result:
        """Return what the host would say of it."""
        seconds, blocks = self.mtime_ns // 1_000_000_000, -(-self.size // 512)
        times = (*[seconds] * 6, *[self.mtime_ns] * 3)
        return os.stat_result(
            (stat.S_IFREG | self.mode, 0, 0, 1, 0, 0, self.size, *times, 512, blocks, 0)
        )


@dataclass
class Part:
    """The sources of one directory of the tree; or, in `grafts`, a file."""

    homes: list[int] = field(default_factory=list)
    grafts: dict[str, Part] = field(default_factory=dict)
    """By what their names share with those that the disk takes for the same."""
    name: str = ""
    """As it was first given."""
    link: bytes | None = None
    """The path in the tree of the followed link that led here or to what this is in."""
    file: Place | None = None
    made: Made | None = None
    """A file that is made here or below; nothing of the host's may go for that."""


def place_graft(root: Part, graft: Graft, homes: Homes, fold: Callable[[str], str]) -> None:
    """Note a graft at its place below `root`. Raise ScanError.

    Names that are one after `fold` are one.
    """
    names = [name for name in graft.target.split("/") if name]
    _check_names(graft.target, names)
    at = root
    for name in names:
        at = at.grafts.setdefault(fold(name), Part(name=name))
    with homes.named(graft.source) as found:
        if found.is_directory:
            at.homes.append(homes.root(graft.source, found))
        elif names:
            at.file = homes.file(graft.source, found)
        else:
            raise ScanError(f"graft {graft.source}: a file needs a name in the tree")
    if _is_file_and_directory(root):
        raise ScanError(f"graft target {graft.target}: a file and a directory at one place")


def place_made(root: Part, made: Made, fold: Callable[[str], str]) -> None:
    """Note a file that is made at its place below `root`, behind all grafts. Raise ScanError."""
    names = [name for name in made.target.split("/") if name]
    _check_names(made.target, names)
    at = root
    for depth, name in enumerate(names, 1):
        at = at.grafts.setdefault(fold(name), Part(name=name))
        if at.file and (made.why or depth < len(names)):
            raise taken(made)
        at.made = made
    if at is root or at.grafts or at.homes:
        raise taken(made)
    at.file = Place(made.status, 0, os.fsencode(names[-1]))


def taken(made: Made) -> ScanError:
    """Return the error of a place that something else has."""
    why = made.why or "and no file that can be replaced"
    return ScanError(f"{made.target}: already in the tree; {why}")


class Merged:
    """The entries of several sources in one directory: of two files of one name, the later one.

    Names that are one after `fold` are one, as they were first; but not those of one source.
    """

    def __init__(self, fold: Callable[[str], str]) -> None:
        self.places: dict[str, Place] = {}
        self.parts: dict[str, Part] = {}
        """Of those that are directories."""
        self._fold = fold

    def names_of(self, names: Sequence[str]) -> list[str]:
        """Return what the names of one more source are here."""
        places, fold = self.places, self._fold
        if not places:
            return list(names)
        own = set(names)
        earlier = {fold(name): name for name in reversed(places) if name not in own}
        return [name if name in places else earlier.pop(fold(name), name) for name in names]

    def add(self, name: str, place: Place, part: Part | None) -> bool:
        """Add what a later source has. Return whether a file has gone for that."""
        is_there, was_directory = name in self.places, name in self.parts
        replaces = is_there and not (part and was_directory)
        if replaces:
            self.parts.pop(name, None)
        elif is_there and place.status is None:
            place = self.places[name]  # a directory on the way to a graft stays what it was
        if part:
            whole = self.parts.setdefault(name, Part())
            whole.homes += part.homes
            whole.grafts |= part.grafts
            whole.link = whole.link or part.link
        self.places[name] = place
        return replaces


def _check_names(target: str, names: list[str]) -> None:
    if ".." in names or "." in names:
        raise ScanError(f"graft target {target}: `.` and `..` are no names in a tree")
    if any(len(os.fsencode(name)) > _MOST_NAME_BYTES for name in names):
        raise ScanError(f"graft target {target}: a name has {_MOST_NAME_BYTES} bytes at most")


def _is_file_and_directory(part: Part) -> bool:
    """Return whether a place, or one below, was given to a file and to something else."""
    if part.file and (part.grafts or part.homes):
        return True
    return any(map(_is_file_and_directory, part.grafts.values()))
